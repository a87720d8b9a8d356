"""Dividing rows and classes: stratified splits that keep groups together, and base/new classes."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from vlmcal.errors import SpecError, SplitError, nearest
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray, IntArray, StrArray, as_strings

# 50/20/30 is how CoOp (Zhou et al., IJCV 2022) split the data sets that came without a split.
DEFAULT_FRACTIONS: Final[Mapping[str, float]] = {"train": 0.5, "val": 0.2, "test": 0.3}
_ALIASES: Final = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
    "calibration": "calibration", "calib": "calibration",
}  # fmt: skip


class BaseNew(NamedTuple):
    """The classes trained on and the classes only met at test time, as sorted labels."""

    base: IntArray
    new: IntArray


def split_alias(name: str) -> str | None:
    """The split that a folder or cell called ``name`` stands for, or None.

    Letter case does not matter; "training", "valid", "validation", "dev", "testing" and "calib" are
    understood beside train, val, test and calibration.

    Example:
        >>> split_alias("Training"), split_alias("dev"), split_alias("cat")
        ('train', 'val', None)
    """
    return _ALIASES.get(name.strip().lower())


def split_names() -> tuple[str, ...]:
    """Every spelling of a split that :func:`split_alias` understands."""
    return tuple(_ALIASES)


def split_of_file(file: Path) -> str:
    """The split that the folder of a file is called, or else the first that its name speaks of; else "".

    Example:
        >>> split_of_file(Path("data/cats-train-00000-of-00002.parquet"))
        'train'
    """
    words = (file.parent.name, *re.split(r"[^A-Za-z]+", file.stem))
    return next((alias for word in words if (alias := split_alias(word))), "")


def known_split(name: str, error: type[Exception] = SpecError) -> str:
    """The split that ``name`` stands for, or "unknown" as it is.

    Raises:
        SpecError: None that is known; or ``error`` instead.

    Example:
        >>> known_split("dev"), known_split("unknown")
        ('val', 'unknown')
    """
    found = "unknown" if name == "unknown" else split_alias(name)
    if found is None:
        raise error(f'unknown split "{name}"; {nearest(name, split_names())}')
    return found


def base_new_classes(labels: IntArray) -> BaseNew:
    """Divide the labels that occur into base and new: sorted, base is the first ceil(n / 2).

    With n distinct labels l_1 < ... < l_n and m = ceil(n / 2): base = l_1 .. l_m, new = the rest.
    Relabelling from 0 is what :meth:`vlmcal.types.dataset.Dataset.of_classes` does with either half.

    Source: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022,
    arXiv 2203.05557.

    Args:
        labels: (N,) integers.

    Raises:
        SplitError: Fewer than two classes occur.

    Example:
        >>> halves = base_new_classes(np.array([4, 0, 2, 2, 9, 7]))
        >>> halves.base.tolist(), halves.new.tolist()
        ([0, 2, 4], [7, 9])
    """
    present = np.unique(np.asarray(labels)).astype(np.int64)
    if present.size < 2:
        raise SplitError(
            f"base-to-new needs at least 2 classes with images, got {present.size}; use the "
            "all-class protocol"
        )
    half = (present.size + 1) // 2
    return BaseNew(present[:half], present[half:])


def stratified_split(
    labels: IntArray | Sequence[int],
    *,
    fractions: Mapping[str, float] = DEFAULT_FRACTIONS,
    groups: Sequence[str] | StrArray | None = None,
    seed: int = 0,
) -> StrArray:
    """Assign every row to a split so that each class is divided in the same proportions.

    Without groups, the n_c rows of class c are shuffled and cut by largest remainder: split s gets
    floor(n_c f_s) rows, the rest go to the largest fractional parts, and, if n_c is at least the
    number of splits, none stays empty. With groups, whole groups are placed, largest first, each
    into the split where the class counts come closest to those targets, so proportions are
    approximate but a group is never on two sides.

    Args:
        labels: (N,) integers.
        fractions: Share of each split; positive, summing to 1.
        groups: (N,) patient or slide per row, or None.
        seed: Seed of the shuffle; the same seed gives the same split everywhere.

    Returns:
        (N,) split names.

    Raises:
        SplitError: Fractions are not positive or do not sum to 1, or fewer groups than splits.

    Example:
        >>> where = stratified_split([0] * 10 + [1] * 10, seed=0)
        >>> {name: int((where[:10] == name).sum()) for name in ("train", "val", "test")}
        {'train': 5, 'val': 2, 'test': 3}
    """
    names = tuple(fractions)
    shares: FloatArray = np.array([fractions[name] for name in names], dtype=np.float64)
    _require_fractions(names, shares)
    classes = np.unique(np.asarray(labels), return_inverse=True)[1]
    if groups is None:
        chosen = _split_rows(classes, shares, seed)
    else:
        chosen = _split_groups(classes, as_strings(groups, classes.size, "groups"), shares, seed)
    return np.asarray(names, dtype=np.str_)[chosen]


def _require_fractions(names: tuple[str, ...], shares: FloatArray) -> None:
    unknown = [name for name in names if split_alias(name) != name]
    if unknown:
        hint = nearest(unknown[0], ("train", "val", "calibration", "test"))
        raise SplitError(f'fractions: unknown split "{unknown[0]}"; {hint}')
    if not names or not np.all(shares > 0) or not np.isclose(shares.sum(), 1.0):
        given = dict(zip(names, shares.tolist(), strict=True))
        raise SplitError(f"fractions: expected positive shares that sum to 1, got {given}")


def _counts(total: int, shares: FloatArray) -> IntArray:
    exact = total * shares
    counts: IntArray = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - counts), kind="stable")
    counts[order[: total - counts.sum()]] += 1
    if total >= shares.size:
        for empty in np.flatnonzero(counts == 0):
            counts[counts.argmax()] -= 1
            counts[empty] += 1
    return counts


def _split_rows(classes: IntArray, shares: FloatArray, seed: int) -> IntArray:
    rng = numpy_generator(seed, "stratified_split")
    chosen = np.empty(classes.size, dtype=np.int64)
    for label in range(int(classes.max(initial=-1)) + 1):
        rows = rng.permutation(np.flatnonzero(classes == label))
        chosen[rows] = np.repeat(np.arange(shares.size), _counts(rows.size, shares))
    return chosen


def _split_groups(classes: IntArray, groups: StrArray, shares: FloatArray, seed: int) -> IntArray:
    names, member = np.unique(groups, return_inverse=True)
    if names.size < shares.size:
        raise SplitError(
            f"cannot divide {names.size} groups over {shares.size} splits without putting one group "
            "on two sides; give a split column, or drop the groups"
        )
    n_classes = int(classes.max()) + 1
    content = np.zeros((names.size, n_classes))
    np.add.at(content, (member, classes), 1.0)
    total = content.sum(axis=0)
    target = shares[:, None] * total
    shuffled = numpy_generator(seed, "stratified_split", "groups").permutation(names.size)
    largest_first = shuffled[np.argsort(-content[shuffled].sum(axis=1), kind="stable")]
    have = np.zeros_like(target)
    home = np.empty(names.size, dtype=np.int64)
    for place, group in enumerate(largest_first):
        gain = (have + content[group] - target) ** 2 - (have - target) ** 2
        cost = (gain / (total * target)).sum(axis=1)
        unused = np.flatnonzero(have.sum(axis=1) == 0)
        if unused.size >= names.size - place:
            cost[np.setdiff1d(np.arange(shares.size), unused)] = np.inf
        home[group] = cost.argmin()
        have[home[group]] += content[group]
    return home[member].astype(np.int64)


def require_separate_groups(splits: StrArray, groups: StrArray | None) -> None:
    """Check that no group lies in two splits.

    Args:
        splits: (N,) split per row.
        groups: (N,) group per row; None passes.

    Raises:
        SplitError: Counts the shared groups and names the first.

    Example:
        >>> require_separate_groups(np.array(["train", "test"]), np.array(["p1", "p2"]))
    """
    shared = groups_on_two_sides(splits, groups)
    if shared:
        group, sides = next(iter(shared.items()))
        raise SplitError(
            f'{len(shared)} groups lie in more than one split (first: "{group}" in '
            f"{' and '.join(sides)}); results would be too good. Split by group, or say that shared "
            "groups are intended"
        )


def groups_on_two_sides(splits: StrArray, groups: StrArray | None) -> dict[str, tuple[str, ...]]:
    """The groups that occur in several splits, with these splits.

    Example:
        >>> groups_on_two_sides(np.array(["train", "test", "test"]), np.array(["a", "a", "b"]))
        {'a': ('test', 'train')}
    """
    if groups is None:
        return {}
    pairs = sorted(set(zip(groups.tolist(), splits.tolist(), strict=True)))
    sides: dict[str, tuple[str, ...]] = {}
    for group, split in pairs:
        sides[group] = (*sides.get(group, ()), split)
    return {group: found for group, found in sides.items() if len(found) > 1}
