"""Saved state that no fit can give is refused, whatever wrote it; edited files are refused by checksum."""

import json
import re

import numpy as np
import pytest

from contracts.test_calibrators import rows
from vlmcal.calibrators.base import Calibrator, make
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.errors import DataError, SpecError, StoreError, VlmcalError

ARRAY = {"dtype": "float64", "shape": [1], "data": ["NaN"]}
INFINITE = {"number": "Infinity"}


def saved(name):
    if name in CONFORMAL:
        val = rows("temperature")
        groups = np.arange(300) % 3
        val = type(val)(logits=val.logits, labels=val.labels, groups=groups, extras=val.extras)
        return ConformalPredictor, CONFORMAL.get(name)().fit(val, 0.1).to_dict()
    return Calibrator, make(name).fit(rows(name)).to_dict()


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("temperature", "temperature_", -2),
        ("temperature", "temperature_", 0),
        ("temperature", "temperature_", True),
        ("temperature", "temperature_", "1.5"),
        ("temperature", "temperature_", None),
        ("temperature", "temperature_", INFINITE),
        ("temperature", "temperature_", {"number": "NaN"}),
        ("temperature", "bounded_", "lowst"),
        ("zs_range", "temperature_", -1.0),
        ("ensemble_temperature", "weights_", {**ARRAY, "data": [0.5]}),
        ("vector", "weights_", {"dtype": "float64", "shape": [3], "data": [1.0, 1.0, 1.0]}),
        ("vector", "biases_", {"dtype": "float64", "shape": [4], "data": ["Infinity", 0, 0, 0]}),
        ("matrix", "weights_", {"dtype": "float64", "shape": [4], "data": [1.0] * 4}),
        ("platt", "curves_", []),
        ("platt", "curves_", [{"slope": 1.0}] * 4),
        ("platt", "curves_", [{"slope": 1.0, "intercept": {"number": "NaN"}}] * 4),
        ("isotonic", "curves_", [{"x": {**ARRAY, "shape": [0], "data": []}, "y": ARRAY}] * 4),
        ("histogram", "curves_", "none"),
        ("mixture", "share_", 1.5),
        ("set_mass", "q_", -0.5),
        ("lac", "threshold_", {"number": "NaN"}),
        ("lac", "threshold_", "high"),
        ("class_conditional", "thresholds_", ARRAY),
        ("class_conditional", "thresholds_", {**ARRAY, "data": [0.5]}),
        ("group_conditional", "thresholds_", {**ARRAY, "data": [0.5]}),
        ("clustered", "clusters_", {"dtype": "int64", "shape": [4], "data": [0, 0, 0, 9]}),
        ("abstain", "threshold_", True),
    ],
)
def test_impossible_learned_values(name, key, value):
    kind, data = saved(name)
    assert type(kind.from_dict(data)).name == name
    with pytest.raises(DataError, match=f"impossible {key}.*fit it again"):
        kind.from_dict({**data, "state": {**data["state"], key: value}})


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"format": 3}, DataError, "format"),
        ({"format": None}, DataError, "format"),
        ({"calibrator": "temprature"}, SpecError, '"temperature"'),
        ({"calibrator": "os:system"}, SpecError, "registered name"),
        ({"parameters": {"zeros": 1.0}}, SpecError, '"zero"'),
        ({"parameters": {"bounds": [3.0, 1.0]}}, SpecError, "bounds"),
        ({"parameters": {"loss": "os:system"}}, SpecError, "loss"),
        (
            {"fitted_on": {"split": "val", "n": 0, "class_names": ["a", "b"]}},
            DataError,
            "fitted on",
        ),
        ({"fitted_on": {"split": "val", "n": 9, "class_names": "ab"}}, DataError, "fitted on"),
        (
            {"fitted_on": {"split": "new", "n": 9, "class_names": ["a", "b"]}},
            DataError,
            "fitted on",
        ),
    ],
)
def test_impossible_heads(change, error, said):
    _, data = saved("temperature")
    with pytest.raises(error, match=said):
        Calibrator.from_dict({**data, **change})


def test_names_in_saved_state_run_no_code():
    _, data = saved("mixture")
    data["parameters"]["base"] = "antigravity:fly"
    with pytest.raises(SpecError, match="only registered names"):
        Calibrator.from_dict(data)
    _, data = saved("class_conditional")
    data["parameters"]["score"] = "antigravity:fly"
    with pytest.raises(SpecError, match="only registered names"):
        ConformalPredictor.from_dict(data)


@pytest.mark.parametrize("name", ["temperature", "isotonic", "aps", "group_conditional"])
def test_every_edited_number_is_noticed(name, tmp_path):
    kind, data = saved(name)
    path = tmp_path / "s.json"
    kind.from_dict(data).save(path)
    good = path.read_text()
    numbers = [m for m in re.finditer(r"(?<=[ \[])\d+\.\d+", good)][:20]
    assert numbers
    for found in numbers:
        place = good.index(".", found.start()) + 1
        digit = "1" if good[place] != "1" else "2"
        path.write_text(good[:place] + digit + good[place + 1 :])
        with pytest.raises(VlmcalError, match=r"s\.json"):
            kind.load(path)
    content = json.loads(good)
    del content["checksum"]
    path.write_text(json.dumps(content))
    with pytest.raises(StoreError, match="checksum"):
        kind.load(path)
    path.write_text(good)
    assert kind.load(path).name == name


@pytest.mark.parametrize("alpha", [0, 1, -0.1, "few", None, True])
def test_impossible_targets(alpha):
    kind, data = saved("aps")
    with pytest.raises(DataError, match="alpha"):
        kind.from_dict({**data, "alpha": alpha})
