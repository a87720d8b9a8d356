"""Write docs/results/clustering.md: clusters without labels, and whether their confidences hold.

python scripts/write_clustering_results.py        # a few minutes on one processor core
"""

from pathlib import Path

import numpy as np
import torch

from vlmcal.backbones import load_backbone
from vlmcal.backbones.cache import image_features
from vlmcal.clustering import cdc
from vlmcal.clustering.kmeans import kmeans
from vlmcal.clustering.scores import agreement, scored
from vlmcal.data.digits import digits
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.dataset import Dataset

TARGET = Path(__file__).parent.parent / "docs" / "results" / "clustering.md"
SEEDS = (0, 1)
EPOCHS = 30
PAGE = """# Clusters without labels

Written by `scripts/write_clustering_results.py`, as `vlmcal cluster IMAGES --k K` (or
FEATURES.npz, rows.csv) does it: CDC on frozen features, {epochs} epochs, all other settings published;
labels are read for the scores alone. Accuracy under
the best one-to-one matching of clusters and classes, ARI, NMI, and the ECE (15 bins) of the confidence that
the matched class is right, for the clustering head and for the calibration head; percent but for ARI and
NMI. Mean over seeds {seeds}, the deviation over seeds in brackets. "k-means" is Lloyd's on the same unit
features, the best of ten starts; it has no confidence. Blobs are Gaussians around the corners of a
simplex, in 16 dimensions.

| data | K | k-means: accuracy | accuracy | ARI | NMI | confidence | ECE, clustering | ECE, calibration |
|---|---|---|---|---|---|---|---|---|
{lines}

## Reading

{reading}

## What this does not show

- The encoder stays frozen; the paper trains it, too, and keeps the epoch that is best on the test set, here
  it is the last.
- All images are clustered and scored at once (transductive), as in the paper.
- K is given. Where true classes are fewer or more, accuracy says little.
"""


def blobs(spread: float, k: int = 8, rows: int = 400) -> tuple[FloatArray, IntArray]:
    """Features and classes of k Gaussians."""
    draw = np.random.default_rng(0)
    labels = np.arange(rows) % k
    return np.eye(k, 16)[labels] + spread * draw.normal(size=(rows, 16)), labels


def images(data: Dataset, views: int) -> list[FloatArray]:
    """Plain features, and those of a random crop."""
    encoder = load_backbone("pocket")
    plain = image_features(encoder, data).image_features[:, 0]
    crops = image_features(encoder, data, views=views).image_features[:, 0]
    return [np.asarray(part, dtype=np.float64) for part in (plain, crops)]


def measured(
    features: FloatArray, crops: FloatArray, labels: IntArray, k: int, seed: int
) -> list[float]:
    """Scores of one clustering."""
    unit = torch.nn.functional.normalize(torch.as_tensor(features, dtype=torch.float32))
    stream = torch.Generator().manual_seed(seed)
    _, plain, _ = kmeans(unit, k, stream, starts=10)
    made = cdc.cluster(
        features, k, weak=crops, strong=crops, settings=cdc.Settings(epochs=EPOCHS), seed=seed
    )
    best = made.probabilities.max(axis=1)
    found = scored(made.labels, best, labels)
    raw = scored(made.uncalibrated.argmax(axis=1), made.uncalibrated.max(axis=1), labels)
    return [
        100 * agreement(plain.numpy(), labels).accuracy,
        100 * found.accuracy,
        found.ari,
        found.nmi,
        100 * float(best.mean()),
        100 * raw.ece,
        100 * found.ece,
    ]


def main() -> None:
    """Cluster everything and write the page."""
    torch.set_num_threads(1)
    cases: dict[str, tuple[FloatArray, FloatArray, IntArray, int]] = {}
    for spread in (0.1, 0.4):
        rows, labels = blobs(spread)
        cases[f"blobs, deviation {spread}"] = (rows, rows, labels, 8)
    real = digits().of_split("val")
    cases["digits (val)"] = (*images(real, 2), real.labels, 10)
    lines, better = [], []
    for name, (rows, crops, labels, k) in cases.items():
        found = np.array([measured(rows, crops, labels, k, seed) for seed in SEEDS])
        mean, spread = found.mean(axis=0), found.std(axis=0, ddof=1)
        cells = [
            f"{m:.2f} ({s:.2f})" if place in (2, 3) else f"{m:.1f} ({s:.1f})"
            for place, (m, s) in enumerate(zip(mean, spread, strict=True))
        ]
        lines.append(f"| {name} | {k} | {' | '.join(cells)} |")
        better.append((name, mean[5] - mean[6], mean[1] - mean[0], mean[4] - mean[1]))
        print(lines[-1], flush=True)
    TARGET.write_text(
        PAGE.format(
            epochs=EPOCHS,
            seeds=", ".join(map(str, SEEDS)),
            lines="\n".join(lines),
            reading=reading(better),
        ),
        encoding="utf-8",
    )
    print(TARGET)


def reading(cases: list[tuple[str, float, float, float]]) -> str:
    """What the numbers say, from the numbers."""

    def names(some: list[str]) -> str:
        return "; ".join(some) if some else "none of these"

    helped = [name for name, gain, _, _ in cases if gain > 0]
    better = [name for name, _, gain, _ in cases if gain > 0]
    sure = [f"{name} (by {gap:.0f} points)" for name, _, _, gap in cases if gap > 5]
    unsure = [f"{name} (by {-gap:.0f} points)" for name, _, _, gap in cases if gap < -5]
    return "\n".join(
        [
            f"- The calibration head has the lower ECE on: {names(helped)}.",
            f"- The clusters agree better with the classes than those of k-means on: {names(better)}.",
            f"- The mean confidence is above the accuracy by more than 5 points on: {names(sure)}; "
            f"below it on: {names(unsure)}.",
        ]
    )


if __name__ == "__main__":
    main()
