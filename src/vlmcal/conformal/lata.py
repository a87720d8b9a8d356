"""LATA: Laplacian transductive refinement before conformal prediction."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from vlmcal.conformal.base import CONFORMAL, KeyedRows
from vlmcal.conformal.graph import mutual_neighbours, smooth, unit_rows
from vlmcal.conformal.quantile import conformal_quantile, too_few
from vlmcal.conformal.score_based import ScoreBased
from vlmcal.errors import DataError, SpecError
from vlmcal.state_rules import StateRule, array, optional, sane
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray, require_finite
from vlmcal.types.limits import Count, NotNegative, Seed, Whole
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_hashes import row_uniforms

_FAILURE, _ATTENTION = "failure_probability", "label_attention"
_ARRAYS = ("keys", "labels", "probabilities", "features", "uniforms", "failure", "attention")


@CONFORMAL.register("lata")
class LATA(ScoreBased):
    r"""Split conformal prediction on probabilities that were smoothed over similar images first.

    Calibration rows and new rows form one pool, which is cut into windows; in each window a mutual
    nearest-neighbour graph of the image features smooths the probabilities
    (:func:`vlmcal.conformal.graph.smooth`); scores, threshold and sets follow from the smoothed ones.
    No label takes part, and calibration rows and new rows are treated alike.

    Assumption: calibration rows and new rows are exchangeable, images and labels together; new rows come
    as one batch, and sets of another batch differ. Guarantee: :math:`P(Y \in C(X)) \ge 1 - \alpha`.
    With ``label_informed`` and no ``class_prior`` the prior is counted on the calibration labels, so the
    guarantee is only approximate; it is exact again with a ``class_prior`` from other data.

    Bozorgtabar, Mahapatra, Roy, Naseer, Razzak and Ge, LATA: Laplacian-assisted transductive adaptation
    for conformal uncertainty in medical VLMs, CVPR 2026, arXiv 2602.17535. The authors have published no
    code. Interpretations: rows are dealt to windows at random (by a hash of their id), of nearly equal
    size; the width of the kernel is the median over a window of all distances to the k neighbours, mutual
    or not; the update is the published one, although minimising the published objective exactly would
    double the weight of the graph and add terms for the degrees; class frequencies are smoothed by one
    row per class.

    Attributes:
        neighbours: k of the graph.
        window: Rows in a window; None takes the whole pool at once (time and memory grow with its square).
        gamma: Strength of the smoothing.
        iterations: Number of smoothing steps.
        label_informed: Multiply the probabilities with ``prior ** beta`` first.
        beta: Exponent of the prior.
        class_prior: K class frequencies from other data; None counts the calibration labels.
        failure_aware: Use the score :math:`s (1 + w_u u(x)) - w_a a_y(x)`, with the chance u that the model
            fails (extra "failure_probability", (N,)) and the attention a to each class (extra
            "label_attention", (N, K)) from a failure predictor trained on other data.
        failure_weight: :math:`w_u`.
        attention_weight: :math:`w_a`.
        seed: Seed of the windows.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> features = np.eye(4)[[0, 0, 1, 1]]
        >>> p = [[0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0.5, 0.5]]
        >>> rows = from_probabilities(p, [0, 0, 1, 1], ids=list("abcd"), extras={"image_features": features})
        >>> LATA(gamma=1.0, neighbours=1, iterations=1).refine(rows).round(2).tolist()
        [[0.75, 0.25], [0.62, 0.38], [0.25, 0.75], [0.38, 0.62]]
    """

    needs: ClassVar[tuple[str, ...]] = ("image_features",)
    state: ClassVar[Mapping[str, StateRule]] = {"pool_": sane}

    neighbours: Count = 15
    window: Annotated[int, Field(ge=2)] | None = 256
    gamma: NotNegative = 0.35
    iterations: Whole = 8
    label_informed: bool = False
    beta: NotNegative = 0.2
    class_prior: list[float] | None = None
    failure_aware: bool = False
    failure_weight: NotNegative = 0.5
    attention_weight: NotNegative = 0.25
    seed: Seed = 0

    def _check_learned(self) -> None:
        super()._check_learned()
        pool = self.pool_
        if not isinstance(pool, Mapping) or set(pool) != set(_ARRAYS):
            raise self._impossible("pool_", f"expected {', '.join(_ARRAYS)}")
        n, k = np.size(pool["labels"]), len((self.fitted_on_ or {})["class_names"])
        chances = array(n, low=0, high=1)
        rules = {
            "labels": array(max(n, 1), low=0, high=k - 1),
            "probabilities": array(n, "K", low=0, high=1),
            "features": array(n, "*"),
            "uniforms": optional(chances),
            "failure": chances if self.failure_aware else _nothing,
            "attention": array(n, "K") if self.failure_aware else _nothing,
        }
        for name, rule in rules.items():
            if found := rule(pool[name], k):
                raise self._impossible("pool_", f"{name}: {found}")
        if pool["labels"].dtype.kind not in "iu" or np.shape(pool["keys"]) != (n,):
            raise self._impossible("pool_", f"expected {n} keys and labels")

    def refine(self, predictions: Predictions) -> FloatArray:
        """Smoothed probabilities (N, K) of a pool of rows, for inspection."""
        rows = self._arrays(self._rows(predictions, None, None))
        return self._refined(rows, self._prior(rows["labels"], predictions.n_classes))

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        self.pool_ = self._arrays(rows)
        self._tell(too_few(len(rows.predictions), alpha))
        if self.label_informed and self.class_prior is None:
            self._tell(
                "the prior is counted on the calibration labels, so the coverage guarantee is approximate; "
                "give class_prior from other data for the exact one"
            )

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        new = self._arrays(rows)
        n, k = self.pool_["probabilities"].shape
        widths = self.pool_["features"].shape[1], new["features"].shape[1]
        if widths[0] != widths[1]:
            raise DataError(
                f"image_features: fitted on {widths[0]} dimensions, got {widths[1]}; use one encoder for both"
            )
        pool = {name: _join(self.pool_[name], new[name]) for name in _ARRAYS}
        refined = self._refined(pool, self._prior(self.pool_["labels"], k))
        scores = self.scorer.scores_of(refined, pool["uniforms"])
        if self.failure_aware:
            scores = scores * (1 + self.failure_weight * pool["failure"][:, None])
            scores = scores - self.attention_weight * pool["attention"]
        own = scores[np.arange(n), self.pool_["labels"]]
        return self.scorer.sets_below(scores[n:], conformal_quantile(own, self.alpha_))

    def _refined(self, pool: dict[str, Any], prior: FloatArray) -> FloatArray:
        informed = pool["probabilities"] * prior**self.beta if self.label_informed else None
        start = pool["probabilities"] if informed is None else _normalised(informed)
        result = np.empty_like(start)
        for rows in self._windows(pool["keys"]):
            weights = mutual_neighbours(pool["features"][rows], self.neighbours)
            result[rows] = smooth(start[rows], weights, self.gamma, self.iterations)
        return result

    def _windows(self, keys: StrArray) -> list[IntArray]:
        order = np.argsort(row_uniforms(keys, self.seed, "conformal", "windows"), kind="stable")
        count = 1 if self.window is None else -(-len(keys) // self.window)
        return np.array_split(order, count)

    def _prior(self, labels: IntArray, k: int) -> FloatArray:
        if self.class_prior is None:
            return (np.bincount(labels, minlength=k) + 1.0) / (labels.size + k)
        prior = np.asarray(self.class_prior, dtype=np.float64)
        if prior.shape != (k,) or not (prior > 0).all():
            raise SpecError(f"class_prior: expected {k} positive numbers, got shape {prior.shape}")
        return np.asarray(prior / prior.sum())

    def _arrays(self, rows: KeyedRows) -> dict[str, Any]:
        predictions = rows.predictions
        n, aware = len(predictions), self.failure_aware
        return {
            "keys": rows.keys,
            "labels": predictions.labels,
            "probabilities": predictions.probabilities(),
            "features": unit_rows(self._extra(predictions, "image_features", (n, -1))),
            "uniforms": self.scorer.prediction_uniforms(rows),
            "failure": self._extra(predictions, _FAILURE, (n,)) if aware else None,
            "attention": self._extra(predictions, _ATTENTION, (n, predictions.n_classes))
            if aware
            else None,
        }

    def _extra(self, predictions: Predictions, name: str, shape: tuple[int, ...]) -> FloatArray:
        if name not in predictions.extras:
            raise DataError(
                f"{self._who} with failure_aware needs the extra {name} of shape {shape}; these "
                f"predictions carry {', '.join(sorted(predictions.extras))}"
            )
        values = np.asarray(predictions.extras[name], dtype=np.float64)
        if values.ndim != len(shape) or any(
            want not in (-1, got) for want, got in zip(shape, values.shape, strict=True)
        ):
            raise DataError(f"{name}: expected shape {shape}, got {values.shape}")
        require_finite(values, name)
        return values


def _nothing(value: Any, k: int) -> str:
    return "" if value is None else f"expected nothing, got {type(value).__name__}"


def _join(first: Any, second: Any) -> Any:
    return None if first is None else np.concatenate([first, second])


def _normalised(values: FloatArray) -> FloatArray:
    return np.asarray(values / values.sum(axis=1, keepdims=True))
