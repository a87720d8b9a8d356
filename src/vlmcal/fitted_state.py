"""What was fitted as plain data and as files, and back: every learned value is checked on the way."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

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
from vlmcal.options import call
from vlmcal.registry import Registry
from vlmcal.state_rules import StateRule, sane
from vlmcal.types.row_identity import FittedRows
from vlmcal.types.split import SPLITS


class Saved(ABC):
    """Something with a name, hyper-parameters and what it learned; see :class:`vlmcal.fitted.Fitted`.

    Attributes:
        kind: What it is called in messages.
        key: What its name is called in saved files.
        name: Registry name.
        state: Names of the learned attributes, with the rule that each obeys.
        older_state: Values of learned attributes that files of format 1 do not have.
        fitted_on_: What is told about the fitting rows; None before fitting.
        fitted_rows_: Their identity.
        messages_: What the user should know about the fit.
    """

    kind: ClassVar[str] = ""
    key: ClassVar[str] = ""
    name: ClassVar[str] = ""
    state: ClassVar[Mapping[str, StateRule] | tuple[str, ...]] = ()
    older_state: ClassVar[Mapping[str, Any]] = {}

    def __post_init__(self) -> None:
        self.fitted_on_: dict[str, Any] | None = None
        self.fitted_rows_ = FittedRows()
        self.messages_: list[str] = []

    @classmethod
    @abstractmethod
    def registry(cls) -> Registry[Any]:
        """Where methods of this kind are registered."""

    @classmethod
    @abstractmethod
    def root(cls) -> "type[Saved]":
        """The base class of this kind."""

    @classmethod
    def holds(cls) -> "type[Saved]":
        """The base class of the fitted things inside its learned values; its own unless it says otherwise."""
        return cls.root()

    @abstractmethod
    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters by name."""

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
            >>> from vlmcal.types.predictions import Predictions
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
        found: type[Self] = cls if cls.name == name != "" else cls.registry().get(name)
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
    if isinstance(value, Saved):
        return {"nested": value.to_state()}
    return [_pack(item) for item in value] if isinstance(value, list) else value


def _unpack(value: Any, root: type[Saved]) -> Any:
    if isinstance(value, dict) and set(value) == {"nested"}:
        return root.find(value["nested"]).from_dict(value["nested"])
    return [_unpack(item, root) for item in value] if isinstance(value, list) else value
