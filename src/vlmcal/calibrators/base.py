"""What a calibrator is: fitted on held-out predictions, applied to others, saved as plain JSON."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, NamedTuple, Self, TypeVar

import numpy as np

from vlmcal.calibrators.codec import decode, encode
from vlmcal.calibrators.numerics import as_binary
from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.options import build, check_fields
from vlmcal.registry import Registry
from vlmcal.types.arrays import FloatArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions, ScoreKind
from vlmcal.types.row_identity import FittedRows
from vlmcal.types.split import require_fittable

Rows = TypeVar("Rows", Predictions, Confidences)


class Scores(NamedTuple):
    """New class scores (N, K) and what they are."""

    values: FloatArray
    kind: ScoreKind


class CalibrationWarning(UserWarning):
    """A calibrator was fitted, but the data do not determine it well; the message says why."""


class UnsuitedRowsError(DataError):
    """The rows lack something that this method reads, or are of the wrong kind for it."""


@dataclass
class Calibrator(ABC):
    """Post-hoc map from predictions to calibrated predictions.

    Fields of the dataclass are hyper-parameters; what :meth:`fit` learns ends in an underscore and is
    listed in ``state``. Subclasses implement :meth:`_fit` and :meth:`_transform` for class scores;
    :class:`Confidences` reach the same code as a two-class problem ("wrong", "right").

    Attributes:
        name: Registry name.
        keeps_argmax: True when the predicted class can never change.
        needs: Names of ``Predictions.extras`` that it reads.
        fit_needs: Names of further extras that only :meth:`fit` reads.
        state: Names of the learned attributes.
        any_classes: True when it can be applied to another class list than it was fitted on.
        scalar: True when it makes sense for scalar confidences, too.
        nested: True when doing nothing is one of the maps it can learn, and it minimises log-loss.
        draws_in_ends: True when confidences of exactly 0 and 1 are drawn in (see :func:`open_ends`).
    """

    name: ClassVar[str] = ""
    keeps_argmax: ClassVar[bool] = False
    needs: ClassVar[tuple[str, ...]] = ()
    fit_needs: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[tuple[str, ...]] = ()
    any_classes: ClassVar[bool] = False
    scalar: ClassVar[bool] = False
    nested: ClassVar[bool] = False
    draws_in_ends: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_fields(self, f'{CALIBRATORS.kind} "{self.name}"')
        self.fitted_rows_: FittedRows | None = None
        self.fitted_on_: dict[str, Any] | None = None

    def fit(self, rows: Predictions | Confidences, *, identify: bool = True) -> Self:
        """Learn from held-out rows.

        Args:
            rows: With labels.
            identify: Remember which rows these are, so that :meth:`transform` refuses them. False is for
                rows drawn anew from others (bootstrap), which have no identity of their own.

        Raises:
            SplitError: The rows are test data.
            UnsuitedRowsError: An extra that this method needs is missing, or confidences were given to a
                method that needs class scores.
            DataError: There is only one class.
        """
        require_fittable(rows.split, f'calibrator "{self.name}"')
        ends = None
        if isinstance(rows, Confidences) and self.draws_in_ends:
            ends = open_ends(rows.confidence)
        predictions = self._as_predictions(rows, ends)
        self._require_extras(predictions, self.needs + self.fit_needs)
        if predictions.n_classes < 2:
            raise DataError(
                f'calibrator "{self.name}" needs scores of at least 2 classes, got 1; the probability '
                "of a single class is always 1"
            )
        self._fit(predictions)
        self.fitted_rows_ = FittedRows.of(predictions) if identify else FittedRows.known("")
        self.fitted_on_ = {
            "rows": "confidences" if isinstance(rows, Confidences) else "predictions",
            "split": rows.split,
            "n": len(rows),
            "class_names": list(predictions.class_names),
            "digest": self.fitted_rows_.digest,
        }
        if ends is not None:
            self.fitted_on_["ends"] = list(ends)
        return self

    def transform(self, rows: Rows) -> Rows:
        """Calibrated rows, of the type that was given.

        Raises:
            SpecError: Called before :meth:`fit`.
            SplitError: Rows that were used for fitting.
            DataError: Another number or list of classes than it was fitted on, or a missing extra.
        """
        predictions = self._as_predictions(rows, self._ends)
        self._check_applicable(predictions, rows)
        if self.fitted_rows_ is not None:
            self.fitted_rows_.require_disjoint(predictions, f'calibrator "{self.name}"')
            shared = self.fitted_rows_.shared_groups(predictions)
            if shared:
                warnings.warn(
                    f'calibrator "{self.name}": {shared} groups (patients, slides) of these rows were also '
                    "fitted on, so measured calibration may be too good; split by group",
                    CalibrationWarning,
                    stacklevel=2,
                )
        return self._apply(rows, predictions, "split")

    def fit_transform_same(self, rows: Rows) -> Rows:
        """Fit and apply to the same rows: for inspection of the fit only, tagged as split "train"."""
        self.fit(rows)
        fitted: Rows = self._apply(rows, self._as_predictions(rows, self._ends), "full")
        return replace(fitted, split="train")

    def scores(self, predictions: Predictions) -> Scores:
        """The calibrated scores alone, unguarded: for calibrators that are built from others."""
        return self._transform(predictions)

    def takes_any_classes(self) -> bool:
        """Whether, with these hyper-parameters, it learns nothing per class and fits any class list."""
        return self.any_classes

    def fresh(self) -> Self:
        """An unfitted calibrator with the same hyper-parameters."""
        return type(self)(**{f.name: getattr(self, f.name) for f in fields(self)})

    def to_dict(self) -> dict[str, Any]:
        """Hyper-parameters and learned state as plain JSON data (ids of the fitting rows are left out)."""
        data: dict[str, Any] = encode(self.to_state())
        return data

    def to_state(self) -> dict[str, Any]:
        """The same as :meth:`to_dict` with the arrays as they are."""
        return {
            "format": 1,
            "calibrator": self.name,
            "parameters": {f.name: getattr(self, f.name) for f in fields(self)},
            "state": {key: _pack(getattr(self, key)) for key in self.state}
            if self.fitted_on_
            else {},
            "fitted_on": self.fitted_on_,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`; unknown parameters are left out with a warning.

        Raises:
            DataError: A learned value is missing.
        """
        data = decode(data)
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(data["parameters"]) - known)
        if unknown:
            warnings.warn(
                f'calibrator "{cls.name}": the saved parameters {unknown} are not known to this '
                f"version and are ignored; {nearest(unknown[0], known)}",
                stacklevel=2,
            )
        calibrator = cls(**{k: v for k, v in data["parameters"].items() if k in known})
        if data["fitted_on"] is not None:
            missing = [key for key in cls.state if key not in data["state"]]
            if missing:
                raise DataError(
                    f'the saved calibrator "{cls.name}" lacks the learned values {missing}; it was '
                    "cut off or edited, fit it again"
                )
            for key in cls.state:
                setattr(calibrator, key, _unpack(data["state"][key]))
            calibrator.fitted_on_ = data["fitted_on"]
            calibrator.fitted_rows_ = FittedRows.known(data["fitted_on"].get("digest", ""))
        return calibrator

    @abstractmethod
    def _fit(self, predictions: Predictions) -> None: ...

    @abstractmethod
    def _transform(self, predictions: Predictions) -> Scores: ...

    def _apply(self, rows: Rows, predictions: Predictions, scheme: str) -> Rows:
        scores = self._transform(predictions)
        fitted = self.fitted_on_ or {}
        step = {
            "calibrator": self.name,
            "scheme": scheme,
            "fitted_on": {key: fitted[key] for key in ("split", "n") if key in fitted},
        }
        result = predictions.with_scores(scores.values, scores.kind, step)
        if isinstance(rows, Confidences):
            confidence = np.clip(result.probabilities()[:, 1], 0.0, 1.0)
            return replace(rows, confidence=confidence, provenance=result.provenance)
        return result

    def _warn(self, message: str) -> None:
        warnings.warn(f'calibrator "{self.name}": {message}', CalibrationWarning, stacklevel=4)

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
                f'calibrator "{self.name}" needs class scores (Predictions), got scalar confidences; '
                f"for these use one of {', '.join(scalar_calibrators())}"
            )
        if ends is not None:
            rows = replace(rows, confidence=np.clip(rows.confidence, *ends))
        return as_binary(rows)

    def _require_extras(self, predictions: Predictions, names: tuple[str, ...]) -> None:
        missing = [name for name in names if name not in predictions.extras]
        if missing:
            raise UnsuitedRowsError(
                f'calibrator "{self.name}" needs {", ".join(missing)} beside the scores; these '
                f"predictions carry {', '.join(sorted(predictions.extras)) or 'no extras'}"
            )

    def _check_applicable(self, predictions: Predictions, rows: Predictions | Confidences) -> None:
        if self.fitted_on_ is None:
            raise SpecError(f'calibrator "{self.name}" is not fitted yet; call fit(...) first')
        self._require_extras(predictions, self.needs)
        given = "confidences" if isinstance(rows, Confidences) else "predictions"
        if given != self.fitted_on_["rows"]:
            raise DataError(
                f'calibrator "{self.name}" was fitted on {self.fitted_on_["rows"]} and cannot be '
                f"applied to {given}; use the same kind for both"
            )
        fitted = self.fitted_on_["class_names"]
        if not self.takes_any_classes() and list(predictions.class_names) != fitted:
            raise DataError(
                f'calibrator "{self.name}" was fitted on the classes {fitted[:5]} ({len(fitted)}) and '
                f"cannot be applied to {list(predictions.class_names[:5])} "
                f"({predictions.n_classes}); it learns something for each class"
            )


