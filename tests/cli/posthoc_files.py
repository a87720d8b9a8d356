"""Files with predictions of known calibration, and numbers computed without the package."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

TEMPERATURE = 2.5


def scores(n=300, k=3, seed=0, names=None, groups=0):
    """Logits ``2.5 z`` with labels drawn from softmax(z), as the arrays of an NPZ file."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 2
    labels = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    arrays = {"logits": TEMPERATURE * z, "labels": labels}
    if names:
        arrays["class_names"] = np.array(names)
    if groups:
        arrays["groups"] = np.array([f"patient{i % groups}" for i in range(n)])
    return arrays


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


def without(arrays, absent):
    """The same rows, less those of one class."""
    keep = arrays["labels"] != absent
    return {name: a[keep] if len(a) == keep.size else a for name, a in arrays.items()}


def nll(logits, labels):
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels].mean()


def best_temperature(logits, labels):
    found = minimize_scalar(
        lambda u: nll(logits / np.exp(u), labels), bounds=(-3, 3), method="bounded"
    )
    return float(np.exp(found.x))


def lac_sets(val, test, alpha):
    """Sets of split conformal prediction with the score 1 - p, written out."""
    p, q = softmax(val["logits"], axis=1), softmax(test["logits"], axis=1)
    own = np.sort(1 - p[np.arange(len(p)), val["labels"]])
    threshold = own[int(np.ceil((len(own) + 1) * (1 - alpha))) - 1]
    return 1 - q <= threshold
