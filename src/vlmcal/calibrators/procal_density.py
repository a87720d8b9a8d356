"""ProCal, density-ratio form: how often are confidences like this, at places like this, right?"""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from scipy.special import expit, logsumexp

from vlmcal.calibrators.base import CALIBRATORS, Scores
from vlmcal.calibrators.proximity import ProximityCalibrator, with_top_confidence
from vlmcal.state_rules import StateRule, array
from vlmcal.types.arrays import FloatArray
from vlmcal.types.limits import Positive
from vlmcal.types.predictions import Predictions

_CHUNK = 1 << 21
_NARROWEST = 1e-9


def _points(value: Any, k: int) -> str:
    return "" if np.shape(value) == (0, 2) else array("*", 2)(value, k)


@CALIBRATORS.register("procal_density")
class ProcalDensity(ProximityCalibrator):
    """``c' = n1 f1(c, d) / (n1 f1(c, d) + n0 f0(c, d))`` for the top-label confidence c and the proximity d.

    f1 and f0 are Gaussian kernel densities of (c, d) over the n1 right and the n0 wrong fitting rows, with
    bandwidth ``1.06 std n^(-1/6)`` per variable. The other classes share 1 - c' in proportion, so the
    predicted class can change when c' becomes small.

    Attributes:
        bandwidth: Factor of the bandwidth.
        right_: (n1, 2) confidences and proximities of the right rows.
        wrong_: (n0, 2) those of the wrong rows.

    Source: Xiong et al., Proximity-informed calibration for deep neural networks, NeurIPS 2023,
    arXiv 2306.04590.

    Example:
        >>> near = {"proximity": np.array([0.9, 0.8, 0.2, 0.1])}
        >>> val = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 1, 1], extras=near)
        >>> new = {"proximity": np.array([0.5])}
        >>> test = Predictions(logits=[[2.0, 0.0]], labels=[0], ids=["new"], extras=new)
        >>> cal = ProcalDensity().fit(val)          # half way between right and wrong rows
        >>> round(float(cal.transform(test).probabilities()[0, 0]), 6)
        0.5
    """

    any_classes: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        **ProximityCalibrator.state,
        "right_": _points,
        "wrong_": _points,
    }

    bandwidth: Positive = 1.06

    def _fit(self, predictions: Predictions) -> None:
        top = predictions.top_label()
        points = np.column_stack([top.confidence, self._fit_proximity(predictions)])
        self.right_, self.wrong_ = points[top.correct], points[~top.correct]
        if not len(self.right_) or not len(self.wrong_):
            which = "wrong" if len(self.right_) else "right"
            self._tell(
                f"none of the {len(points)} fitting rows is {which}, so there is no second density to "
                "compare with and confidences are left as they are; add fitting rows"
            )

    def _transform(self, predictions: Predictions) -> Scores:
        if not len(self.right_) or not len(self.wrong_):
            return Scores(predictions.logits, predictions.kind)
        confidence = predictions.probabilities().max(axis=1)
        points = np.column_stack([confidence, self._proximity(predictions)])
        ratio = np.log(len(self.right_) / len(self.wrong_))
        ratio = ratio + self._log_density(self.right_, points)
        ratio -= self._log_density(self.wrong_, points)
        return with_top_confidence(predictions, expit(ratio))

    def _log_density(self, sample: FloatArray, points: FloatArray) -> FloatArray:
        width = np.maximum(
            self.bandwidth * sample.std(axis=0) * len(sample) ** (-1 / 6), _NARROWEST
        )
        scaled, at = sample / width, points / width
        result = np.empty(len(points))
        step = max(1, _CHUNK // len(sample))
        for start in range(0, len(points), step):
            rows = slice(start, start + step)
            exponent = (at[rows, None, 0] - scaled[None, :, 0]) ** 2
            exponent += (at[rows, None, 1] - scaled[None, :, 1]) ** 2
            result[rows] = logsumexp(-0.5 * exponent, axis=1)
        return np.asarray(result - np.log(len(sample)) - np.log(width).sum())
