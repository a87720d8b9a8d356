"""Clustered conformal prediction: classes with alike scores share a threshold."""

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import numpy as np

from vlmcal.conformal.base import CONFORMAL, Guarantee, KeyedRows
from vlmcal.conformal.quantile import conformal_quantile, rows_needed, too_few
from vlmcal.conformal.score_based import ScoreBased, few_rows_message
from vlmcal.errors import SpecError
from vlmcal.state_rules import StateRule, array
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import Fraction, Seed

_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)
_UNCLUSTERED = -1


def clusters_of_classes(value: object, k: int) -> str:
    """The rule of the clusters: for each class a number from -1 (none) to K - 1."""
    return array("K", low=-1, high=k - 1)(value, k)


class Plan(NamedTuple):
    """How many clusters, and which share of the rows finds them."""

    clusters: int
    fraction: float


@CONFORMAL.register("clustered")
class Clustered(ScoreBased):
    r"""Sets :math:`\{y : s(x, y) \le \hat q_{h(y)}\}` with a threshold for each cluster h of classes.

    Part of the calibration rows describes each class by quantiles of its scores; k-means, weighted by the
    square root of the class size, joins alike classes; the other rows give each cluster its threshold.
    Classes with too few rows to be described share the threshold of their own rows, pooled; how many they are
    is told.

    Assumption: calibration rows and the new row are exchangeable. Guarantee:
    :math:`P(Y \in C(X) \mid h(Y) = m) \ge 1 - \alpha` for every cluster m; for a single class only as far
    as the classes of a cluster are alike. The unclustered classes are one more cluster. Where the rows
    suffice for as many clusters as classes, every class is its own and no row is spent on finding them; where
    they do not suffice for two, all rows give one threshold (marginal guarantee), and the fit says so.

    Ding, Angelopoulos, Bates, Jordan and Tibshirani, Class-conditional conformal prediction with many
    classes, NeurIPS 2023, arXiv 2306.09335. Number of clusters and share of rows follow its heuristic.

    Attributes:
        clusters: Number of clusters; None leaves it to the heuristic.
        fraction: Share of calibration rows that finds the clusters; None leaves it to the heuristic.
        seed: Seed of the split and of k-means.
        thresholds_: (K,) one per class.
        clusters_: (K,) cluster of each class, -1 for none.

    Example:
        >>> plan(np.full(100, 50), alpha=0.1)
        Plan(clusters=14, fraction=0.56)
    """

    guarantee: ClassVar[Guarantee] = "per cluster"
    state: ClassVar[Mapping[str, StateRule]] = {
        "thresholds_": array("K", infinite=True),
        "clusters_": clusters_of_classes,
    }

    clusters: int | None = None
    fraction: Fraction | None = None
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.clusters is not None and self.clusters < 2:
            raise SpecError(
                f"clusters: expected at least 2, got {self.clusters}; for one threshold use the method "
                f'"{self.score}"'
            )

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        scores, labels = self.scorer.calibration_scores(rows), rows.predictions.labels
        k = rows.predictions.n_classes
        counts = np.bincount(labels, minlength=k)
        guess = plan(counts, alpha)
        clusters = guess.clusters if self.clusters is None else self.clusters
        fraction = guess.fraction if self.fraction is None else self.fraction
        enough = counts >= rows_needed(alpha)
        if 2 <= enough.sum() <= clusters:
            self.clusters_: IntArray = np.where(enough, np.cumsum(enough) - 1, _UNCLUSTERED)
            self._fit_clusters(scores, labels, int(enough.sum()), alpha)
            return
        finding = rows.drawn(self.seed, "clusters") < fraction
        described = np.bincount(labels[finding], minlength=k) >= rows_needed(alpha)
        if clusters < 2 or described.sum() <= clusters:
            self._fit_one(scores, k, alpha)
            return
        self.clusters_ = self._cluster(scores[finding], labels[finding], described, clusters)
        self._fit_clusters(scores[~finding], labels[~finding], clusters, alpha)

    def _fit_one(self, scores: FloatArray, k: int, alpha: float) -> None:
        self.clusters_ = np.full(k, _UNCLUSTERED, dtype=np.int64)
        self.thresholds_ = np.full(k, conformal_quantile(scores, alpha))
        self._tell(
            f"{scores.size} calibration rows of {k} classes are too few to tell clusters apart; all classes "
            "share one threshold"
        )
        self._tell(too_few(scores.size, alpha))

    def _fit_clusters(
        self, scores: FloatArray, labels: IntArray, clusters: int, alpha: float
    ) -> None:
        member = self.clusters_[labels]
        by_cluster = [conformal_quantile(scores[member == m], alpha) for m in range(clusters)]
        apart = scores[member == _UNCLUSTERED]
        self.thresholds_ = np.array([*by_cluster, conformal_quantile(apart, alpha)])[self.clusters_]
        if left := int((self.clusters_ == _UNCLUSTERED).sum()):
            self._tell(
                f"{left} of {self.clusters_.size} classes have too few rows to be clustered and share the "
                f"threshold of their own {apart.size} rows"
                + (", so few that they are in every set" if apart.size < rows_needed(alpha) else "")
            )
        counts = {f"cluster {m}": int((member == m).sum()) for m in range(clusters)}
        self._tell(few_rows_message(counts, alpha, "clusters", "their classes are in every set"))

    def _cluster(
        self, scores: FloatArray, labels: IntArray, described: BoolArray, clusters: int
    ) -> IntArray:
        from sklearn.cluster import KMeans

        classes = np.flatnonzero(described)
        own = [scores[labels == c] for c in classes]
        embedding = np.array([np.quantile(part, _LEVELS) for part in own])
        weights = np.sqrt([part.size for part in own])
        means = KMeans(clusters, n_init=10, random_state=self.seed)
        result = np.full(described.size, _UNCLUSTERED, dtype=np.int64)
        result[classes] = means.fit(embedding, sample_weight=weights).labels_
        return result

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        return self.scorer.sets_at(rows, self.thresholds_)


def plan(counts: IntArray, alpha: float) -> Plan:
    r"""Number of clusters and share of rows that finds them.

    With m the size of the smallest class, but at least what a threshold needs, and K the number of
    classes with m rows: :math:`c = \lfloor m K / (75 + K) \rfloor` rows per class find
    :math:`\lfloor c/2 \rfloor` clusters (Ding et al. 2023, section on choosing parameters).

    Args:
        counts: (K,) calibration rows of each class.
        alpha: Target miscoverage.

    Example:
        >>> plan(np.array([100] * 25), alpha=0.1)
        Plan(clusters=12, fraction=0.25)
    """
    smallest = max(int(counts.min()), rows_needed(alpha))
    usable = int((counts >= smallest).sum())
    finding = smallest * usable // (75 + usable)
    return Plan(finding // 2, finding / smallest)
