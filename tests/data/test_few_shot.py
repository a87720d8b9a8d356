import json
import random
from pathlib import Path

import numpy as np
import pytest

from vlmcal.data.few_shot import draw, few_shot
from vlmcal.errors import DataError
from vlmcal.types.dataset import Dataset

FIXTURE = Path(__file__).parent / "fixtures" / "few_shot_published.json"
PUBLISHED = json.loads(FIXTURE.read_text())["draws"]


def dataset(train, val=(), class_names=("a", "b", "c")):
    labels = [*train, *val]
    return Dataset(
        name="toy",
        images=np.zeros((len(labels), 2, 2), np.uint8),
        labels=labels,
        splits=["train"] * len(train) + ["val"] * len(val),
        class_names=class_names,
    )


def listed(part):
    return np.repeat(part["labels_in_order"], part["sizes"]).tolist()


@pytest.mark.parametrize(
    "entry", PUBLISHED, ids=lambda e: f"{e['dataset']}-shot_{e['shots']}-seed_{e['seed']}"
)
def test_draw_equals_the_published_index_lists(entry):
    train, val = listed(entry["train"]), listed(entry["val"])
    names = tuple(str(i) for i in range(len(entry["train"]["sizes"])))
    rows = few_shot(dataset(train, val, names), entry["shots"], entry["seed"])
    assert rows.train.tolist() == entry["train"]["indices"]
    assert (rows.val - len(train)).tolist() == entry["val"]["indices"]


def test_published_lists_are_not_sorted_by_label():
    flowers = next(e for e in PUBLISHED if e["dataset"] == "oxford_flowers")
    assert flowers["train"]["labels_in_order"][:3] == [76, 72, 87]


def test_matches_python_random_by_hand():
    random.seed(7)
    by_hand = random.sample([1, 2, 4], 2) + random.sample([0, 3, 5], 2)
    assert draw([1, 0, 0, 1, 0, 1], 2, random.Random(7)).tolist() != by_hand
    assert draw([0, 1, 1, 0, 1, 0], 2, random.Random(7)).tolist() != by_hand
    random.seed(7)
    by_hand = random.sample([0, 3, 5], 2) + random.sample([1, 2, 4], 2)
    assert draw([9, 1, 1, 9, 1, 9], 2, random.Random(7)).tolist() == by_hand


def test_global_generator_is_left_alone():
    random.seed(3)
    expected = random.random()
    random.seed(3)
    few_shot(dataset([0, 1, 2] * 5, [0, 1, 2] * 5), 2, seed=9)
    assert random.random() == expected


def test_val_shots_are_capped_at_four():
    rows = few_shot(dataset([0, 1, 2] * 20, [0, 1, 2] * 10), 16, seed=1)
    assert (len(rows.train), len(rows.val)) == (48, 12)
    assert len(set(rows.train.tolist())) == 48


def test_small_classes_are_named_with_their_counts():
    with pytest.raises(
        DataError,
        match=r'data set "toy", split "train": 2 of 3 classes have fewer than 4 images: b \(2\), c \(3\). '
        r"Lower the shots to 2, add images, or pass allow_fewer=True",
    ):
        few_shot(dataset([0] * 5 + [1] * 2 + [2] * 3), 4, seed=1)


def test_a_class_without_training_images_is_named():
    with pytest.raises(
        DataError, match=r"1 of 3 classes have fewer than 1 images: c \(0\). Add images"
    ):
        few_shot(dataset([0, 1]), 1, seed=1)


def test_allow_fewer_takes_all_in_order_and_leaves_the_generator_alone():
    rows = few_shot(dataset([1, 0, 0, 0, 1], class_names=("a", "b")), 3, seed=5, allow_fewer=True)
    assert rows.train[:2].tolist() == [0, 4]
    assert rows.train[2:].tolist() == random.Random(5).sample([1, 2, 3], 3)


def test_small_val_class_names_the_split():
    with pytest.raises(
        DataError, match=r'split "val": 1 of 2 classes have fewer than 2 images: b \(1\)'
    ):
        few_shot(dataset([0, 1] * 3, [0, 0, 1], class_names=("a", "b")), 2, seed=1)


def test_no_training_images():
    with pytest.raises(DataError, match=r'no rows tagged "train" to draw from .it has: val'):
        few_shot(dataset([], [0, 1], class_names=("a", "b")), 1, seed=1)


def test_zero_shots():
    with pytest.raises(DataError, match=r"expected at least 1 image per class, got 0"):
        draw([0, 1], 0, random.Random(1))
