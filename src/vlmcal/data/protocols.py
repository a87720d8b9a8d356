"""Which images train, calibrate and test: base-to-new, all classes, cross-dataset."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, TypedDict, get_args

import numpy as np

from vlmcal.data.few_shot import MAX_VAL_SHOTS, draw_split
from vlmcal.data.problems import shown
from vlmcal.data.splits import base_new_classes, require_separate_groups
from vlmcal.errors import DataError, SpecError, SplitError, require_known
from vlmcal.types.arrays import BoolArray, IntArray
from vlmcal.types.dataset import Dataset

Held: TypeAlias = Literal["few", "all", "cross-fit", "none"]

WITHOUT_HELD_OUT = {
    "none": "none",
    "cross-fit": "the training images, each predicted by training without it",
}
"""Settings that hold nothing out, and what a run then calibrates on."""


class Drawing(TypedDict, total=False):
    """How images are drawn; see :func:`base_to_new`.

    Attributes:
        calibration: "all", "few" or "none" of the held-out images, or "cross-fit".
        allow_fewer: Accept classes with fewer images than asked for.
    """

    calibration: Held
    allow_fewer: bool


class GroupDrawing(Drawing, total=False):
    """How images are drawn from a data set whose split is kept.

    Attributes:
        allow_shared_groups: Accept a patient or slide on two sides.
    """

    allow_shared_groups: bool


class NothingHeldOutError(DataError):
    """No images are left to calibrate on."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Protocol:
    """The parts of one experiment on one data set, disjoint by construction.

    Attributes:
        name: "base-to-new", "all-class" or "cross-dataset".
        train: Few-shot training images.
        calibration: Held-out images of the same classes, tagged "calibration"; never test images.
        tests: Test images by name: "base" and "new", or "all", or the names of the target data sets.
        provenance: How the parts were made, as plain data.
    """

    name: str
    train: Dataset
    calibration: Dataset
    tests: Mapping[str, Dataset]
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def test_base(self) -> Dataset:
        """Test images of the classes trained on, with their names only."""
        return self.test("base")

    @property
    def test_new(self) -> Dataset:
        """Test images of the classes not trained on, with their names only."""
        return self.test("new")

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes trained on."""
        return self.train.class_names

    @property
    def new_class_names(self) -> tuple[str, ...]:
        """Names of the classes only met at test time."""
        return self.test_new.class_names

    def test(self, name: str) -> Dataset:
        """The test part called ``name``.

        Raises:
            SpecError: This protocol has no such part; names those it has.
        """
        require_known(name, self.tests, f'protocol "{self.name}" has no test part')
        return self.tests[name]


def base_to_new(
    dataset: Dataset,
    shots: int,
    seed: int,
    *,
    calibration: Held = "all",
    allow_fewer: bool = False,
    allow_shared_groups: bool = False,
) -> Protocol:
    """Train on the first half of the classes, test on both halves apart.

    Few-shot images are drawn over all classes by the published rule
    (:func:`vlmcal.data.few_shot.few_shot`); then the labels that occur are sorted, the first ceil(n / 2) are
    base, the rest new, and each half is relabelled from 0. Training and calibration keep only base
    classes. Each test part knows only the names of its own half.

    Source: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022,
    arXiv 2203.05557; calibration on the drawn validation images as in Wang et al., Open-vocabulary
    calibration for fine-tuned CLIP, ICML 2024, arXiv 2402.04655.

    Args:
        dataset: A data set with "train" and "test" images. Calibration images come from its
            "calibration" split, else from "val"; if it has neither, from those training images that were not
            drawn and share no group with them. ``provenance["calibration"]`` says which.
        shots: k, training images per class.
        seed: Seed of the draw.
        calibration: "all" images that are held out, "few" for min(k, 4) of each class, as published,
            "none", where nothing is to be calibrated, or "cross-fit", where none are held out and a run
            calibrates on its training images, each predicted by training without it.
        allow_fewer: Accept classes with fewer images than asked for.
        allow_shared_groups: Accept a patient or slide on two sides.

    Raises:
        SplitError: No test images, fewer than two new classes, or a group on two sides.
        DataError: No training images, or a class is too small.

    Example:
        >>> from vlmcal.data.shapes import shapes
        >>> parts = base_to_new(shapes(n_classes=5, n_train=8, n_val=4, n_test=2), shots=2, seed=1)
        >>> len(parts.train), len(parts.calibration), len(parts.test_base), len(parts.test_new)
        (6, 12, 6, 4)
        >>> parts.new_class_names
        ('plain green star', 'plain cyan cross')
    """
    train, held, provenance = _draw(dataset, shots, seed, calibration, allow_fewer)
    halves = base_new_classes(dataset.labels[train])
    base, new = halves.base.tolist(), halves.new.tolist()
    if len(new) < 2:
        raise SplitError(
            f'data set "{dataset.name}": base-to-new leaves {len(new)} new class of '
            f"{len(base) + len(new)}, and among the names of a single class every answer is right with "
            'probability 1; it needs at least 4 classes, or use the protocol "all-class"'
        )
    test = _test(dataset)
    _require_separate(dataset, train, held, test, allow_shared_groups)
    return Protocol(
        name="base-to-new",
        train=dataset.subset(train).of_classes(base),
        calibration=_calibration(dataset, held).of_classes(base),
        tests={
            "base": dataset.subset(test).of_classes(base),
            "new": dataset.subset(test).of_classes(new),
        },
        provenance={"protocol": "base-to-new", **provenance, "shared_groups": allow_shared_groups},
    )


def all_class(
    dataset: Dataset,
    shots: int,
    seed: int,
    *,
    calibration: Held = "all",
    allow_fewer: bool = False,
    allow_shared_groups: bool = False,
    nested: bool = False,
) -> Protocol:
    """Train and test on all classes: few-shot classification.

    The draw is that of :func:`base_to_new`, without the division of the classes; ``tests`` has the one
    part "all".

    Source: Zhou et al., Learning to prompt for vision-language models, IJCV 2022, arXiv 2109.01134.

    Args:
        dataset: See :func:`base_to_new`, as for the other arguments.
        shots: k, training images per class.
        seed: Seed of the draw.
        calibration: "all", "few" or "none" of the held-out images, or "cross-fit".
        allow_fewer: Accept classes with fewer images than asked for.
        allow_shared_groups: Accept a patient or slide on two sides.
        nested: Draw so that fewer shots are among more (:func:`vlmcal.data.protocol_variants.nested`).

    Raises:
        SplitError: No test images, or a group on two sides.
        DataError: No training images, or a class is too small.

    Example:
        >>> from vlmcal.data.shapes import shapes
        >>> parts = all_class(shapes(n_classes=5, n_train=8, n_val=4, n_test=2), shots=2, seed=1)
        >>> len(parts.train), len(parts.calibration), len(parts.test("all"))
        (10, 20, 10)
    """
    train, held, provenance = _draw(dataset, shots, seed, calibration, allow_fewer, nested)
    test = _test(dataset)
    _require_separate(dataset, train, held, test, allow_shared_groups)
    return Protocol(
        name="all-class",
        train=dataset.subset(train),
        calibration=_calibration(dataset, held),
        tests={"all": dataset.subset(test)},
        provenance={"protocol": "all-class", **provenance, "shared_groups": allow_shared_groups},
    )


def cross_dataset(
    source: Dataset,
    targets: Sequence[Dataset],
    shots: int,
    seed: int,
    *,
    calibration: Held = "all",
    allow_fewer: bool = False,
) -> Protocol:
    """Train on all classes of one data set, test on others without any change.

    ``tests`` has one part per target, named after it: all its classes and its whole "test" split. Nothing
    of a target is used for training or calibration.

    Source: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022,
    arXiv 2203.05557.

    Args:
        source: Data set to train on; see :func:`base_to_new`.
        targets: Data sets to test on, with different names.
        shots: k, training images per class.
        seed: Seed of the draw.
        calibration: "all", "few" or "none" of the held-out images of the source, or "cross-fit".
        allow_fewer: Accept classes with fewer images than asked for.

    Raises:
        SpecError: No targets, or two of the same name.
        SplitError: A target has no test images.
        DataError: No training images, or a class is too small.

    Example:
        >>> from vlmcal.data.digits import digits
        >>> from vlmcal.data.shapes import shapes
        >>> parts = cross_dataset(shapes(n_classes=5, n_test=1), [digits()], shots=1, seed=1)
        >>> len(parts.train), {name: len(part) for name, part in parts.tests.items()}
        (5, {'digits': 891})
    """
    names = [target.name for target in targets]
    if not names or len(set(names)) < len(names):
        raise SpecError(f"cross-dataset: expected targets with different names, got {names}")
    train, held, provenance = _draw(source, shots, seed, calibration, allow_fewer)
    return Protocol(
        name="cross-dataset",
        train=source.subset(train),
        calibration=_calibration(source, held),
        tests={target.name: target.subset(_test(target)) for target in targets},
        provenance={"protocol": "cross-dataset", **provenance, "targets": names},
    )


def check_held(calibration: object) -> None:
    """Refuse what does not say which held-out images calibrate.

    Raises:
        SpecError: It is none of "all", "few", "cross-fit" and "none"; names the nearest.
    """
    require_known(
        calibration,
        get_args(Held),
        'calibration: expected "all", "few", "cross-fit" or "none", got',
    )


def _draw(
    dataset: Dataset,
    shots: int,
    seed: int,
    calibration: Held,
    allow_fewer: bool,
    nested: bool = False,
) -> tuple[IntArray, IntArray, dict[str, Any]]:
    """Rows to train on, rows to calibrate on, and how they were drawn."""
    check_held(calibration)
    rng = random.Random(seed)
    train = draw_split(dataset, "train", shots, rng, allow_fewer=allow_fewer, nested=nested)
    if not train.size:
        present = shown(sorted(set(dataset.splits.tolist())))
        raise DataError(f'data set "{dataset.name}" has no "train" images (it has: {present})')
    if calibration in WITHOUT_HELD_OUT:
        held, what = np.empty(0, np.int64), WITHOUT_HELD_OUT[calibration]
    else:
        source, pool = _pool(dataset, train)
        what = f"{calibration} of {source}"
        if calibration == "all":
            held = np.flatnonzero(pool.splits == "calibration").astype(np.int64)
        else:
            few = min(shots, MAX_VAL_SHOTS)
            held = draw_split(pool, "calibration", few, rng, allow_fewer=allow_fewer, nested=nested)
            what = f"{few} per class of {source}"
    return (
        train,
        held,
        {
            "dataset": dataset.name,
            "shots": shots,
            "seed": seed,
            "calibration": what,
            "allow_fewer": allow_fewer,
        },
    )


def _pool(dataset: Dataset, train: IntArray) -> tuple[str, Dataset]:
    """Where held-out images come from, and the data set with these tagged "calibration"."""
    for split in ("calibration", "val"):
        if (dataset.splits == split).any():
            return f'the split "{split}"', _tagged(dataset, dataset.splits == split)
    left = dataset.splits == "train"
    left[train] = False
    if dataset.groups is not None:
        left &= ~np.isin(dataset.groups, dataset.groups[train])
    if not left.any():
        raise NothingHeldOutError(
            f'data set "{dataset.name}" has no "val" images, and no "train" images are left after the draw '
            "to hold out for calibration; lower the shots, tag some images as val, calibrate on training "
            "images predicted by training without them (calibration: cross-fit), or calibrate nothing "
            "(calibration: none; --calibration none)"
        )
    return "training images that were not drawn, because there is no val split", _tagged(
        dataset, left
    )


def _tagged(dataset: Dataset, rows: BoolArray) -> Dataset:
    return replace(dataset, splits=np.where(rows, "calibration", "unknown"))


def _test(dataset: Dataset) -> IntArray:
    rows = np.flatnonzero(dataset.splits == "test")
    if not rows.size:
        present = shown(sorted(set(dataset.splits.tolist())))
        raise SplitError(
            f'data set "{dataset.name}" has no "test" images (it has: {present}); tag some as test'
        )
    return rows.astype(np.int64)


def _calibration(dataset: Dataset, rows: IntArray) -> Dataset:
    part = dataset.subset(rows)
    return replace(part, splits=np.full(len(part), "calibration"))


def _require_separate(
    dataset: Dataset, train: IntArray, held: IntArray, test: IntArray, allowed: bool
) -> None:
    if dataset.groups is None or allowed:
        return
    sides = np.repeat(["train", "calibration", "test"], [train.size, held.size, test.size])
    groups = dataset.groups[np.concatenate([train, held, test])]
    try:
        require_separate_groups(sides, groups)
    except SplitError as error:
        raise SplitError(
            f'data set "{dataset.name}": {error} with allow_shared_groups=True'
        ) from error
