"""A reliability diagram made as scikit-learn does: from predictions or an estimator, drawn again at will."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from matplotlib.axes import Axes

from vlmcal.errors import DataError, SpecError
from vlmcal.report.plots import Strategy, reliability
from vlmcal.types.arrays import BoolArray, IntArray, Numbers, as_array
from vlmcal.types.confidences import Confidences
from vlmcal.types.measurable import Scores, from_arrays
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import Shown, plural


@dataclass(eq=False, repr=False)
class ReliabilityDisplay(Shown):
    """Reliability diagram of one model, with the interface of ``sklearn.calibration.CalibrationDisplay``.

    Class scores (N, K) are judged by the confidence of the predicted class; one number per row is the
    probability of the positive class, as it is in scikit-learn.

    Attributes:
        rows: Confidence, and whether it was right, of each row.
        bins: Number of bins.
        strategy: "uniform" (equal width) or "quantile" (equal mass).
        name: Of the model, above the picture.
        ax_: The axes of the last :meth:`plot`, or None.

    Example:
        >>> from matplotlib.figure import Figure
        >>> ax = Figure().subplots()
        >>> display = ReliabilityDisplay.from_predictions([0, 1], [[0.9, 0.1], [0.4, 0.6]], ax=ax)
        >>> display, display.ax_ is ax
        (ReliabilityDisplay: 2 rows, 15 bins, True)
    """

    rows: Confidences
    bins: int = 15
    strategy: Strategy = "uniform"
    name: str = ""
    ax_: Axes | None = None

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: Numbers,
        *,
        scores: Scores = "probs",
        pos_label: Any = None,
        bins: int = 15,
        strategy: Strategy = "uniform",
        name: str = "",
        ax: Axes | None = None,
    ) -> Self:
        """Draw the reliability of scores.

        Args:
            y_true: (N,) class numbers or names.
            y_prob: (N, K) class scores, or (N,) probabilities of the positive class.
            scores: What (N, K) scores are: "probs", "logits" or "log_probs".
            pos_label: The positive class of one number per row; the larger of two labels by default.
            bins: Number of bins.
            strategy: "uniform" (equal width) or "quantile" (equal mass).
            name: Of the model.
            ax: Axes to draw into; None for a new figure.

        Raises:
            DataError: Shapes or values do not fit, or more than two labels where one column was given.
        """
        if as_array(y_prob).ndim == 1:
            correct = _positive(as_array(y_true), pos_label)
            rows = Confidences(confidence=y_prob, correct=correct)  # type: ignore[arg-type]
        else:
            data = from_arrays(y_prob, y_true, scores)
            if not isinstance(data, Predictions):
                raise SpecError(
                    f'scores: expected "probs", "logits" or "log_probs", got "{scores}"'
                )
            rows = data.top_label()
        return cls(rows, bins, strategy, name).plot(ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        bins: int = 15,
        strategy: Strategy = "uniform",
        name: str | None = None,
        ax: Axes | None = None,
    ) -> Self:
        """Draw the reliability of a fitted classifier on rows X (N, D) with labels y (N,).

        Args:
            estimator: With ``classes_``, and ``predict_proba`` or ``decision_function``.
            X: Its input.
            y: Labels as it was fitted with.
            bins: Number of bins.
            strategy: "uniform" (equal width) or "quantile" (equal mass).
            name: Of the model; its class by default.
            ax: Axes to draw into; None for a new figure.

        Raises:
            DataError: The estimator does not know a label.
        """
        codes = _codes(as_array(y), np.asarray(estimator.classes_))
        if hasattr(estimator, "predict_proba"):
            found, scores = np.asarray(estimator.predict_proba(X)), "probs"
        else:
            found, scores = np.asarray(estimator.decision_function(X)), "logits"
            if found.ndim == 1:
                found = np.column_stack([np.zeros_like(found), found])
        title = type(estimator).__name__ if name is None else name
        options: dict[str, Any] = {"scores": scores, "bins": bins, "strategy": strategy}
        return cls.from_predictions(codes, found, name=title, ax=ax, **options)

    def plot(self, ax: Axes | None = None, *, name: str | None = None) -> Self:
        """Draw, into ``ax`` or a new figure."""
        title = self.name if name is None else name
        self.ax_ = reliability(
            self.rows, bins=self.bins, strategy=self.strategy, ax=ax, title=title
        )
        return self

    @property
    def figure_(self) -> Any:
        """The figure of the last :meth:`plot`, or None."""
        return None if self.ax_ is None else self.ax_.figure

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """One line, whatever the size."""
        of = f" of {self.name}" if self.name else ""
        return f"ReliabilityDisplay{of}: {plural(len(self.rows), 'row')}, {self.bins} bins", []


def _positive(labels: Any, positive: Any) -> BoolArray:
    present = np.unique(labels)
    if present.size > 2:
        raise DataError(
            f"y_prob: one number per row is the probability of one of two classes, but y_true holds "
            f"{present.size} labels; pass the scores of all classes, (N, K)"
        )
    if positive is None:
        whole = labels.dtype.kind in "biuf" and set(present.tolist()) <= {0, 1}
        if present.size < 2 and not whole:
            raise DataError("pos_label: all labels are equal; say which label is the positive one")
        positive = 1 if whole else present[-1]
    elif positive not in present.tolist():
        raise DataError(f"pos_label: {positive!r} is none of the labels, {present.tolist()}")
    result: BoolArray = np.asarray(labels == positive, dtype=np.bool_)
    return result


def _codes(labels: Any, classes: Any) -> IntArray:
    place = {name: i for i, name in enumerate(classes.tolist())}
    cells = labels.tolist()
    unknown = [cell for cell in cells if cell not in place]
    if unknown:
        raise DataError(f"y: {unknown[0]!r} is none of the classes of the estimator, {list(place)}")
    return np.array([place[cell] for cell in cells], dtype=np.int64)
