"""The experiment file: what to run, validated before anything starts."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vlmcal.errors import DataError, SpecError, nearest, require_known
from vlmcal.io.unicode_text import read_text
from vlmcal.io.yaml_text import read_yaml
from vlmcal.training.config import TrainConfig

_LONGEST = 10_000  # values of an axis
_SEEDS = 2**32  # what numpy takes, too
_MOST_SHOTS = 1_000_000
_RANGE = re.compile(r"^(-?\d+)\.\.(-?\d+)$")


def expand_range(value: Any) -> list[Any]:
    """A list of axis values: "1..3" becomes [1, 2, 3], a scalar becomes a list of one.

    Example:
        >>> expand_range("1..3"), expand_range(16)
        ([1, 2, 3], [16])
    """
    if isinstance(value, str) and (match := _RANGE.match(value.strip())):
        low, high = int(match[1]), int(match[2])
        if high < low:
            raise ValueError(f"empty range {value!r}")
        if high - low >= _LONGEST:
            raise ValueError(f"{value!r} has more than {_LONGEST:,} values")
        return list(range(low, high + 1))
    return list(value) if isinstance(value, (list, tuple)) else [value]


class EvaluateSpec(BaseModel):
    """What is done with stored predictions; none of it needs retraining.

    Attributes:
        calibrators: Names, with options in parentheses, or mappings; "none" is the uncalibrated model.
        conformal: Conformal methods, likewise, whose label sets are measured.
        alpha: Target miscoverage (or risk) of the conformal methods.
        metrics: Preset name, or list of metrics: names, or with options as of calibrators.
        level: Confidence level of the intervals.
        resamples: Bootstrap resamples.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    calibrators: list[str | dict[str, Any]] = Field(default=["none", "temperature"])
    conformal: list[str | dict[str, Any]] = Field(default=[])
    alpha: float = Field(default=0.1, gt=0, lt=1)
    metrics: str | list[str | dict[str, Any]] = "default"
    level: float = Field(default=0.95, gt=0, lt=1)
    resamples: int = Field(default=1000, ge=100, le=1_000_000)

    @field_validator("calibrators", "conformal", mode="before")
    @classmethod
    def _as_list(cls, value: Any) -> Any:
        return value if isinstance(value, list) else [value]


