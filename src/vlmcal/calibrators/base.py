"""What a calibrator is: fitted on held-out predictions, applied to others, saved as plain JSON."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.fitted import Fitted, UnsuitedRowsError
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.types.array_rows import array_rows
from vlmcal.types.arrays import FloatArray, IntArray, Numbers
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.measurable import Scores as ArrayScores
from vlmcal.types.predictions import Predictions, ScoreKind
from vlmcal.types.softmax import Divided

Rows = TypeVar("Rows", Predictions, Confidences)


class Scores(NamedTuple):
    """New class scores (N, K) and what they are."""

    values: FloatArray
    kind: ScoreKind


class CalibrationWarning(UserWarning):
    """A calibrator was fitted, but the data do not determine it well; the message says why."""


@dataclass
class Calibrator(Fitted):
    """Post-hoc map from predictions to calibrated predictions.

    Subclasses implement :meth:`_fit` and :meth:`_transform` for class scores; :class:`Confidences` reach the
    same code as a two-class problem ("wrong", "right"). What is fitted, checked and saved how:
    :class:`~vlmcal.fitted.Fitted`.

    Attributes:
        keeps_argmax: True when the predicted class can never change.
        fit_needs: Names of further extras that only :meth:`fit` reads.
        scalar: True when it makes sense for scalar confidences, too.
        nested: True when doing nothing is one of the maps it can learn, and it minimises log-loss.
        draws_in_ends: True when confidences of exactly 0 and 1 are drawn in (see :func:`open_ends`).
        label_free: True when the map does not follow from labels that log-loss would make better; then the
            fit says where the labels at hand show that it does harm.
        reads_labels: True when such a method needs labels all the same.
    """

    kind: ClassVar[str] = "calibrator"
    key: ClassVar[str] = "calibrator"
    warning: ClassVar[type[UserWarning]] = CalibrationWarning
    keeps_argmax: ClassVar[bool] = False
    fit_needs: ClassVar[tuple[str, ...]] = ()
    scalar: ClassVar[bool] = False
    nested: ClassVar[bool] = False
    draws_in_ends: ClassVar[bool] = True
    label_free: ClassVar[bool] = False
    reads_labels: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.array_scores_: ArrayScores | None = None

    @classmethod
    def registry(cls) -> Registry[Any]:
        """The registered calibrators."""
        return CALIBRATORS

    @classmethod
    def root(cls) -> type[Fitted]:
        """This class."""
        return Calibrator

    def fit(
        self,
        rows: Predictions | Confidences | Numbers,
        labels: Any = None,
        *,
        scores: ArrayScores | None = None,
        groups: Any = None,
        identify: bool = True,
    ) -> Self:
        """Learn from held-out rows.

        Args:
            rows: With labels; or plain class scores (N, K), or confidences (N,).
            labels: Of plain scores, (N,); see :func:`~vlmcal.types.array_rows.array_rows`.
            scores: What plain scores are: "logits" (the default), "log_probs", "probs" or "confidence".
            groups: Patient or slide of each row of plain scores, or None.
            identify: Remember which rows these are, so that :meth:`transform` refuses them. False is for
                rows drawn anew from others (bootstrap), which have no identity of their own.

        Raises:
            SplitError: The rows are test data.
            UnsuitedRowsError: An extra that this method needs is missing, or confidences were given to a
                method that needs class scores.
            DataError: There is only one class.

        Example:
            >>> from vlmcal.calibrators.temperature import Temperature
            >>> fitted = Temperature().fit([[2.0, 0.0]] * 4, [0, 0, 0, 1])
            >>> fitted.predict_proba([[1.0, 0.0]]).round(3).tolist()
            [[0.634, 0.366]]
        """
        plain = not isinstance(rows, Predictions | Confidences)
        if plain and labels is None:
            raise SpecError(f"{self._who}: plain scores need labels to fit on: fit(scores, labels)")
        rows = array_rows(rows, labels, scores, groups=groups)
        self.array_scores_ = scores if plain else None
        self._require_fittable(rows.split)
        ends = None
        if isinstance(rows, Confidences) and self.draws_in_ends:
            ends = open_ends(rows.confidence)
        predictions = self._as_predictions(rows, ends)
        self._require_extras(predictions, self.needs + self.fit_needs)
        if predictions.n_classes < 2:
            raise DataError(
                f"{self._who} needs scores of at least 2 classes, got 1; the probability of a single class "
                "is always 1"
            )
        if not self.label_free or self.reads_labels:
            predictions.require_labels(self._who)
        self._fit(predictions)
        if self.label_free and predictions.labelled:
            self._tell_harm(predictions)
        more: dict[str, Any] = {} if ends is None else {"ends": list(ends)}
        kind = "confidences" if isinstance(rows, Confidences) else "predictions"
        self._remember(predictions, identify=identify, rows=kind, **more)
        return self

    def transform(self, rows: Rows) -> Rows:
        """Calibrated rows, of the type that was given.

        What was said about the fit (too few rows, a bound) is said again, as are groups that were fitted on
        and other classes than those fitted on.

        Raises:
            SpecError: Called before :meth:`fit`.
            SplitError: Rows that were used for fitting.
            DataError: Another number or list of classes than it was fitted on, or a missing extra.
        """
        predictions: Predictions = self._as_predictions(rows, self._ends)
        notes = [*self.messages_, *self._check_applicable(predictions, rows)]
        notes += self._shared(predictions)
        for note in notes:
            self._warn(note, stacklevel=3)
        return self._apply(rows, predictions, "split")

    def predict_proba(
        self,
        rows: Predictions | Confidences | Numbers,
        *,
        scores: ArrayScores | None = None,
        groups: Any = None,
    ) -> FloatArray:
        """Calibrated probabilities: (N, K) of class scores, (N,) of confidences. No labels are needed.

        Args:
            rows: Plain scores as they were fitted on, or rows of this package.
            scores: What plain scores are; by default what was said when fitting.
            groups: Patient or slide of each row of plain scores, or None.

        Raises:
            SpecError: Called before :meth:`fit`.
            SplitError: Rows that were used for fitting.
            DataError: Another number of classes, or a missing extra.
        """
        fitted = self._require_fitted()
        plain = not isinstance(rows, Predictions | Confidences)
        of_classes = plain and fitted["rows"] == "predictions"
        names = tuple(fitted["class_names"]) if of_classes else ()
        kind = scores or self.array_scores_ or ("logits" if of_classes else None)
        kind = kind if plain else scores
        given = array_rows(rows, None, kind, groups=groups, class_names=names)
        if isinstance(given, Confidences):
            return self.transform(given).confidence
        return self.transform(given).probabilities()

    def predict(
        self, rows: Predictions | Numbers, *, scores: ArrayScores | None = None
    ) -> IntArray:
        """Index of the class with the largest calibrated probability, (N,)."""
        return np.asarray(self.predict_proba(rows, scores=scores).argmax(axis=1))

    def fit_transform_same(self, rows: Rows) -> Rows:
        """Fit and apply to the same rows: for inspection of the fit only, tagged as split "train"."""
        self.fit(rows)
        fitted: Rows = self._apply(rows, self._as_predictions(rows, self._ends), "full")
        return replace(fitted, split="train")

    def scores(self, predictions: Predictions) -> Scores:
        """The calibrated scores alone, unguarded."""
        return self._transform(predictions)

    def mapped(self, predictions: Predictions) -> Predictions:
        """The rows with calibrated scores, unguarded: for what is built from calibrators."""
        return predictions.with_scores(*self._transform(predictions), {})

    @abstractmethod
    def _fit(self, predictions: Predictions) -> None: ...

    @abstractmethod
    def _transform(self, predictions: Predictions) -> Scores: ...

    def _outcome(self, predictions: Predictions) -> tuple[FloatArray | Divided, ScoreKind]:
        """As :meth:`_transform`; quotients may be left to whoever reads them."""
        return self._transform(predictions)

    def _apply(self, rows: Rows, predictions: Predictions, scheme: str) -> Rows:
        scores, kind = self._outcome(predictions)
        fitted = self.fitted_on_ or {}
        step = {
            "calibrator": self.name,
            "scheme": scheme,
            "fitted_on": {key: fitted[key] for key in ("split", "n") if key in fitted},
        }
        result = predictions.with_scores(scores, kind, step)
        if isinstance(rows, Confidences):
            confidence = np.clip(result.probabilities()[:, 1], 0.0, 1.0)
            return replace(rows, confidence=confidence, provenance=result.provenance)
        return result

    @property
    def _ends(self) -> tuple[float, float] | None:
        low, high = (self.fitted_on_ or {}).get("ends") or (None, None)
        return None if low is None or high is None else (low, high)

    def _as_predictions(
        self, rows: Predictions | Confidences, ends: tuple[float, float] | None
    ) -> Predictions:
        if isinstance(rows, Predictions):
            return rows
        if not self.scalar:
            raise UnsuitedRowsError(
                f"{self._who} needs class scores (Predictions), got scalar confidences; "
                f"for these use one of {', '.join(scalar_calibrators())}"
            )
        if ends is not None:
            c = rows.confidence
            inside = c[(c > 0) & (c < 1)]
            low, high = (inside.min(), inside.max()) if inside.size else ends
            drawn = np.where(c == 0, min(ends[0], low), np.where(c == 1, max(ends[1], high), c))
            rows = replace(rows, confidence=drawn)
        return as_binary(rows)

    def _tell_harm(self, predictions: Predictions) -> None:
        """Say where the labels at hand show that the map raises the log-loss (by two standard errors)."""
        after = self.mapped(predictions)
        at = np.arange(len(predictions)), predictions.labels
        losses = [-rows.log_probabilities()[at] for rows in (predictions, after)]
        if not all(np.isfinite(loss).all() for loss in losses):
            return
        rise = losses[1] - losses[0]
        error = float(rise.std()) / np.sqrt(len(rise))
        if rise.mean() > max(2 * error, 1e-9):
            self._tell(
                f"on its {len(rise)} fitting rows it raises the log-loss from {losses[0].mean():.4g} to "
                f"{losses[1].mean():.4g}: it does not use labels, but these show that it does harm here"
            )

    def _check_applicable(
        self, predictions: Predictions, rows: Predictions | Confidences
    ) -> list[str]:
        fitted = self._require_fitted()["rows"]
        self._require_extras(predictions, self.needs)
        given = "confidences" if isinstance(rows, Confidences) else "predictions"
        if given != fitted:
            raise DataError(
                f"{self._who} was fitted on {fitted} and cannot be applied to {given}; use the same kind for "
                "both"
            )
        other = self._other_classes(predictions)
        return [f"{other}; what it learned may not hold for them"] if other else []


def open_ends(confidence: FloatArray) -> tuple[float, float]:
    """What stated confidences of exactly 0 and 1 are read as: half-way to the next value that was stated.

    "100 %" is a rounded number, and its log-odds are infinite: one wrong answer at 1 would decide a fit on
    log-odds. Half-way keeps the order of the rows and needs no constant. It holds whether or not 0 and 1
    occur among the fitting rows, as they may among others; without any value in between it is half-way
    from 1/2.

    Args:
        confidence: (N,) in [0, 1].

    Example:
        >>> open_ends(np.array([0.6, 0.9, 1.0])), open_ends(np.array([0.6, 0.9]))
        ((0.3, 0.95), (0.3, 0.95))
    """
    inside = confidence[(confidence > 0) & (confidence < 1)]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.5, 0.5)
    return low / 2, (1 + high) / 2


UNCALIBRATED = "none"
CALIBRATORS: Registry[type[Calibrator]] = Registry(
    "calibrator",
    "vlmcal.calibrators",
    subclass_of(Calibrator),
    "a subclass of Calibrator",
    aliases={"identity": UNCALIBRATED},
    made=dataclass,
    besides=("sklearn_wrapper",),  # scikit-learn takes a second to import
)


def scalar_calibrators() -> list[str]:
    """Names of the calibrators that take scalar confidences."""
    return [name for name, kind in CALIBRATORS.items() if kind.scalar]


def make(name: "str | Calibrator", parameters: Mapping[str, Any] | None = None) -> Calibrator:
    """A calibrator by name, as ``"name"`` or ``"name(option=value)"``, with its hyper-parameters.

    One that is built already stands for itself, unfitted.

    Raises:
        SpecError: As :func:`vlmcal.options.build`.

    Example:
        >>> make("temperature", {"bounds": [0.05, 5.0]}).bounds
        (0.05, 5.0)
    """
    return Calibrator.made(name, parameters)
