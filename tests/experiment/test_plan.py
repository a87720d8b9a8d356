"""Cells, ids and overrides."""

import pytest

from vlmcal.errors import SpecError
from vlmcal.experiment.plan import Cell, objective_label, plan, run_id
from vlmcal.experiment.spec import load_spec, parse_spec


def spec(**changes):
    base = {"data": "digits", "method": "coop"}
    return parse_spec({**base, **changes})


def test_axes_multiply_and_ignored_axes_collapse():
    cells = plan(
        spec(
            method=["zero_shot", "coop"],
            objective=["ce", ["ce", "tcpt"]],
            shots=[1, 4],
            seed="1..3",
        )
    )
    methods = [cell.method["name"] for cell in cells]
    assert methods.count("zero_shot") == 1
    assert methods.count("coop") == 2 * 2 * 3


def test_defaults_do_not_change_a_cell():
    plain, explicit = (
        plan(spec(method=[m], train=t))[0]
        for m, t in (("coop", {}), ({"name": "coop", "n_ctx": 16}, {"epochs": 50}))
    )
    assert plain == explicit


def test_golden_run_id():
    """The id of a fixed cell; if this changes, every store in the world forgets its runs."""
    cell = Cell(
        data={"name": "digits", "protocol": "base-to-new"},
        backbone="pocket",
        method={"name": "coop", "n_ctx": 4},
        objective=[{"name": "ce"}, {"name": "text_moments", "weight": 5.0}],
        shots=16,
        seed=1,
        train={"epochs": 10},
    )
    assert run_id(cell, "d" * 64, "b" * 64) == "736c7106c1565f07"


def test_id_depends_on_content_but_not_on_names_of_places():
    def of(**changes):
        (cell,) = plan(spec(**{"backbone": "pocket", **changes}))
        return run_id(cell, "data", "weights")

    assert of() == of(data={"path": "elsewhere"}) == of(backbone="./copy")
    assert of() != of(seed=2)
    assert of() != of(shots=8)
    assert of() != of(objective=[["ce", "tcpt"]])
    assert of() != of(data={"name": "digits", "protocol": "all-class"})


def test_label_names_whole_presets():
    (cell,) = plan(spec(objective=[["ce", "tcpt"]]))
    assert objective_label(cell.objective) == "ce + tcpt"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"metod": "coop"}, ['unknown key "metod"', '"method"']),
        ({"train": {"epoch": 3}}, ['unknown setting "epoch"', '"epochs"']),
        ({"evaluate": {"calibrator": "none"}}, ['"calibrators"']),
        ({"shots": 0}, ["at least 1"]),
        ({"seed": "3..1"}, ["empty range"]),
    ],
)
def test_a_wrong_file_is_explained(changes, words):
    with pytest.raises(SpecError) as error:
        spec(**changes)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "cop"}, ['unknown method "cop"', '"coop"']),
        ({"method": {"name": "coop", "nctx": 4}}, ['no option "nctx"', '"n_ctx"']),
        ({"objective": ["cee"]}, ['unknown objective "cee"', '"ce"']),
        ({"objective": ["dca"]}, ["likelihood", "ce"]),
        ({"data": {"protocol": "all-class"}}, ["name or a path"]),
    ],
)
def test_a_wrong_cell_is_refused_before_anything_runs(changes, words):
    with pytest.raises(SpecError) as error:
        plan(spec(**changes))
    assert all(word in str(error.value) for word in words)


def test_overrides(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("data: digits\nmethod: coop\ntrain: {epochs: 50}\n")
    changed = load_spec(path, ["train.epochs=3", "seed=1..2", "shots=4"])
    assert changed.train["epochs"] == 3
    assert changed.seed == [1, 2]
    assert changed.shots == [4]
    with pytest.raises(SpecError, match=r"key\.sub=value"):
        load_spec(path, ["epochs"])


def test_an_override_reaches_into_a_mapping(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text("data: {name: digits}\nmethod: coop\n")
    assert load_spec(path, ["data.protocol=all-class"]).data[0]["protocol"] == "all-class"
    with pytest.raises(SpecError, match="not a mapping"):
        load_spec(path, ["method.name=coop"])


@pytest.mark.parametrize(
    ("content", "words"),
    [("data: [", "not valid YAML"), ("- 1", "expected a mapping"), (None, "cannot be read")],
)
def test_unreadable_files(tmp_path, content, words):
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SpecError, match=words):
        load_spec(path)
