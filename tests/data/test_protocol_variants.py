"""Nested draws, splits by group, other data sets to test on, and what is only there to be reproduced."""

import itertools
from dataclasses import replace

import numpy as np
import pytest

from vlmcal.data.protocol_variants import (
    by_group,
    calibrated_on_test,
    domain_generalisation,
    nested,
)
from vlmcal.data.protocols import all_class
from vlmcal.data.shapes import shapes
from vlmcal.errors import SpecError, SplitError
from vlmcal.experiment.findings import run_findings
from vlmcal.experiment.protocol import make_protocol, split_settings
from vlmcal.experiment.store import Store
from vlmcal.report.html import Report, Section


@pytest.fixture(scope="module")
def data():
    return shapes(n_classes=5, n_train=8, n_val=5, n_test=2)


def ids(part):
    return part.ids.tolist()


@pytest.mark.parametrize("seed", [1, 2])
def test_nested_draws_contain_each_other(data, seed):
    drawn = [set(ids(nested(data, k, seed, calibration="few").train)) for k in (1, 2, 4, 8)]
    assert [len(d) for d in drawn] == [5, 10, 20, 40]
    assert all(a < b for a, b in itertools.pairwise(drawn))
    held = [set(ids(nested(data, k, seed, calibration="few").calibration)) for k in (1, 2, 4)]
    assert all(a < b for a, b in itertools.pairwise(held))
    assert nested(data, 2, seed).provenance["protocol"] == "nested"
    published = [set(ids(all_class(data, k, seed).train)) for k in (2, 4)]
    assert not published[0] < published[1]


def test_a_split_by_group_sets_the_given_one_aside(data):
    groups = np.array([f"patient {n % 30}" for n in range(len(data))])
    grouped = replace(data, groups=groups)
    with pytest.raises(SplitError, match="more than one split"):
        all_class(grouped, 2, 1)
    parts = by_group(grouped, 2, 1)
    sides = [set(p.groups.tolist()) for p in (parts.train, parts.calibration, parts.test("all"))]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert ids(by_group(grouped, 2, 7).test("all")) == ids(parts.test("all"))
    with pytest.raises(SplitError, match="names no groups"):
        by_group(data, 2, 1)


def test_the_same_classes_elsewhere(data):
    some = replace(shapes(n_classes=5, n_test=3, seed=5).of_classes([0, 2]), name="some")
    parts = domain_generalisation(data, [some], 2, 1)
    assert parts.test("some").class_names == some.class_names
    other = replace(some, class_names=("plain red circle", "a horse"))
    with pytest.raises(SplitError, match=r'1 classes that .* has not .first: "a horse"'):
        domain_generalisation(data, [other], 2, 1)


def test_calibrating_on_test_images_has_a_name_of_its_own(data):
    parts = calibrated_on_test(data, 2, 1)
    assert np.array_equal(parts.calibration.images, parts.test("all").images)
    assert set(parts.calibration.splits) == {"calibration"}
    assert not set(ids(all_class(data, 2, 1).calibration)) & set(ids(parts.test("all")))
    with pytest.raises(SplitError, match='expected calibration "all" or "none", got "few"'):
        calibrated_on_test(data, 2, 1, calibration="few")


def test_protocols_by_one_word(data):
    for word in ("nested", "test-as-val", "all-class", "base-to-new"):
        assert make_protocol(data, {"protocol": word}, 2, 1).name == word
    parts = make_protocol(data, {"protocol": "cross-dataset", "targets": ["digits"]}, 1, 1)
    assert list(parts.tests) == ["digits"]
    with pytest.raises(SpecError, match="protocol cross-dataset: name the data sets to test on"):
        make_protocol(data, {"protocol": "cross-dataset"}, 1, 1)
    with pytest.raises(SpecError, match="targets are for the protocols cross-dataset"):
        make_protocol(data, {"protocol": "nested", "targets": ["digits"]}, 1, 1)
    with pytest.raises(SpecError, match='unknown protocol "by-grup"; did you mean "by-group"'):
        make_protocol(data, {"protocol": "by-grup"}, 1, 1)


def test_targets_by_name_lie_below_the_same_root():
    told = {
        "name": "imagenet",
        "root": "d",
        "protocol": "cross-dataset",
        "targets": ["dtd", "digits"],
    }
    loader, protocol = split_settings(told)
    assert loader == {"name": "imagenet", "root": "d"}
    assert protocol["targets"] == [{"name": "dtd", "root": "d"}, "digits"]
    told["protocol"], told["targets"] = "domain-generalisation", None
    del told["targets"]
    names = [target["name"] for target in split_settings(told)[1]["targets"]]
    assert names == ["imagenet_v2", "imagenet_sketch", "imagenet_a", "imagenet_r"]


def test_what_is_not_to_be_quoted_is_said_first_and_in_red(tiny_folder, tmp_path):
    from vlmcal import run

    rows = run(
        {
            "data": {
                "name": "shapes",
                "n_classes": 4,
                "n_train": 2,
                "n_test": 3,
                "protocol": "test-as-val",
            },
            "method": "zero_shot",
            "backbone": str(tiny_folder),
            "evaluate": {"calibrators": ["none", "temperature"], "resamples": 100},
        },
        tmp_path,
    )
    said = run_findings(Store(tmp_path), rows)
    assert said[0].startswith("Not to be quoted: the protocol test-as-val")
    page = Report(title="t", sections=[Section(heading="h", warnings=said)]).to_html()
    assert 'class="warning grave"' in page
    assert "--vc-red" in page
