"""A few random images of two classes, for tests of what is kept of images."""

import numpy as np

from vlmcal.types.dataset import Dataset


def small_data(n=5, seed=0, *, size=(20, 28), **changes):
    fields = {
        "name": "d",
        "images": np.random.default_rng(seed).integers(0, 256, (n, *size, 3), dtype=np.uint8),
        "labels": np.arange(n) % 2,
        "splits": ["train"] * n,
        "class_names": ("a", "b"),
    }
    return Dataset(**{**fields, **changes})
