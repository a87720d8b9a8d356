"""Label sets survive saving in every format, and damage is noticed."""

import numpy as np
import pytest

from vlmcal.errors import DataError
from vlmcal.io.prediction_sets import load_prediction_sets, save_prediction_sets
from vlmcal.types.prediction_sets import PredictionSets

ENDINGS = [".npz", ".safetensors", ".csv", ".tsv"]


def label_sets(**fields):
    return PredictionSets(
        **{
            "sets": np.array([[1, 0, 1], [0, 0, 0], [1, 1, 1]], dtype=bool),
            "labels": [0, 2, 1],
            "alpha": 0.15,
            "ids": ["a,1", "b", "ü"],
            "class_names": ("grade 1", "grade 2", "no finding"),
            "groups": ["p1", "p1", "p2"],
            "provenance": {"conformal": "aps", "fitted_on": {"n": 9}},
            **fields,
        }
    )


@pytest.mark.parametrize("ending", ENDINGS)
def test_round_trip(tmp_path, ending):
    before = label_sets()
    save_prediction_sets(before, tmp_path / f"sets{ending}")
    after = load_prediction_sets(tmp_path / f"sets{ending}")
    for name in ("sets", "labels", "ids", "groups"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    assert after.sets.dtype == np.bool_
    assert (after.alpha, after.class_names) == (0.15, before.class_names)
    if ending in (".npz", ".safetensors"):
        assert after.provenance == before.provenance


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_groups_and_names(tmp_path, ending):
    save_prediction_sets(label_sets(groups=None, class_names=()), tmp_path / f"sets{ending}")
    after = load_prediction_sets(tmp_path / f"sets{ending}")
    assert after.groups is None
    assert after.class_names == ("0", "1", "2")


def test_the_table_names_the_members(tmp_path):
    file = tmp_path / "sets.csv"
    save_prediction_sets(label_sets(groups=None), file)
    assert file.read_text(encoding="utf-8").splitlines() == [
        "id,label,alpha,set,grade 1,grade 2,no finding",
        '"a,1",grade 1,0.15,grade 1 | no finding,1,0,1',
        "b,no finding,0.15,,0,0,0",
        "ü,grade 2,0.15,grade 1 | grade 2 | no finding,1,1,1",
    ]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("id", "x", "y"), 'called "id"'),
        (("1", "0", "2"), 'called "1"'),
        (("x", "x", "y"), "same name"),
    ],
)
def test_class_names_that_a_table_cannot_carry(tmp_path, names, words):
    with pytest.raises(DataError, match=words):
        save_prediction_sets(label_sets(class_names=names), tmp_path / "sets.csv")
    save_prediction_sets(label_sets(class_names=names), tmp_path / "sets.npz")
    assert load_prediction_sets(tmp_path / "sets.npz").class_names == names


def cut(file):
    file.write_bytes(file.read_bytes()[:-40])


def replaced(old, new):
    return lambda file: file.write_text(file.read_text().replace(old, new))


def without_json(file):
    file.with_suffix(".json").unlink()


def without_alpha(file):
    np.savez(file, sets=np.ones((1, 2), bool), labels=[0])


@pytest.mark.parametrize(
    ("ending", "damage", "words"),
    [
        (".npz", cut, "truncated"),
        (".npz", without_alpha, "no alpha"),
        (".safetensors", cut, "damaged"),
        (".safetensors", without_json, "no such file"),
        (".csv", replaced("alpha", "alfa"), 'no column "alpha"'),
        (".csv", replaced("1,0,1", "1,0,2"), 'only 0 and 1, got "2"'),
        (
            ".csv",
            replaced("b,no finding,p1,0.15", "b,no finding,p1,0.25"),
            "one value for all rows",
        ),
    ],
)
def test_damage_is_noticed(tmp_path, ending, damage, words):
    file = tmp_path / f"sets{ending}"
    save_prediction_sets(label_sets(), file)
    damage(file)
    with pytest.raises(DataError, match=words) as caught:
        load_prediction_sets(file)
    assert "sets" in str(caught.value)


def test_unknown_endings_and_missing_files(tmp_path):
    with pytest.raises(DataError, match=r"\.npz"):
        save_prediction_sets(label_sets(), tmp_path / "sets.pkl")
    with pytest.raises(DataError, match="no such file"):
        load_prediction_sets(tmp_path / "sets.npz")
    with pytest.raises(DataError, match="plain data"):
        save_prediction_sets(label_sets(provenance={"x": object()}), tmp_path / "sets.npz")
