"""ProCal, bin-mean-shift form: another calibrator in each range of proximity."""

import warnings
from collections.abc import Mapping
from dataclasses import field
from typing import Any, ClassVar, Literal

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, CalibrationWarning, Calibrator, Scores, make
from vlmcal.calibrators.proximity import ProximityCalibrator
from vlmcal.calibrators.scalar import ScalarCalibrator
from vlmcal.errors import SpecError
from vlmcal.state_rules import StateRule, array, optional, sane
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.binning import check_bins
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("procal_bin")
class ProcalBin(ProximityCalibrator):
    """Split the rows by proximity and fit a calibrator of its own to every part.

    Attributes:
        base: Name of the calibrator ("isotonic", "histogram", "temperature", ...).
        parameters: Its hyper-parameters.
        bins: Number of proximity bins [lo, hi).
        strategy: "equal_mass", "equal_width" or "kmeans".
        edges_: (bins - 1,) inner edges.
        calibrators_: One fitted calibrator per bin.

    Source: Xiong et al., Proximity-informed calibration for deep neural networks, NeurIPS 2023,
    arXiv 2306.04590.

    Example:
        >>> near = {"proximity": np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1])}
        >>> val = Predictions(logits=[[0.0, 2.0]] * 6, labels=[1, 1, 0, 1, 0, 0], extras=near)
        >>> new = {"proximity": np.array([0.15])}
        >>> test = Predictions(logits=[[0.0, 2.0]], labels=[0], ids=["new"], extras=new)
        >>> cal = ProcalBin(bins=2).fit(val)           # one of the three far rows was right
        >>> cal.transform(test).probabilities().round(4).tolist()
        [[0.6667, 0.3333]]
    """

    state: ClassVar[Mapping[str, StateRule]] = {
        "reference_": optional(array("*", "*")),
        "edges_": sane,
        "calibrators_": sane,
    }

    base: str = "isotonic"
    parameters: dict[str, Any] = field(default_factory=dict)
    bins: int = 5
    strategy: Literal["equal_mass", "equal_width", "kmeans"] = "equal_mass"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_bins(self.bins)

    def _fit(self, predictions: Predictions) -> None:
        values = self._fit_proximity(predictions)
        self.edges_ = self._edges(values)
        index = self._index(values)
        self.calibrators_: list[Calibrator] = []
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", CalibrationWarning)
            for number in range(self.bins):
                rows = index == number
                # Tied proximities can leave a bin without rows; it then uses what fits all of them.
                part = predictions.subset(rows) if rows.any() else predictions
                self.calibrators_.append(make(self.base, self.parameters).fit(part, identify=False))
        if caught:
            self._tell(
                f"{len(caught)} of {self.bins} proximity bins gave a warning (use fewer bins or more "
                f"rows); the first: {caught[0].message}"
            )

    def _check_learned(self) -> None:
        super()._check_learned()
        found = array(self.bins - 1)(self.edges_, 0)
        if found or (np.diff(self.edges_) < 0).any():
            raise self._impossible("edges_", found or "expected rising numbers")
        parts = self.calibrators_ if isinstance(self.calibrators_, list) else []
        if len(parts) != self.bins:
            raise self._impossible("calibrators_", f"expected {self.bins}")
        self._require_nested("calibrators_", parts, self.base)

    def unnormalised(self, predictions: Predictions) -> FloatArray:
        """The base calibrators' outputs (N, K) before the rows are made to sum to 1."""
        result = np.empty(predictions.logits.shape)
        for rows, calibrator in self._parts(predictions):
            part = predictions.subset(rows)
            if not isinstance(calibrator, ScalarCalibrator):
                raise SpecError(f'calibrator "{self.base}" always gives normalised probabilities')
            result[rows] = calibrator.unnormalised(part)
        return result

    def _transform(self, predictions: Predictions) -> Scores:
        result = np.empty(predictions.logits.shape)
        for rows, calibrator in self._parts(predictions):
            part = predictions.subset(rows)
            result[rows] = calibrator.mapped(part).log_probabilities()
        return Scores(result, "log_probs")

    def _parts(self, predictions: Predictions) -> list[tuple[IntArray, Calibrator]]:
        index = self._index(self._proximity(predictions))
        parts = [(np.flatnonzero(index == i), cal) for i, cal in enumerate(self.calibrators_)]
        return [(rows, calibrator) for rows, calibrator in parts if rows.size]

    def _index(self, values: FloatArray) -> IntArray:
        return np.asarray(np.searchsorted(self.edges_, values, side="right"), dtype=np.int64)

    def _edges(self, values: FloatArray) -> FloatArray:
        if self.strategy == "equal_mass":
            return np.percentile(values, np.linspace(0, 100, self.bins + 1))[1:-1]
        ends = np.linspace(values.min(), values.max(), self.bins + 1)
        if self.strategy == "equal_width":
            return ends[1:-1]
        if self.strategy != "kmeans":
            raise SpecError(
                'procal_bin strategy: expected "equal_mass", "equal_width" or "kmeans", got '
                f'"{self.strategy}"'
            )
        from sklearn.cluster import KMeans  # takes a second to import

        start = (ends[1:] + ends[:-1])[:, None] / 2
        means = KMeans(self.bins, init=start, n_init=1).fit(values[:, None]).cluster_centers_
        centres = np.sort(means[:, 0])
        return np.asarray((centres[1:] + centres[:-1]) / 2)