def open_ends(confidence: FloatArray) -> tuple[float, float]:
    """What stated confidences of exactly 0 and 1 are read as: half-way to the next value that was stated.

    "100 %" is a rounded number, and its log-odds are infinite: one wrong answer at 1 would decide a fit on
    log-odds. Half-way keeps the order of the rows and needs no constant. Without any value in between it
    is 1/4 and 3/4 of the way.

    Args:
        confidence: (N,) in [0, 1].

    Example:
        >>> open_ends(np.array([0.6, 0.9, 1.0])), open_ends(np.array([0.6, 0.9]))
        ((0.0, 0.95), (0.0, 1.0))
    """
    inside = confidence[(confidence > 0) & (confidence < 1)]
    low, high = (float(inside.min()), float(inside.max())) if inside.size else (0.5, 0.5)
    return (
        low / 2 if (confidence == 0).any() else 0.0,
        (1 + high) / 2 if (confidence == 1).any() else 1.0,
    )


CALIBRATORS: Registry[type[Calibrator]] = Registry("calibrator", "vlmcal.calibrators")


def scalar_calibrators() -> list[str]:
    """Names of the calibrators that take scalar confidences."""
    return [name for name, kind in CALIBRATORS.items() if kind.scalar]


def _pack(value: Any) -> Any:
    """Calibrators inside a learned value as plain data."""
    if isinstance(value, Calibrator):
        return {"nested": value.to_state()}
    return [_pack(item) for item in value] if isinstance(value, list) else value


def _unpack(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"nested"}:
        return from_state(value["nested"])
    return [_unpack(item) for item in value] if isinstance(value, list) else value


def from_state(data: dict[str, Any]) -> Calibrator:
    """The calibrator that :meth:`Calibrator.to_dict` or :meth:`Calibrator.to_state` described.

    Raises:
        SpecError: No calibrator of that name.
    """
    return CALIBRATORS.get(data["calibrator"]).from_dict(data)


def make(name: str, parameters: Mapping[str, Any] | None = None) -> Calibrator:
    """A calibrator by name, as ``"name"`` or ``"name(option=value)"``, with its hyper-parameters.

    Raises:
        SpecError: As :func:`vlmcal.options.build`.

    Example:
        >>> make("temperature", {"bounds": [0.05, 5.0]}).bounds
        (0.05, 5.0)
    """
    return build(CALIBRATORS, name, parameters)
