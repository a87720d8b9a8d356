"""The few-shot draw of the prompt-tuning literature, image for image."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vlmcal.data.problems import shown
from vlmcal.errors import DataError
from vlmcal.types.arrays import IntArray
from vlmcal.types.dataset import Dataset

MAX_VAL_SHOTS = 4


@dataclass(frozen=True, eq=False)
class FewShot:
    """Row numbers of one few-shot draw, in drawn order.

    Attributes:
        train: Rows to train on, ``shots`` per class.
        val: Rows held out for calibration or model selection, ``min(shots, 4)`` per class.
    """

    train: IntArray
    val: IntArray


def draw(
    labels: IntArray | Sequence[int],
    shots: int,
    rng: random.Random,
    *,
    class_names: Sequence[str] = (),
    allow_fewer: bool = False,
    nested: bool = False,
) -> IntArray:
    """Positions of ``shots`` rows per class, by the published rule.

    Rows are grouped by label in order of first appearance in the list (not by sorted label), and
    ``rng.sample(group, shots)`` is taken from one group after the other, all from the same generator.

    Source: Zhou et al., Learning to prompt for vision-language models, IJCV 2022, arXiv 2109.01134
    (its released data loaders).

    Args:
        labels: (N,) label of each row of the list, in the list's own order.
        shots: k, images per class.
        rng: Python generator; its state moves on.
        class_names: K names; with them, a class without a single row counts as too small, too.
        allow_fewer: Take a whole class, in list order and without touching the generator, if it has
            fewer than k rows, as the reference code does; otherwise that is an error.
        nested: Shuffle each group and take its first k, so that fewer shots are among more.

    Returns:
        Positions in ``labels``, class by class.

    Raises:
        DataError: ``shots`` is below 1, or a class is too small; names all such classes and counts.

    Example:
        >>> draw([1, 0, 1, 0, 1, 0], 2, random.Random(1)).tolist()
        [0, 4, 3, 1]
    """
    if shots < 1:
        raise DataError(f"shots: expected at least 1 image per class, got {shots}")
    members: dict[int, list[int]] = {}
    for position, label in enumerate(np.asarray(labels).tolist()):
        members.setdefault(label, []).append(position)
    if not allow_fewer:
        _require_enough(members, shots, class_names)
    chosen: list[int] = []
    for rows in members.values():
        if nested:
            rng.shuffle(rows)
            chosen.extend(rows[:shots])
        else:
            chosen.extend(rows if len(rows) < shots else rng.sample(rows, shots))
    return np.asarray(chosen, dtype=np.int64)


def _require_enough(members: dict[int, list[int]], shots: int, class_names: Sequence[str]) -> None:
    names = dict(enumerate(class_names))
    classes = sorted(members.keys() | names.keys())
    small = {c: len(members.get(c, ())) for c in classes if len(members.get(c, ())) < shots}
    if small:
        counts = shown([f"{names.get(label, label)} ({count})" for label, count in small.items()])
        fewest = min(small.values())
        lower = f"Lower the shots to {fewest}, add" if fewest else "Add"
        raise DataError(
            f"{len(small)} of {len(classes)} classes have fewer than {shots} images: {counts}. "
            f"{lower} images, or pass allow_fewer=True to take all images of such a class"
        )


def few_shot(dataset: Dataset, shots: int, seed: int, *, allow_fewer: bool = False) -> FewShot:
    """Draw the few-shot training and validation rows of a data set.

    ``random.Random(seed)``; ``shots`` per class from the rows tagged "train", then, continuing the
    same generator state, min(shots, 4) per class from the rows tagged "val". Rows count in the order
    of the data set, which for a published split file is the order of that file. The draw is over
    all classes, before any base/new division. It equals the index lists published for the
    CoOp benchmark (shots 1, 2, 4, 8, 16; seeds 1, 2, 3).

    Args:
        dataset: Where to draw; without "val" rows the validation draw is empty.
        shots: k, images per class.
        seed: Seed of Python's own generator.
        allow_fewer: See :func:`draw`.

    Raises:
        DataError: No training rows, or a class is too small.

    Example:
        >>> import numpy as np
        >>> data = Dataset(
        ...     name="toy", images=np.zeros((8, 2, 2), np.uint8), labels=[0, 0, 0, 1, 1, 1, 0, 1],
        ...     splits=["train"] * 6 + ["val"] * 2, class_names=("a", "b"),
        ... )
        >>> rows = few_shot(data, shots=1, seed=1)
        >>> rows.train.tolist(), rows.val.tolist()
        ([0, 5], [6, 7])
    """
    rng = random.Random(seed)
    train = draw_split(dataset, "train", shots, rng, allow_fewer=allow_fewer)
    if not train.size:
        present = shown(sorted(set(dataset.splits.tolist())))
        raise DataError(
            f'data set "{dataset.name}" has no rows tagged "train" to draw from (it has: {present}); '
            "give it a split"
        )
    val = draw_split(dataset, "val", min(shots, MAX_VAL_SHOTS), rng, allow_fewer=allow_fewer)
    return FewShot(train, val)


def draw_split(
    dataset: Dataset,
    split: str,
    shots: int,
    rng: random.Random,
    *,
    allow_fewer: bool = False,
    nested: bool = False,
) -> IntArray:
    """Rows of the data set drawn from one split; see :func:`draw`. Empty if the split is.

    Raises:
        DataError: A class that occurs in the split is too small; names the split.
    """
    rows = np.flatnonzero(dataset.splits == split)
    if not rows.size:
        return rows.astype(np.int64)
    try:
        picked = draw(
            dataset.labels[rows],
            shots,
            rng,
            class_names=dataset.class_names,
            allow_fewer=allow_fewer,
            nested=nested,
        )
    except DataError as error:
        raise DataError(f'data set "{dataset.name}", split "{split}": {error}') from error
    return rows[picked].astype(np.int64)
