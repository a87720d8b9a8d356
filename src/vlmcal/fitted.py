"""What is fitted on held-out rows and applied to other rows: calibrators and conformal methods."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Self, dataclass_transform

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.fitted_state import Saved
from vlmcal.options import Named, build, call, check_fields
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import FittedRows
from vlmcal.types.split import require_fittable

_DESCRIBING = ("nll_", "steps_", "bounded_")


class UnsuitedRowsError(DataError):
    """The rows lack something that this method reads, or are of the wrong kind for it."""


@dataclass_transform()
@dataclass
class Fitted(Saved):
    """Fields of the dataclass are hyper-parameters; what is learned ends in an underscore.

    Attributes:
        needs: Names of ``Predictions.extras`` that it reads.
        any_classes: True when it can be applied to another class list than it was fitted on.
    """

    warning: ClassVar[type[UserWarning]] = UserWarning
    needs: ClassVar[tuple[str, ...]] = ()
    any_classes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self, self._who)
        super().__post_init__()

    def takes_any_classes(self) -> bool:
        """Whether, with these hyper-parameters, it learns nothing per class and fits any class list."""
        return self.any_classes

    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The hyper-parameters by name, as scikit-learn asks for them (``calibrator__bins`` in a search)."""
        return self.hyperparameters()

    def set_params(self, **parameters: Any) -> Self:
        """Set hyper-parameters by name; what was fitted is forgotten.

        Raises:
            SpecError: No such hyper-parameter, or a value of the wrong kind.
        """
        made = call(type(self), self._who, {**self.hyperparameters(), **parameters})
        self.__dict__.clear()
        self.__dict__.update(made.__dict__)
        return self

    def __sklearn_clone__(self) -> Self:
        return self.fresh()

    def complexity(self) -> int:
        """How many numbers it learned, those that only describe the fit left out; the order of simplicity."""
        return sum(_numbers(getattr(self, key)) for key in self.state if key not in _DESCRIBING)

    @classmethod
    def made(cls, method: "str | Self", parameters: Mapping[str, Any] | None = None) -> Self:
        """The registered one of that name with its hyper-parameters, or an unfitted one like the one given.

        Raises:
            SpecError: As :func:`vlmcal.options.build`.
        """
        given: Any = method
        if isinstance(given, cls):
            return given.fresh().set_params(**(parameters or {}))
        made: Self = build(cls.registry(), given, parameters)
        return made

    @classmethod
    @contextmanager
    def quiet(cls) -> Iterator[None]:
        """While it lasts, such fits warn of nothing: where it was told before, or is told otherwise."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cls.warning)
            yield

    def fresh(self) -> Self:
        """An unfitted one with the same hyper-parameters."""
        return type(self)(**{f.name: getattr(self, f.name) for f in fields(self)})

    def _require_extras(self, predictions: Predictions, names: tuple[str, ...]) -> None:
        missing = [name for name in names if name not in predictions.extras]
        if missing:
            raise UnsuitedRowsError(
                f"{self._who} needs {', '.join(missing)} beside the scores; these predictions carry "
                f"{', '.join(sorted(predictions.extras)) or 'no extras'}"
            )

    def _require_fittable(self, split: Any) -> None:
        require_fittable(split, self._who)
        self.messages_ = []

    def _remember(self, predictions: Predictions, *, identify: bool = True, **more: Any) -> None:
        stated = more.get("rows") == "confidences"
        self.fitted_rows_ = FittedRows.of(predictions, stated=stated) if identify else FittedRows()
        if adapted := _adapted_by(predictions):
            more["test_time"] = adapted
        self.fitted_on_ = {
            **more,
            "split": predictions.split,
            "n": len(predictions),
            "class_names": list(predictions.class_names),
        }

    def _shared(self, predictions: Predictions) -> list[str]:
        """Notes on what rows share with the fitting rows.

        Raises:
            SpecError: Nothing was fitted yet.
            SplitError: Some rows are the same ones.
            DataError: The model was adapted at test time on one side only, or otherwise.
        """
        fitted, given = self._require_fitted().get("test_time", {}), _adapted_by(predictions)
        if fitted != given:
            raise DataError(
                f"{self._who} was fitted on rows {_told(fitted)}, and these are {_told(given)}; adapting "
                "changes confidence, so fit on held-out images that went through the same method (a run "
                "keeps them as predictions/calibration.safetensors)"
            )
        found = self.fitted_rows_.shared(predictions, self._who)
        if self.groups_are_strata():
            found = replace(found, groups=0)
        return found.notes(len(predictions))

    def groups_are_strata(self) -> bool:
        """Whether the groups of the rows are kinds (scanners, sites) that belong on both sides."""
        return False

    def _require_fitted(self) -> dict[str, Any]:
        if self.fitted_on_ is None:
            raise SpecError(f"{self._who} is not fitted yet; call fit(...) first")
        return self.fitted_on_

    def _other_classes(self, predictions: Predictions) -> str:
        """What to tell where the classes are others than it was fitted on; "" where they are the same.

        Raises:
            DataError: They are, and something was learned for each class.
        """
        fitted, given = self._require_fitted()["class_names"], list(predictions.class_names)
        if given == fitted:
            return ""
        if not self.takes_any_classes():
            raise DataError(
                f"{self._who} was fitted on the classes {fitted[:5]} ({len(fitted)}) and cannot be applied "
                f"to {given[:5]} ({len(given)}); it learns something for each class. Fit it on rows with "
                "these classes"
            )
        order = "in another order" if sorted(given) == sorted(fitted) else f"{len(fitted)}"
        return f"fitted on other classes ({order}, first {fitted[:3]}) than these ({given[:3]})"

    def _tell(self, message: str | None) -> None:
        """Warn of something about the fit, if there is something, and keep it for who applies it later."""
        if message:
            self.messages_.append(message)
            self._warn(message, stacklevel=5)

    def _warn(self, message: str, stacklevel: int = 4) -> None:
        warnings.warn(f"{self._who}: {message}", self.warning, stacklevel=stacklevel)


def _adapted_by(predictions: Predictions) -> dict[str, Any]:
    """The test-time method, with options, that made the scores; empty where none did, or nobody says."""
    return dict(predictions.provenance.get("test_time", {}).get("method", {}))


def _told(method: Mapping[str, Any]) -> str:
    if not method:
        return "of a model that was not adapted at test time"
    options = {key: value for key, value in method.items() if key != "name"}
    return f"adapted at test time by {Named(str(method['name']), options).label}"


def _numbers(value: Any) -> int:
    if isinstance(value, Fitted):
        return value.complexity()
    if isinstance(value, np.ndarray):
        return int(value.size)
    if isinstance(value, Mapping):
        return sum(map(_numbers, value.values()))
    if isinstance(value, list | tuple):
        return sum(map(_numbers, value))
    return int(isinstance(value, int | float))
