"""Exchangeable rows of a known distribution, shared by the conformal tests."""

import numpy as np

from vlmcal.types.predictions import Predictions


def simulate(n, k=4, seed=0, prefix="row", groups=2, width=6):
    """n independent rows: skewed classes, overconfident logits, features that know the class a little."""
    generator = np.random.default_rng(seed)
    frequencies = np.arange(1, k + 1) / np.arange(1, k + 1).sum()
    labels = generator.choice(k, size=n, p=frequencies)
    group = generator.integers(groups, size=n)
    noise = generator.normal(size=(n, k)) * (1.0 + group[:, None])
    logits = 2.0 * (2.5 * np.eye(k)[labels] + noise)
    features = np.eye(width)[labels % width] + generator.normal(size=(n, width))
    return Predictions(
        logits=logits,
        labels=labels,
        ids=[f"{prefix} {i}" for i in range(n)],
        groups=[f"scanner {g}" for g in group],
        extras={"image_features": features, "likelihood_ratio": np.ones(n)},
        split="calibration",
    )


def split_rows(rows, n):
    """The first n rows and the others."""
    return rows.subset(np.arange(n)), rows.subset(np.arange(n, len(rows)))
