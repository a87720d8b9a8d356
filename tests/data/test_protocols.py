import numpy as np
import pytest

from vlmcal.data.few_shot import few_shot
from vlmcal.data.protocols import NothingHeldOutError, all_class, base_to_new, cross_dataset
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.types.dataset import Dataset


def dataset(name="toy", k=5, train=8, val=6, test=3, groups=None, **counts):
    plan = {"train": train, "val": val, "test": test, **counts}
    rows = [(split, c) for split, n in plan.items() for c in range(k) for _ in range(n)]
    return Dataset(
        name=name,
        images=np.arange(len(rows) * 4, dtype=np.uint8).reshape(-1, 2, 2),
        labels=[c for _, c in rows],
        splits=[split for split, _ in rows],
        class_names=tuple("abcdefgh"[:k]),
        ids=[f"{split}-{i}" for i, (split, _) in enumerate(rows)],
        groups=groups,
    )


def ids(part):
    return set(part.ids.tolist())


def test_base_to_new_divides_classes_and_relabels():
    parts = base_to_new(dataset(), shots=2, seed=1, calibration="few")
    assert parts.class_names == parts.test_base.class_names == ("a", "b", "c")
    assert parts.new_class_names == ("d", "e")
    assert sorted(set(parts.test_new.labels.tolist())) == [0, 1]
    assert [len(parts.train), len(parts.calibration)] == [6, 6]
    assert [len(parts.test_base), len(parts.test_new)] == [9, 6]


def test_few_shot_draw_happens_before_the_division():
    data = dataset()
    rows = few_shot(data, 4, seed=3)
    parts = base_to_new(data, shots=4, seed=3, calibration="few")
    base = set(data.ids[rows.train[data.labels[rows.train] < 3]].tolist())
    held = set(data.ids[rows.val[data.labels[rows.val] < 3]].tolist())
    assert ids(parts.train) == base
    assert ids(parts.calibration) == held


@pytest.mark.parametrize("protocol", [base_to_new, all_class])
@pytest.mark.parametrize("val", [0, 6])
@pytest.mark.parametrize("calibration", ["few", "all"])
def test_parts_are_disjoint_and_calibration_is_never_test(protocol, val, calibration):
    parts = protocol(dataset(val=val), shots=3, seed=2, calibration=calibration)
    sides = [ids(parts.train), ids(parts.calibration), *map(ids, parts.tests.values())]
    assert sum(map(len, sides)) == len(set.union(*sides))
    assert not any(name.startswith("test") for name in ids(parts.calibration))
    assert set(parts.calibration.splits.tolist()) == {"calibration"}
    assert all(name.startswith("test") for part in parts.tests.values() for name in ids(part))


def test_calibration_all_takes_the_whole_val_split_of_the_base_classes():
    parts = base_to_new(dataset(), shots=2, seed=1)
    assert len(parts.calibration) == 3 * 6
    assert parts.provenance["calibration"] == 'all of the split "val"'


def test_without_val_the_calibration_rows_are_held_out_of_train_and_this_is_said():
    data = dataset(val=0)
    parts = base_to_new(data, shots=2, seed=1, calibration="few")
    assert len(parts.calibration) == 6
    assert all(name.startswith("train") for name in ids(parts.calibration))
    assert parts.provenance["calibration"] == (
        "2 per class of training images that were not drawn, because there is no val split"
    )
    assert len(base_to_new(data, shots=2, seed=1, calibration="all").calibration) == 3 * 6


def test_a_calibration_split_goes_before_val():
    parts = all_class(dataset(calibration=5), shots=2, seed=1, calibration="few")
    assert all(name.startswith("calibration") for name in ids(parts.calibration))
    assert parts.provenance["calibration"] == '2 per class of the split "calibration"'


def test_nothing_left_to_hold_out():
    with pytest.raises(DataError, match='no "val" images, and no "train" images are left'):
        base_to_new(dataset(val=0, train=4), shots=4, seed=1)


def test_held_out_rows_share_no_group_with_drawn_ones():
    n = 5 * (8 + 3)
    pairs = [str(i // 2) for i in range(n)]
    data = dataset(val=0, groups=pairs, train=8)
    parts = all_class(data, shots=2, seed=1, calibration="all", allow_shared_groups=True)
    assert not set(parts.train.groups) & set(parts.calibration.groups)


def test_groups_on_two_sides_are_refused_unless_asked_for():
    data = dataset(groups=["same patient"] * (5 * 17))
    with pytest.raises(
        SplitError, match=r'data set "toy": 1 groups lie in more than one split.*allow_'
    ):
        base_to_new(data, shots=2, seed=1)
    parts = base_to_new(data, shots=2, seed=1, allow_shared_groups=True)
    assert parts.provenance["shared_groups"] is True


def test_no_test_split():
    with pytest.raises(
        SplitError, match=r'no "test" images \(it has: train, val\); tag some as test'
    ):
        all_class(dataset(test=0), shots=2, seed=1)


def test_no_train_split():
    with pytest.raises(DataError, match=r'no "train" images \(it has: test, val\)'):
        all_class(dataset(train=0), shots=2, seed=1)


@pytest.mark.parametrize("protocol", [base_to_new, all_class])
def test_nothing_has_to_be_held_out_where_nothing_is_calibrated(protocol):
    data = dataset(val=0)
    everything = int((data.splits == "train").sum())
    with pytest.raises(NothingHeldOutError, match="calibration: none"):
        protocol(data, shots=everything, seed=1, allow_fewer=True)
    parts = protocol(data, shots=everything, seed=1, allow_fewer=True, calibration="none")
    assert len(parts.train) > 0
    assert len(parts.calibration) == 0
    assert parts.provenance["calibration"] == "none"


def test_a_single_new_class_is_refused():
    with pytest.raises(SplitError, match="leaves 1 new class of 3"):
        base_to_new(dataset(k=3), shots=2, seed=1)


def test_unknown_calibration_and_test_part():
    with pytest.raises(SpecError, match='expected "all", "few", "cross-fit" or "none", got "some"'):
        all_class(dataset(), shots=2, seed=1, calibration="some")
    with pytest.raises(SpecError, match='"all-class" has no test part "new"; valid: all'):
        _ = all_class(dataset(), shots=2, seed=1).test_new


def test_cross_dataset_tests_whole_targets():
    parts = cross_dataset(dataset(), [dataset("one"), dataset("two", k=3)], shots=2, seed=1)
    assert {name: len(part) for name, part in parts.tests.items()} == {"one": 15, "two": 9}
    assert parts.provenance["targets"] == ["one", "two"]
    with pytest.raises(SpecError, match="targets with different names"):
        cross_dataset(dataset(), [dataset("one"), dataset("one")], shots=2, seed=1)


def test_same_seed_same_images_other_seed_others():
    first, again, other = (base_to_new(dataset(), shots=2, seed=s) for s in (1, 1, 2))
    assert first.train.ids.tolist() == again.train.ids.tolist()
    assert first.train.ids.tolist() != other.train.ids.tolist()
