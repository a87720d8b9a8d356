"""DOR's formula and settings; where its words come from is tested in tests/training/test_outliers.py."""

import math

import pytest
import torch

from vlmcal.errors import SpecError
from vlmcal.objectives.compose import parse_objective
from vlmcal.objectives.dor import DOR
from vlmcal.types.outputs import Outputs


def outputs(degrees, **options):
    """Tuned features at these angles from their frozen ones."""
    angles = torch.deg2rad(torch.tensor(degrees, dtype=torch.float64, requires_grad=True))
    tuned = torch.stack([angles.cos(), angles.sin()], dim=1)
    frozen = torch.tensor([[1.0, 0.0]] * len(degrees), dtype=torch.float64)
    return Outputs(outlier_text_features=tuned, frozen_outlier_text_features=frozen, **options)


def test_loss_of_known_angles():
    expected = 1 - (1 + 0.5 + 0 - 1) / 4
    assert DOR().loss(outputs([0.0, 60.0, 90.0, 180.0])).item() == pytest.approx(
        expected, abs=1e-12
    )


def test_slope_of_a_known_angle():
    out = outputs([30.0])
    out.outlier_text_features.retain_grad()
    DOR().loss(out).backward()
    # d(1 - cos) along the tangent of a unit vector at 30 degrees is sin(30 degrees).
    angle = math.radians(30)
    tangent = torch.tensor([-math.sin(angle), math.cos(angle)], dtype=torch.float64)
    assert (out.outlier_text_features.grad @ tangent).item() == pytest.approx(0.5, abs=1e-12)


def test_frozen_features_get_no_gradient():
    out = outputs([30.0])
    out.frozen_outlier_text_features.requires_grad_()
    DOR().loss(out).backward()
    assert out.frozen_outlier_text_features.grad is None


def test_one_line_is_the_whole_configuration():
    found = parse_objective(["ce", {"name": "dor", "weight": 8}])
    (part,) = (p for p in found.objectives if isinstance(p, DOR))
    assert (part.n_outliers, part.pool, part.selection, part.vocabulary) == (
        32,
        5000,
        "near",
        "wordnet",
    )
    assert found.to_spec() == [{"name": "ce"}, {"name": "dor"}]
    other = parse_objective(["ce", {"name": "dor", "weight": 2, "n_outliers": 50}])
    assert other.to_spec()[1] == {"name": "dor", "weight": 2.0, "n_outliers": 50}


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_outliers": 0}, "n_outliers must be a whole number, got 0; input should be greater"),
        ({"n_outliers": 1.5}, "n_outliers must be a whole number"),
        ({"pool": 0}, "pool must be a whole number, got 0; input should be greater"),
        ({"selection": "nearest"}, '"near"'),
        ({"vocabulary": 3}, "vocabulary must be text"),
        ({"poool": 10}, '"pool"'),
    ],
)
def test_a_wrong_setting_is_explained(settings, words):
    with pytest.raises(SpecError, match=words):
        parse_objective(["ce", {"name": "dor", **settings}])


def test_dor_alone_is_refused():
    with pytest.raises(SpecError, match="likelihood"):
        parse_objective("dor")


def test_content_holds_the_list_and_not_its_path(tmp_path):
    one, copy, other = (tmp_path / name for name in ("one.txt", "copy.txt", "other.txt"))
    one.write_text("cat\ndog\n")
    copy.write_text("cat\ndog\n")
    other.write_text("cat\nowl\n")

    def content(path):
        return parse_objective(["ce", {"name": "dor", "vocabulary": str(path)}]).content()

    assert content(one) == content(copy) != content(other)
    assert str(tmp_path) not in str(content(one))
    assert parse_objective(["ce", "dor"]).content() == [{"name": "ce"}, {"name": "dor"}]
    with pytest.raises(SpecError, match=r"none\.txt.*cannot be read"):
        content(tmp_path / "none.txt")
