"""What is fitted on held-out rows, applied to other rows, and saved: calibrators and conformal methods."""

import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from vlmcal.errors import DataError, SpecError, VlmcalError
from vlmcal.io.state_files import (
    FORMAT,
    READABLE,
    damage_named,
    decode,
    encode,
    read_state,
    require_intact,
    write_state,
)
from vlmcal.options import Named, call, check_fields
from vlmcal.registry import Registry
from vlmcal.state_rules import StateRule, sane
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import FittedRows
from vlmcal.types.split import SPLITS, require_fittable

_DESCRIBING = ("nll_", "steps_", "bounded_")


class UnsuitedRowsError(DataError):
    """The rows lack something that this method reads, or are of the wrong kind for it."""


@dataclass
class Fitted(ABC):
    """Fields of the dataclass are hyper-parameters; what is learned ends in an underscore.

    Attributes:
        kind: What it is called in messages.
        key: What its name is called in saved files.
        name: Registry name.
        needs: Names of ``Predictions.extras`` that it reads.
        state: Names of the learned attributes, with the rule that each obeys.
        older_state: Values of learned attributes that files of format 1 do not have.
        any_classes: True when it can be applied to another class list than it was fitted on.
        fitted_on_: What is told about the fitting rows; None before fitting.
        fitted_rows_: Their identity.
        messages_: What the user should know about the fit.
    """

    kind: ClassVar[str] = ""
    key: ClassVar[str] = ""
    warning: ClassVar[type[UserWarning]] = UserWarning
    name: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()
    state: ClassVar[Mapping[str, StateRule] | tuple[str, ...]] = ()
    older_state: ClassVar[Mapping[str, Any]] = {}
    any_classes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        check_fields(self, self._who)
        self.fitted_on_: dict[str, Any] | None = None
        self.fitted_rows_ = FittedRows()
        self.messages_: list[str] = []

    @classmethod
    @abstractmethod
    def registry(cls) -> Registry[Any]:
        """Where methods of this kind are registered."""

    @classmethod
    @abstractmethod
    def root(cls) -> "type[Fitted]":
        """The base class of this kind."""

    @classmethod
    def holds(cls) -> "type[Fitted]":
        """The base class of the fitted things inside its learned values; its own unless it says otherwise."""
        return cls.root()

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

    def fresh(self) -> Self:
        """An unfitted one with the same hyper-parameters."""
        return type(self)(**{f.name: getattr(self, f.name) for f in fields(self)})

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write to ``path`` (.json), and large arrays to the same name with .safetensors.

        Ids, scores and groups of the fitting rows are kept as hashes, so that the same rows and groups are
        known again.

        Returns:
            The files written.

        Raises:
            StoreError: The place cannot be written to, or the name does not end in .json.

        Example:
            >>> import tempfile
            >>> from vlmcal.calibrators.base import Calibrator
            >>> from vlmcal.calibrators.temperature import Temperature
            >>> cal = Temperature().fit(Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1]))
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     _ = cal.save(f"{folder}/cal.json")
            ...     Calibrator.load(f"{folder}/cal.json").temperature_ == cal.temperature_
            True
        """
        return write_state(Path(path), self.to_state(), self.kind)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Read what :meth:`save` wrote, also in formats of earlier versions.

        Raises:
            StoreError: No such file, damaged, edited, a newer format, or the arrays beside it are missing.
            SpecError: The method is not known here, or is another one than this class.
            DataError: A learned value is missing or impossible.
        """
        source = Path(path)
        keys = ("format", cls.key, "parameters", "state", "fitted_on")
        data = read_state(source, keys, cls.kind)
        try:
            with damage_named(source):
                fitted = cls.find(data).from_dict(data)
        except VlmcalError as error:
            raise type(error)(f"{source}: {error}") from error
        require_intact(data, source, cls.kind)
        return fitted

    def to_dict(self) -> dict[str, Any]:
        """Hyper-parameters and learned state as plain JSON data."""
        data: dict[str, Any] = encode(self.to_state())
        return data

    def to_state(self) -> dict[str, Any]:
        """The same as :meth:`to_dict` with the arrays as they are."""
        fitted = self.fitted_on_ is not None
        return {
            "format": FORMAT,
            self.key: self.name,
            "parameters": self.hyperparameters(),
            "state": {key: _pack(getattr(self, key)) for key in self.state} if fitted else {},
            "messages": list(self.messages_),
            "fitted_on": self.fitted_on_ and {**self.fitted_on_, **self.fitted_rows_.to_dict()},
        }

    @classmethod
    def find(cls, data: Mapping[str, Any]) -> type[Self]:
        """The class of the method that was saved; only registered names, as data must not run code.

        Raises:
            SpecError: No such method, or not one of this class.
        """
        name = str(data.get(cls.key))
        if ":" in name:
            raise SpecError(f'a saved {cls.kind} must have a registered name, got "{name}"')
        found: type[Self] = cls if cls.name == name else cls.registry().get(name)
        if not issubclass(found, cls):
            raise SpecError(f'expected a saved "{cls.name}", got "{name}"')
        return found

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`, and check every learned value; the base class finds the method.

        Raises:
            SpecError: The data belong to another method, or name a parameter that it does not have.
            DataError: A learned value is missing or impossible, or the format is not known.
        """
        if not cls.name:
            return cls.find(data).from_dict(data)
        if data.get("format") not in READABLE:
            raise DataError(f"expected format {FORMAT} or older, got {data.get('format')!r}")
        if cls.registry().current(str(data.get(cls.key))) != cls.name:
            raise SpecError(
                f'expected a saved "{cls.name}", got {data.get(cls.key)!r}; load it with '
                f"{cls.root().__name__}.load, which finds the method"
            )
        old = data["format"] == 1
        parameters = cls._known(_older(data["parameters"]) if old else decode(data["parameters"]))
        self = call(cls, f'{cls.kind} "{cls.name}"', parameters)
        self.messages_ = [str(message) for message in data.get("messages", [])]
        if data["fitted_on"] is None:
            return self
        self._read_fitted_on(dict(data["fitted_on"]))
        state = decode(data["state"])
        if old:
            state = {**self.older_state, **_older(data["state"])}
        missing = [key for key in self.state if key not in state]
        if missing:
            raise DataError(
                f"the saved {self._who} lacks the learned values {missing}; it was cut off or edited, fit it "
                "again"
            )
        for key in self.state:
            setattr(self, key, _unpack(state[key], self.holds()))
        self._check_learned()
        return self

    @property
    def _who(self) -> str:
        return f'{self.kind} "{self.name}"'

    @classmethod
    def _known(cls, parameters: dict[str, Any]) -> dict[str, Any]:
        for key, value in parameters.items():
            # a loss is only imported where something is fitted; the others would be, here
            if key != "loss" and isinstance(value, str) and ":" in value:
                raise SpecError(
                    f'the saved {cls.kind} "{cls.name}" names {key} = "{value}"; only registered names '
                    "can be loaded"
                )
        return parameters

    def _read_fitted_on(self, data: dict[str, Any]) -> None:
        names, n, split = data.get("class_names"), data.get("n"), data.get("split")
        if (
            not isinstance(names, list)
            or not all(isinstance(name, str) for name in names)
            or type(n) is not int
            or n < 1
            or split not in SPLITS
        ):
            raise DataError(
                f"the saved {self._who} does not say what it was fitted on (class_names, n, split); it was "
                "cut off or edited, fit it again"
            )
        self.fitted_rows_ = FittedRows.from_dict(data, n)
        identity = ("digest", "ids", "contents", "groups")
        self.fitted_on_ = {key: value for key, value in data.items() if key not in identity}

    def _check_learned(self) -> None:
        """Refuse learned values that no fit can give.

        Raises:
            DataError: Names the value.
        """
        rules = self.state if isinstance(self.state, Mapping) else dict.fromkeys(self.state, sane)
        k = len((self.fitted_on_ or {})["class_names"])
        for key, rule in rules.items():
            if found := rule(getattr(self, key), k):
                raise self._impossible(key, found)

    def _require_nested(self, key: str, values: list[Any], name: str) -> None:
        """Refuse learned values that are no fitted methods called ``name`` for these classes."""
        names = (self.fitted_on_ or {})["class_names"]
        for value in values:
            holds = self.holds()
            if not isinstance(value, holds) or value.name != holds.registry().current(name):
                raise self._impossible(key, f'expected a fitted "{name}"')
            if value.fitted_on_ is None or value.fitted_on_["class_names"] != names:
                raise self._impossible(key, f'expected a "{name}" fitted on the same classes')

    def _impossible(self, key: str, found: str) -> DataError:
        return DataError(
            f"the saved {self._who} cannot be applied: impossible {key}, {found}; it was damaged or edited, "
            "fit it again"
        )

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

    def _tell(self, message: str) -> None:
        """Warn of something about the fit, and keep it for whoever applies the fit later."""
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


def _older(value: Any) -> Any:
    """Decode data of format 1, in which conformal methods wrote a lone infinity as a string."""
    known = {"inf": float("inf"), "-inf": float("-inf")}
    decoded = decode(value)
    return {
        key: known.get(item, item) if isinstance(item, str) else item
        for key, item in decoded.items()
    }


def _pack(value: Any) -> Any:
    """Fitted things inside a learned value as plain data."""
    if isinstance(value, Fitted):
        return {"nested": value.to_state()}
    return [_pack(item) for item in value] if isinstance(value, list) else value


def _unpack(value: Any, root: type[Fitted]) -> Any:
    if isinstance(value, dict) and set(value) == {"nested"}:
        return root.find(value["nested"]).from_dict(value["nested"])
    return [_unpack(item, root) for item in value] if isinstance(value, list) else value