class ExperimentSpec(BaseModel):
    """One cell or a grid; every list is an axis.

    Attributes:
        data: Data set name, path, or mapping with options; ``protocol`` is one of
            :data:`vlmcal.experiment.protocol.PROTOCOLS`, ``targets`` the data sets of those that have some.
        backbone: "pocket", a folder, or a hub id.
        method: Method names or mappings {name: ..., option: value}.
        objective: Objective per cell: a name, a mapping, or a list (a sum). None means the method's own.
        shots: Training images per class.
        seed: Seeds.
        train: Overrides of the recipe (see :class:`TrainConfig`).
        evaluate: What to do with the predictions.
        track: Trackers that show the finished runs, by name with options: tensorboard, mlflow, wandb.
        also: Further grids of the same experiment, whose cells are added; each states what differs from the
            first one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    data: list[str | dict[str, Any]]
    backbone: list[str] = Field(default=["pocket"])
    method: list[str | dict[str, Any]]
    objective: list[Any] = Field(default=[None])
    shots: list[int] = Field(default=[16])
    seed: list[int] = Field(default=[1])
    train: dict[str, Any] = Field(default={})
    evaluate: EvaluateSpec = Field(default=EvaluateSpec())
    track: list[str | dict[str, Any]] = Field(default=[])
    also: list["ExperimentSpec"] = Field(default=[])

    @property
    def parts(self) -> "tuple[ExperimentSpec, ...]":
        """The grids: this one, then those of ``also``."""
        return (self, *self.also)

    @model_validator(mode="before")
    @classmethod
    def _inherit(cls, given: Any) -> Any:
        if isinstance(given, dict) and isinstance(given.get("also"), list):
            first = {key: value for key, value in given.items() if key != "also"}
            also = [{**first, **each} if isinstance(each, dict) else each for each in given["also"]]
            return {**given, "also": also}
        return given

    @field_validator("also")
    @classmethod
    def _one_level(cls, value: list["ExperimentSpec"]) -> list["ExperimentSpec"]:
        if any(each.also for each in value):
            raise ValueError("a grid in also has no also of its own; list all of them in one")
        return value

    @field_validator("data", "backbone", "method", "objective", "shots", "seed", mode="before")
    @classmethod
    def _as_axis(cls, value: Any) -> Any:
        axis = expand_range(value)
        if not axis:
            raise ValueError("an axis needs at least one value")
        if "" in axis:
            raise ValueError('expected a name or a path, got ""')
        return axis

    @field_validator("shots", "seed", mode="before")
    @classmethod
    def _no_truth_values(cls, value: Any) -> Any:
        axis = value if isinstance(value, list | tuple) else [value]
        if any(isinstance(each, bool) for each in axis):
            raise ValueError(f"expected whole numbers, got {value}")
        return value

    @field_validator("shots")
    @classmethod
    def _positive(cls, value: list[int]) -> list[int]:
        if any(not 1 <= v <= _MOST_SHOTS for v in value):
            raise ValueError(f"shots must be at least 1 and at most {_MOST_SHOTS:,}")
        return value

    @field_validator("seed")
    @classmethod
    def _usable(cls, value: list[int]) -> list[int]:
        if any(not 0 <= v < _SEEDS for v in value):
            raise ValueError("seeds must be at least 0 and below 2**32")
        return value

    @field_validator("train")
    @classmethod
    def _known_train(cls, value: dict[str, Any]) -> dict[str, Any]:
        known = {f.name for f in fields(TrainConfig)}
        for name in value:
            require_known(name, known, "unknown setting", ValueError)
        if value.get("precision") is False:  # how YAML reads a bare off
            value = {**value, "precision": "off"}
        return value


def parse_spec(data: Mapping[str, Any], where: str = "spec") -> ExperimentSpec:
    """Validate a mapping as an experiment.

    Raises:
        SpecError: Lists every problem with its place and the nearest valid name.
    """
    try:
        return ExperimentSpec.model_validate(dict(data))
    except ValidationError as error:
        lines = [f"{where} is not a valid experiment:"]
        for problem in error.errors():
            place = ".".join(str(p) for p in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            if problem["type"] == "extra_forbidden":
                known = (
                    EvaluateSpec.model_fields
                    if place.startswith("evaluate.")
                    else ExperimentSpec.model_fields
                )
                name = str(problem["loc"][-1])
                message = f'unknown key "{name}"; {nearest(name, known)}'
            elif problem["type"] == "missing":
                message = "is missing"
            lines.append(f"  {place}: {message}")
        raise SpecError("\n".join(lines)) from error


def load_spec(path: Path, overrides: Sequence[str] = ()) -> ExperimentSpec:
    """Read a YAML file and apply ``key.sub=value`` overrides (values are YAML, too).

    Raises:
        SpecError: The file cannot be read, is not YAML, or is not a valid experiment.
    """
    try:
        data = read_yaml(read_text(path))
    except OSError as error:
        raise SpecError(f"experiment file {path} cannot be read: {error.strerror}") from error
    except DataError as error:
        raise SpecError(f"experiment file {error}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"experiment file {path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise SpecError(f"experiment file {path}: expected a mapping with data and method")
    return parse_spec(overridden(data, overrides), str(path))


def overridden(data: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A specification with ``key.sub=value`` changes; what a grid of ``also`` states itself stays.

    Raises:
        SpecError: A change is not of that form, or a value is nothing that JSON could hold.
    """
    for override in overrides:
        _override(data, override)
    _require_plain(data, "")
    return data


def _require_plain(value: Any, place: str) -> None:
    """Refuse what YAML reads and no setting is: NaN, infinity, dates, bytes."""
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_plain(inner, f"{place}.{key}".removeprefix("."))
    elif isinstance(value, list):
        for inner in value:
            _require_plain(inner, place)
    elif isinstance(value, float) and not math.isfinite(value):
        if "data" not in place.split(".")[:2]:
            return  # what is typed refuses it with its own words, or takes it
        raise SpecError(f"{place}: expected a finite number, got {value}")
    elif value is not None and not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise SpecError(
            f"{place}: expected text, a number, true or false, got a {kind} ({value!r}); put it in quotes"
        )


def _override(data: dict[str, Any], text: str) -> None:
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise SpecError(f'override "{text}": expected key.sub=value, for example train.epochs=10')
    *parents, last = key.split(".")
    target = data
    for name in parents:
        nested = target.setdefault(name, {})
        if not isinstance(nested, dict):
            raise SpecError(f'override "{text}": "{name}" is not a mapping in this file')
        target = nested
    try:
        target[last] = read_yaml(value)
    except yaml.YAMLError as error:
        shown = text if len(text) <= 60 else f"{text[:60]}..."
        raise SpecError(f'override "{shown}": the value is not valid YAML: {error}') from error
