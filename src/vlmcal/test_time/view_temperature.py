"""One temperature per test image, from how sure the model was of the same views before it was adapted."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch import Tensor

from vlmcal.errors import DataError
from vlmcal.test_time.prompt_tuning import Tuned

BOUNDS = (0.02, 50.0)
_GRID = 301


class Scaled(NamedTuple):
    """Temperatures and predictions of N images.

    Attributes:
        temperature: (N,).
        probabilities: (N, K) of the original view at its temperature; the predicted class never changes.
        ensemble: (N, K) E-CoTS: with the mean over the selected views mixed in.
        selected: (N, n) views that were used, by rising entropy.
        share: (N,) weight of the original view in the ensemble.
        views: (N, K) mean over the selected views at the temperature.
    """

    temperature: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    ensemble: NDArray[np.float64]
    selected: NDArray[np.int64]
    share: NDArray[np.float64]
    views: NDArray[np.float64]


def cots(
    adapted: NDArray[np.float64],
    zero_shot: NDArray[np.float64],
    text_features: NDArray[np.float64],
    share: float = 0.1,
) -> Scaled:
    r"""Temperature that brings the adapted model's confidence on views to the zero-shot model's.

    .. math:: \tau = \arg\min_\tau \frac{1}{|S|} \sum_{v \in S}
        \bigl( \max_c \sigma(z_v / \tau)_c - \max_c \sigma(u_v)_c \bigr)^2

    over the floor(share V) adapted views of lowest entropy, the original one left out (at least one). The
    minimum over (0.02, 50) is found on a grid of log-temperatures and refined. No code is public: the
    ensemble's weight is read as the mean off-diagonal cosine of the adapted text features.

    Args:
        adapted: (N, V, K) logits after adaptation; view 0 is the original.
        zero_shot: (N, V, K) logits of the same views before.
        text_features: (N, K, D) adapted, normalised.
        share: Share of the views that is used.

    Raises:
        DataError: Shapes differ, or there is only the original view.

    Source: confidence-based test-time scaling (CoTS), section 2.

    Example:
        >>> z = np.array([[[2.0, 0.0], [4.0, 0.0], [4.0, 0.0]]])
        >>> round(float(cots(2 * z, z, np.eye(2)[None]).temperature[0]), 4)
        2.0
    """
    if adapted.shape != zero_shot.shape or adapted.ndim != 3 or adapted.shape[1] < 2:
        raise DataError(
            f"cots: expected logits (N, V, K) of at least 2 views before and after, got {adapted.shape} "
            f"and {zero_shot.shape}"
        )
    n_views = adapted.shape[1]
    kept = max(int(n_views * share), 1)
    rows = []
    for after, before, text in zip(adapted, zero_shot, text_features, strict=True):
        log_p = log_softmax(after, axis=-1)
        entropy = -(np.exp(log_p) * log_p).sum(axis=-1)
        chosen = 1 + np.argsort(entropy[1:], kind="stable")[:kept]
        temperature = _nearest(after[chosen], softmax(before[chosen], axis=-1).max(axis=-1))
        original = softmax(after[0] / temperature)
        views = softmax(after[chosen] / temperature, axis=-1).mean(axis=0)
        k = len(text)
        weight = ((text @ text.T).sum() - np.square(text).sum()) / (k * (k - 1)) if k > 1 else 1.0
        ensemble = weight * original + (1 - weight) * views
        rows.append((temperature, original, ensemble, chosen, weight, views))
    columns = [np.asarray(column) for column in zip(*rows, strict=True)]
    return Scaled(*columns)


def cots_extras(out: Tuned, before: Tensor, share: float = 0.1) -> dict[str, Tensor]:
    """What the calibrators ``cots`` and ``e_cots`` read, of B images.

    Args:
        out: What tuning gave.
        before: (B, V, K) logits of the same views before, V at least 2.
        share: Of the views.

    Returns:
        ``cots_temperature`` (B,), ``cots_share`` (B,) and ``cots_views`` (B, K), see :class:`Scaled`.
    """
    after, first, text = (
        each.double().cpu().numpy() for each in (out.logits, before, out.text_features)
    )
    found = cots(after, first, text, share)
    named = {"temperature": found.temperature, "share": found.share, "views": found.views}
    return {f"cots_{name}": torch.from_numpy(values) for name, values in named.items()}


def _nearest(logits: NDArray[np.float64], target: NDArray[np.float64]) -> float:
    def error(log_tau: float) -> float:
        confidence = softmax(logits / np.exp(log_tau), axis=-1).max(axis=-1)
        return float(np.square(confidence - target).mean())

    grid = np.linspace(math.log(BOUNDS[0]), math.log(BOUNDS[1]), _GRID)
    best = int(np.argmin([error(x) for x in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, _GRID - 1)]
    found = minimize_scalar(error, bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    return float(np.exp(found.x))
