import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlmcal.data.splits import (
    base_new_classes,
    groups_on_two_sides,
    require_separate_groups,
    split_alias,
    stratified_split,
)
from vlmcal.errors import SplitError

# Classes of the published data sets and how many of them are base: Oxford Pets 19 of 37,
# DTD 24 of 47, Caltech 50 of 100, Food 51 of 101, SUN 199 of 397, EuroSAT 5 of 10.
PUBLISHED = {37: 19, 47: 24, 100: 50, 101: 51, 397: 199, 10: 5}


@pytest.mark.parametrize(("classes", "base"), PUBLISHED.items())
def test_base_is_the_first_half_rounded_up(classes, base):
    shuffled = np.random.default_rng(0).permutation(np.arange(classes))
    halves = base_new_classes(shuffled)
    assert halves.base.tolist() == list(range(base))
    assert halves.new.tolist() == list(range(base, classes))


def test_base_new_uses_labels_present_only():
    halves = base_new_classes(np.array([9, 3, 3, 5, 9]))
    assert (halves.base.tolist(), halves.new.tolist()) == ([3, 5], [9])


def test_one_class_has_no_new_half():
    with pytest.raises(SplitError, match="at least 2 classes with images, got 1"):
        base_new_classes(np.array([4, 4]))


@settings(max_examples=40, deadline=None)
@given(counts=st.lists(st.integers(1, 60), min_size=1, max_size=6), seed=st.integers(0, 5))
def test_every_class_is_divided_in_the_same_proportions(counts, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    where = stratified_split(labels, seed=seed)
    for label, count in enumerate(counts):
        mine = where[labels == label]
        for name, share in (("train", 0.5), ("val", 0.2), ("test", 0.3)):
            # One row of rounding, and one more that a split takes so as not to stay empty.
            assert abs((mine == name).sum() - share * count) < 2
        if count >= 3:
            assert set(mine.tolist()) == {"train", "val", "test"}


def test_split_is_deterministic_and_depends_on_the_seed():
    labels = np.repeat([0, 1], 50)
    first = stratified_split(labels, seed=3)
    assert first.tolist() == stratified_split(labels, seed=3).tolist()
    assert first.tolist() != stratified_split(labels, seed=4).tolist()


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 8), min_size=3, max_size=25),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_a_group_is_never_on_two_sides(sizes, seed, data):
    groups = np.repeat([f"patient {i}" for i in range(len(sizes))], sizes)
    n = len(groups)
    labels = data.draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    where = stratified_split(labels, groups=groups, seed=seed)
    assert groups_on_two_sides(where, groups) == {}
    assert set(where.tolist()) == {"train", "val", "test"}


def test_many_small_groups_are_split_close_to_the_fractions():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(200), 5).astype(str)
    labels = np.repeat(rng.integers(0, 3, 200), 5)
    where = stratified_split(labels, groups=groups, seed=0)
    for label in range(3):
        share = (where[labels == label] == "train").mean()
        assert abs(share - 0.5) < 0.03


def test_fewer_groups_than_splits_is_refused():
    with pytest.raises(SplitError, match="cannot divide 2 groups over 3 splits"):
        stratified_split([0, 1, 0, 1], groups=["a", "a", "b", "b"])


@pytest.mark.parametrize(
    ("fractions", "message"),
    [
        ({"train": 0.5, "test": 0.6}, "sum to 1"),
        ({"train": 1.2, "test": -0.2}, "positive shares"),
        ({"train": 0.5, "tset": 0.5}, 'unknown split "tset"; did you mean "test"'),
    ],
)
def test_bad_fractions(fractions, message):
    with pytest.raises(SplitError, match=message):
        stratified_split([0, 1, 0, 1], fractions=fractions)


def test_shared_groups_are_named():
    sides = np.array(["train", "test", "test"])
    with pytest.raises(
        SplitError, match=r'1 groups lie in more than one split \(first: "p7" in test'
    ):
        require_separate_groups(sides, np.array(["p7", "p7", "p8"]))
    require_separate_groups(sides, np.array(["p7", "p8", "p8"]))
    require_separate_groups(sides, None)


def test_spellings_of_splits():
    assert [split_alias(w) for w in ("TRAIN", "Validation", "testing", "calib", "cats")] == [
        "train", "val", "test", "calibration", None,
    ]  # fmt: skip
