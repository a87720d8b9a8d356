"""Fusion of several signals of confidence by a regularised logistic regression."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.special import logit

from vlmcal.calibrators.base import CALIBRATORS, Calibrator, Scores, open_ends
from vlmcal.calibrators.logistic import fit_logistic
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.state_rules import StateRule, array, number
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.limits import NotNegative
from vlmcal.types.predictions import Predictions


@CALIBRATORS.register("fusion")
class Fusion(Calibrator):
    """One probability from a stated confidence and further signals, some of which may be missing.

    ``p = sigmoid(a logit(c) + sum_j (b_j x_j + m_j [x_j is missing]) + d)``, where x_j is signal j (its
    log-odds, where it lies in [0, 1] on the fitting rows, as confidences and agreements do) less its mean and
    over its deviation on the fitting rows, and 0 where it is missing. Minimises the mean log-loss plus
    ``ridge * ((a - 1)^2 + sum_j (b_j^2 + m_j^2))``: without evidence the stated confidence stays as it is. It
    may change the order of the rows, so AUROC may rise, which no monotone map can do.

    Reads the extra ``signals`` (N, S), NaN where a signal is missing. In the spirit of interrogating a
    model in several ways and fusing the replies with an expert model's view (Du et al., Confidence
    Calibration for Multimodal LLMs, MICCAI 2025, arXiv 2606.19950); the fusion formula of that study is not
    public, so this is no reproduction of it.

    Attributes:
        ridge: Strength of the pull.
        clip: Confidences and signals are kept this far from 0 and 1 before their log-odds are taken; exact 0
            and 1 of a signal are drawn in further (see :func:`~vlmcal.calibrators.base.open_ends`).
        slope_: a.
        intercept_: d.
        weights_: (S,) b.
        missing_: (S,) m.
        share_: (S,) whether the signal is read by its log-odds.
        ends_: (2, S) what 0 and 1 of such a signal are read as.
        mean_, deviation_: (S,) of what is read of the signals that are there.

    Example:
        >>> from vlmcal.types.binary import as_binary
        >>> from vlmcal.types.confidences import Confidences
        >>> rows = Confidences(confidence=[0.9] * 4, correct=[True, True, False, False])
        >>> cal = Fusion().fit(as_binary(rows, signals=[[1.0], [0.8], [0.1], [np.nan]]))
        >>> bool(cal.weights_[0] > 0 > cal.missing_[0])
        True
    """

    needs: ClassVar[tuple[str, ...]] = ("signals",)
    scalar: ClassVar[bool] = True
    nested: ClassVar[bool] = True
    state: ClassVar[Mapping[str, StateRule]] = {
        "slope_": number(),
        "intercept_": number(),
        "weights_": array("*"),
        "missing_": array("*"),
        "share_": array("*"),
        "ends_": array(2, "*", low=0, high=1),
        "mean_": array("*"),
        "deviation_": array("*", low=0),
    }

    ridge: NotNegative = 0.01
    clip: Annotated[float, Field(gt=0, lt=0.5)] = 1e-9

    def _fit(self, predictions: Predictions) -> None:
        given = self._signals(predictions)
        there = np.isfinite(given)
        self.share_: BoolArray = np.all(~there | ((given >= 0) & (given <= 1)), axis=0)
        shares = [column[np.isfinite(column)] for column in given.T]
        self.ends_: FloatArray = np.array([open_ends(each) for each in shares]).reshape(-1, 2).T
        signals = self._read(given)
        count = np.maximum(there.sum(axis=0), 1)
        filled = np.where(there, signals, 0.0)
        self.mean_: FloatArray = filled.sum(axis=0) / count
        spread = np.where(there, signals - self.mean_, 0.0)
        deviation = np.sqrt((spread**2).sum(axis=0) / count)
        # A signal that never varies carries nothing; dividing by 1 leaves it at 0.
        self.deviation_: FloatArray = np.where(deviation > 0, deviation, 1.0)
        features = self._features(predictions)
        width = features.shape[1]
        pull = np.full(width, self.ridge)
        pull[-1] = 0.0
        start = np.zeros(width)
        start[0] = 1.0
        found = fit_logistic(
            features, predictions.labels.astype(np.float64), start=start, ridge=pull
        )
        size = signals.shape[1]
        self.slope_ = float(found.coefficients[0])
        self.weights_: FloatArray = found.coefficients[1 : 1 + size]
        self.missing_: FloatArray = found.coefficients[1 + size : -1]
        self.intercept_ = float(found.coefficients[-1])
        if found.separable:
            self._tell(
                f"the signals separate right from wrong perfectly on these {len(predictions)} rows; add "
                "fitting rows or raise ridge"
            )

    def _transform(self, predictions: Predictions) -> Scores:
        features = self._features(predictions)
        odds = features @ np.concatenate(
            [[self.slope_], self.weights_, self.missing_, [self.intercept_]]
        )
        return Scores(np.stack([np.zeros_like(odds), odds], axis=1), "logits")

    def _features(self, predictions: Predictions) -> FloatArray:
        given = self._signals(predictions)
        if given.shape[1] != self.mean_.size:
            raise UnsuitedRowsError(
                f'calibrator "fusion" was fitted on {self.mean_.size} signals, got {given.shape[1]}; '
                "elicit the same signals for both"
            )
        signals = self._read(given)
        there = np.isfinite(signals)
        standard = np.where(there, (signals - self.mean_) / self.deviation_, 0.0)
        stated = self._log_odds(predictions.probabilities()[:, 1])
        ones = np.ones((len(predictions), 1))
        return np.concatenate([stated[:, None], standard, ~there, ones], axis=1)

    def _read(self, signals: FloatArray) -> FloatArray:
        shares = np.clip(signals, self.ends_[0], self.ends_[1])
        return np.where(self.share_, self._log_odds(shares), signals)

    def _log_odds(self, shares: FloatArray) -> FloatArray:
        return np.asarray(logit(np.clip(shares, self.clip, 1 - self.clip)))

    def _signals(self, predictions: Predictions) -> FloatArray:
        signals = np.asarray(predictions.extras["signals"], dtype=np.float64)
        if predictions.n_classes != 2 or signals.ndim != 2:
            raise UnsuitedRowsError(
                'calibrator "fusion" needs confidences with an extra "signals" of shape (N, S), got '
                f"{predictions.n_classes} classes and shape {signals.shape}"
            )
        return signals
