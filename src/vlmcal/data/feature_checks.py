"""What features of a backbone show: images that look the same to it, labels that it doubts."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from vlmcal.data.label_noise import confident_learning, cross_validated
from vlmcal.data.problems import Findings, shown
from vlmcal.types.arrays import StrArray
from vlmcal.types.dataset import Dataset

ALIKE: Final = 0.995  # cosine of features
_ROWS: Final = 1024


def near_features(
    features: NDArray[np.floating], sides: StrArray, *, alike: float = ALIKE
) -> list[tuple[int, int, float]]:
    """The likest image in another split of each image, where the cosine is at least ``alike``.

    Work is the product of the sizes of the splits: with 100,000 images minutes of matrix products.

    Example:
        >>> near_features(np.array([[1.0, 0], [1, 0.01], [0, 1]]), np.array(["train", "test", "test"]))
        [(1, 0, 0.99995...)]
    """
    x = np.asarray(features, np.float32)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    names, counts = np.unique(sides, return_counts=True)
    order = [str(names[i]) for i in np.argsort(-counts, kind="stable")]
    if order and "train" in order:
        order = ["train", *(name for name in order if name != "train")]
    found = []
    for place, side in enumerate(order[:-1]):
        base = np.flatnonzero(sides == side)
        asking = np.flatnonzero(np.isin(sides, order[place + 1 :]))
        for start in range(0, len(asking), _ROWS):
            part = asking[start : start + _ROWS]
            cosines = x[part] @ x[base].T
            best = cosines.argmax(axis=1)
            values = cosines[np.arange(len(part)), best]
            found += [
                (int(part[i]), int(base[best[i]]), float(values[i]))
                for i in np.flatnonzero(values >= alike)
            ]
    return sorted(found, key=lambda pair: -pair[2])


def note_features(
    dataset: Dataset, features: NDArray[np.floating], findings: Findings, *, folds: int = 5
) -> None:
    """Note near copies and doubtful labels by features (N, D) of all images."""
    pairs = near_features(features, dataset.splits)
    if pairs:
        texts = [
            f"{dataset.ids[a]} ({dataset.splits[a]}) ~ {dataset.ids[b]} ({dataset.splits[b]}), {c:.4f}"
            for a, b, c in pairs
        ]
        findings.warning(
            "near-features",
            f"{len(pairs)} images have nearly the features of one of another split (cosine from {ALIKE}): "
            f"{shown(texts, 3)}; look at them",
            texts,
            [(a, b) for a, b, _ in pairs],
        )
    fewest = int(np.bincount(dataset.labels, minlength=len(dataset.class_names)).min())
    groups = None if dataset.groups is None else len(set(dataset.groups.tolist()))
    if min(fewest, groups or fewest) < folds or len(dataset.class_names) < 2:
        findings.warning(
            "labels-not-judged",
            f"the smallest class has {fewest} images{f' and there are {groups} groups' if groups else ''}: "
            f"too few to cross-validate in {folds} folds, so no label is doubted",
        )
        return
    probabilities = cross_validated(features, dataset.labels, dataset.groups, folds=folds)
    noise = confident_learning(probabilities, dataset.labels)
    right = float((probabilities.argmax(axis=1) == dataset.labels).mean())
    if noise.rows.size:
        names = dataset.class_names
        texts = [
            f"{dataset.ids[row]}: {names[dataset.labels[row]]}, looks like {names[other]}"
            for row, other in zip(noise.rows.tolist(), noise.suggested.tolist(), strict=True)
        ]
        findings.warning(
            "label-doubt",
            f"{len(texts)} labels are doubted by a probe on features fitted without them (it is right "
            f"in {100 * right:.0f} %; what it doubts is wrong, hard, or beyond it): {shown(texts, 3)}; "
            "look at the first of them",
            texts,
            [(row,) for row in noise.rows.tolist()],
        )
