"""What a conformal method is: fitted on held-out predictions, it turns others into sets of labels."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.quantile import require_alpha
from vlmcal.conformal.saved import decode, encode, row_keys, rows_digest
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.options import call, check_fields
from vlmcal.registry import Registry
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray, as_strings, require_finite
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import require_disjoint, require_fittable

Guarantee = Literal["marginal", "per class", "per stratum", "per cluster", "risk", "selective risk"]


class ConformalWarning(UserWarning):
    """The sets are valid but not what the user may expect; the message says why."""


class Rows(NamedTuple):
    """Predictions and what belongs to their rows.

    Attributes:
        predictions: The rows.
        keys: (N,) one string per row that names it.
        uniforms: Random numbers given by the caller, or None.
        strata: (N,) strata given by the caller, or None.
    """

    predictions: Predictions
    keys: StrArray
    uniforms: FloatArray | None = None
    strata: StrArray | None = None


@dataclass
class ConformalPredictor(ABC):
    """Set-valued prediction with a finite-sample guarantee.

    Fields of the dataclass are hyper-parameters; what :meth:`fit` learns ends in an underscore and is
    listed in ``state``. Subclasses implement :meth:`_fit` and :meth:`_sets`.

    Attributes:
        name: Registry name.
        guarantee: What the guarantee is about; the docstring of the method states it in full.
        needs: Names of ``Predictions.extras`` that it reads.
        state: Names of the learned attributes.
        any_classes: True when nothing is learned per class, so that another class list is possible.
        uses_strata: True when the rows are divided into strata.
        uses_uniforms: True when the caller may give the random numbers.
        alpha_: Target after fitting.
        messages_: What the user should know about the fit, such as too few rows.
    """

    name: ClassVar[str] = ""
    guarantee: ClassVar[Guarantee] = "marginal"
    needs: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[tuple[str, ...]] = ()
    any_classes: ClassVar[bool] = False
    uses_strata: ClassVar[bool] = False
    uses_uniforms: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self, self._who)
        self.alpha_ = float("nan")
        self.messages_: list[str] = []
        self.fitted_on_: dict[str, Any] | None = None
        self.fitted_keys_: StrArray | None = None

    def fit(
        self,
        calibration: Predictions,
        alpha: float,
        *,
        uniforms: ArrayLike | None = None,
        strata: ArrayLike | None = None,
    ) -> Self:
        """Learn the thresholds from held-out labelled rows.

        Args:
            calibration: Rows the model was not trained on, exchangeable with the rows to come.
            alpha: Target miscoverage (or risk) in (0, 1); 0.1 asks for sets that hold the truth in 90 %.
            uniforms: (N,) random numbers in [0, 1] for randomised scores, instead of the seeded ones.
            strata: (N,) stratum of each row, for methods that use strata.

        Raises:
            SplitError: The rows are test data.
            SpecError: ``alpha`` is outside (0, 1), or an argument does not apply to this method.
            DataError: An extra that this method needs is missing.
        """
        require_fittable(calibration.split, self._who)
        alpha = require_alpha(alpha)
        rows = self._rows(calibration, uniforms, strata)
        self.messages_ = []
        if calibration.split == "train":
            self._tell(
                'the calibration rows come from the split "train"; the guarantee holds only if the model '
                "was not trained on them"
            )
        self._fit(rows, alpha)
        self._remember(rows.keys, alpha, calibration.split, calibration.class_names)
        return self

    def predict(
        self,
        predictions: Predictions,
        *,
        uniforms: ArrayLike | None = None,
        strata: ArrayLike | None = None,
    ) -> PredictionSets:
        """Sets of labels for other rows.

        Args:
            predictions: Rows that were not used for fitting.
            uniforms: Random numbers in [0, 1] for randomised scores, instead of the seeded ones.
            strata: (N,) stratum of each row, for methods that use strata.

        Raises:
            SpecError: Called before :meth:`fit`, or an argument does not apply to this method.
            SplitError: Rows that were used for fitting.
            DataError: Another class list than it was fitted on where it learns something per class, or
                a missing extra.
        """
        if self.fitted_on_ is None:
            raise SpecError(f"{self._who} is not fitted yet; call fit(...) first")
        rows = self._rows(predictions, uniforms, strata)
        self._require_new(rows.keys)
        notes: list[str] = []
        self._check_classes(predictions, notes)
        sets = self._sets(rows, notes)
        for note in notes:
            warnings.warn(f"{self._who}: {note}", ConformalWarning, stacklevel=2)
        return PredictionSets(
            sets=sets,
            labels=predictions.labels,
            alpha=self.alpha_,
            ids=predictions.ids,
            class_names=predictions.class_names,
            groups=predictions.groups,
            provenance={
                "conformal": self.name,
                "parameters": self._parameters(),
                "guarantee": self.guarantee,
                "fitted_on": self.fitted_on_,
                "messages": [*self.messages_, *notes],
                "predictions": predictions.provenance,
            },
        )

    def to_dict(self) -> dict[str, Any]:
        """Hyper-parameters and learned state as plain JSON data."""
        data: dict[str, Any] = encode(self.to_state())
        return data

    def to_state(self) -> dict[str, Any]:
        """The same as :meth:`to_dict` with the arrays as they are."""
        return {
            "format": 1,
            "conformal": self.name,
            "parameters": self._parameters(),
            "alpha": self.alpha_ if self.fitted_on_ else None,
            "state": {key: getattr(self, key) for key in self.state if self.fitted_on_},
            "messages": list(self.messages_),
            "fitted_on": self.fitted_on_,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`.

        Raises:
            SpecError: The data belong to another method, or name a parameter that it does not have.
        """
        if data.get("conformal") != cls.name:
            raise SpecError(
                f'expected a saved "{cls.name}", got {data.get("conformal")!r}; load it with '
                "vlmcal.conformal.base.from_dict, which finds the method"
            )
        parameters = {name: decode(value) for name, value in data["parameters"].items()}
        predictor = call(cls, f'conformal method "{cls.name}"', parameters)
        predictor.messages_ = list(data["messages"])
        predictor.fitted_on_ = data["fitted_on"]
        if predictor.fitted_on_ is not None:
            predictor.alpha_ = float(data["alpha"])
            for key in cls.state:
                setattr(predictor, key, decode(data["state"][key]))
        return predictor

    @abstractmethod
    def _fit(self, rows: Rows, alpha: float) -> None: ...

    @abstractmethod
    def _sets(self, rows: Rows, notes: list[str]) -> BoolArray: ...

    @property
    def _who(self) -> str:
        return f'conformal method "{self.name}"'

    def _remember(
        self, keys: StrArray, alpha: float, split: str, class_names: tuple[str, ...]
    ) -> None:
        self.alpha_ = alpha
        self.fitted_keys_ = keys
        self.fitted_on_ = {
            "split": split,
            "n": len(keys),
            "class_names": list(class_names),
            "digest": rows_digest(keys),
        }

    def _parameters(self) -> dict[str, Any]:
        return {f.name: encode(getattr(self, f.name)) for f in fields(self)}

    def _tell(self, message: str) -> None:
        self.messages_.append(message)
        warnings.warn(f"{self._who}: {message}", ConformalWarning, stacklevel=4)

    def _rows(
        self, predictions: Predictions, uniforms: ArrayLike | None, strata: ArrayLike | None
    ) -> Rows:
        missing = [name for name in self.needs if name not in predictions.extras]
        if missing:
            raise DataError(
                f"{self._who} needs {', '.join(missing)} beside the scores; these predictions carry "
                f"{', '.join(sorted(predictions.extras)) or 'no extras'}"
            )
        if uniforms is not None and not self.uses_uniforms:
            raise SpecError(f"{self._who} is not randomised; leave out uniforms")
        if strata is not None and not self.uses_strata:
            raise SpecError(f'{self._who} has no strata; use "group_conditional"')
        return Rows(
            predictions,
            row_keys(predictions),
            None if uniforms is None else _as_uniforms(uniforms, len(predictions)),
            None if strata is None else as_strings(strata, len(predictions), "strata"),
        )

    def _require_new(self, keys: StrArray) -> None:
        if self.fitted_keys_ is not None:
            require_disjoint(self.fitted_keys_, keys, self._who)
        elif self.fitted_on_ is not None and self.fitted_on_["digest"] == rows_digest(keys):
            raise SplitError(
                f"{self._who}: these are the very {len(keys)} rows it was fitted on; apply it to others"
            )

    def _check_classes(self, predictions: Predictions, notes: list[str]) -> None:
        assert self.fitted_on_ is not None
        fitted = self.fitted_on_["class_names"]
        if list(predictions.class_names) == fitted:
            return
        if self.any_classes:
            notes.append(
                f"fitted on other classes ({len(fitted)}, first {fitted[:3]}); the coverage guarantee does "
                "not carry over to a new class list"
            )
            return
        raise DataError(
            f"{self._who} was fitted on the classes {fitted[:5]} ({len(fitted)}) and cannot be applied to "
            f"{list(predictions.class_names[:5])} ({predictions.n_classes}); it learns something for "
            "each class. Fit it on rows with these classes"
        )


CONFORMAL: Registry[type[ConformalPredictor]] = Registry("conformal method", "vlmcal.conformal")


def from_dict(data: dict[str, Any]) -> ConformalPredictor:
    """The fitted predictor that :meth:`ConformalPredictor.to_dict` described.

    Raises:
        SpecError: The method is not known.

    Example:
        >>> from_dict(CONFORMAL.get("lac")().to_dict()).name
        'lac'
    """
    return CONFORMAL.get(str(data.get("conformal"))).from_dict(data)


def _as_uniforms(values: ArrayLike, n: int) -> FloatArray:
    uniforms = np.asarray(values, dtype=np.float64)
    if uniforms.ndim not in (1, 2) or uniforms.shape[0] != n:
        raise DataError(f"uniforms: expected shape ({n},) or ({n}, K), got {uniforms.shape}")
    require_finite(uniforms, "uniforms")
    if ((uniforms < 0) | (uniforms > 1)).any():
        raise DataError("uniforms: expected numbers from 0 to 1")
    return uniforms
