"""From an experiment to its cells: product of the axes, minus the axes a method ignores."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

from vlmcal.data.base import as_spec
from vlmcal.errors import SpecError
from vlmcal.experiment.method_choice import chain, checked, every, method_options
from vlmcal.experiment.protocol import data_label, split_settings
from vlmcal.experiment.spec import ExperimentSpec
from vlmcal.hashing import canonical, digest
from vlmcal.learners.base import LEARNERS, Learner
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.objectives.own import OWN, left_out, on_method
from vlmcal.objectives.presets import PRESETS
from vlmcal.options import build
from vlmcal.test_time.base import ADAPTATIONS, Adaptation
from vlmcal.training.config import TrainConfig
from vlmcal.types.shown import plural

_MANY_TERMS = 3
_MOST_CELLS = 100_000
ID_FORMAT = 1  # raise only when the meaning of an id changes; a golden test guards it


@dataclass(frozen=True)
class Cell:
    """One thing to train (or, for zero-shot and test-time methods, to evaluate).

    Attributes:
        data: {"name": ..., "protocol": ..., options}.
        backbone: Name of the dual encoder.
        method: {"name": ..., options that differ from the defaults}; of a test-time method "start" is the
            method whose model it adapts.
        objective: Canonical objective, or None when the method ignores it.
        shots, seed: None when the method ignores them.
        train: Settings that differ from the shared recipe; None when the method ignores them.
    """

    data: Mapping[str, Any]
    backbone: str
    method: Mapping[str, Any]
    objective: Any
    shots: int | None
    seed: int | None
    train: Mapping[str, Any] | None

    def label(self) -> str:
        """Short text for progress and tables."""
        return self._label

    @cached_property
    def _label(self) -> str:
        names = " from ".join(str(each["name"]) for each in chain(self.method))
        parts = [data_label(self.data)]
        parts.append(names.removesuffix(" from zero_shot"))
        if self.objective is not None:
            parts.append(objective_label(self.objective, str(self.learner["name"])))
        if self.shots is not None:
            parts.append(plural(self.shots, "shot"))
        # A run of one centre view is the plain case.
        if self.train and self.train.get("views", 1) != 1:
            parts.append(f"views {self.train['views']}")
        if self.seed is not None:
            parts.append(f"seed {self.seed}")
        return " | ".join(parts)

    @cached_property
    def key(self) -> str:
        """What tells it from the other cells of a plan: 16 hexadecimal digits; no :func:`run_id`."""
        return digest(canonical(self))[:16]  # as of its record in a store

    def train_config(self) -> TrainConfig:
        """The full recipe of this cell."""
        return TrainConfig(**(self.train or {}))

    @property
    def learner(self) -> Mapping[str, Any]:
        """The method that is trained, with its options: what a test-time method starts from, else itself."""
        return chain(self.method)[-1]

    def learner_class(self) -> type[Learner]:
        """The class of :attr:`learner`."""
        return LEARNERS.get(self.learner["name"])

    def learner_config(self) -> Any:
        """The options of :attr:`learner`."""
        options = {key: value for key, value in self.learner.items() if key != "name"}
        return self.learner_class().Config(**options)

    def adaptation(self) -> Adaptation | None:
        """The test-time method with its options; None where nothing is adapted."""
        return None if self.method is self.learner else build(ADAPTATIONS, self.method)

    def start(self) -> "Cell":
        """The cell that trains what this one adapts; itself where nothing is adapted."""
        if self.method is self.learner:
            return self
        ignored = self.learner_class().ignores
        return replace(self, method=self.learner, seed=None if "seed" in ignored else self.seed)

    def trained_as(self) -> "Cell | None":
        """The cell whose trained run this one predicts with, or None where it is trained itself."""
        other = self.learner_class().trained_as(self.learner_config())
        return (
            None
            if other is None
            else replace(self, method=canonical(method_options(other).options))
        )

    def sum(self) -> Sum:
        """The objective as a weighted sum; read once."""
        return self._sum

    @cached_property
    def loader(self) -> dict[str, Any]:
        """The part of ``data`` that says what is loaded."""
        return split_settings(self.data)[0]

    @cached_property
    def protocol(self) -> dict[str, Any]:
        """The part of ``data`` that says which rows are trained, calibrated and tested on."""
        return split_settings(self.data)[1]

    @cached_property
    def _sum(self) -> Sum:
        return parse_objective(self.objective if self.objective is not None else "ce")


def run_id(cell: Cell, data_fingerprint: str, backbone_fingerprint: str) -> str:
    """Content-addressed id: 16 hexadecimal digits of a SHA-256.

    It covers the cell without defaults, the versions of its learner and objectives, and the
    fingerprints of the data and the backbone; never a path, a date or a machine.
    """
    versions = {"learner": getattr(cell.learner_class(), "version", 1)}
    for each in chain(cell.method)[:-1]:
        versions[f"test_time/{each['name']}"] = ADAPTATIONS.get(each["name"]).version
    if cell.objective is not None:
        versions |= {
            f"objective/{part.name}": getattr(part, "version", 1) for part in cell.sum().objectives
        }
    content: dict[str, Any] = {
        "format": ID_FORMAT,
        "cell": {f.name: getattr(cell, f.name) for f in fields(cell) if f.name != "backbone"},
        "versions": versions,
        "data": data_fingerprint,
        "backbone": backbone_fingerprint,
    }
    # Targets are part of the fingerprint of the data, by their content.
    content["cell"]["data"] = {k: v for k, v in cell.protocol.items() if k != "targets"}
    if cell.objective is not None:
        content["cell"]["objective"] = cell.sum().content()
    return digest(content)[:16]


def objective_label(objective: Any, method: str | None = None) -> str:
    """Names of a canonical objective joined by plus signs; whole presets by their own name.

    Where the method is given, the label says which of its own terms the objective leaves out; exactly
    its own terms, where they are many, are "own".

    Example:
        >>> objective_label([{"name": "ce"}, {"name": "mdca"}], "kgcoop")
        "ce + mdca (without kgcoop's own term kgcoop)"
    """
    if objective is None:
        return ""
    entries = [e if isinstance(e, dict) else {"name": e} for e in objective]
    names = [str(e["name"]) for e in entries]
    for preset in PRESETS:
        try:
            items = parse_objective(preset, allow_incomplete=True).to_spec()
        except SpecError:  # a preset that must be given settings
            continue
        if len(items) > 1 and all(item in entries for item in items):
            names = [e["name"] for e in entries if e not in items] + [preset]
            break
    label = " + ".join(names)
    if method is None:
        return label
    own = parse_objective(list(LEARNERS.get(method).default_objective)).to_spec()
    if len(own) > _MANY_TERMS and canonical(own) == canonical(entries):
        return OWN
    missing = left_out(entries, own)
    if not missing:
        return label
    terms = "term" if len(missing) == 1 else "terms"
    return f"{label} (without {method}'s own {terms} {', '.join(missing)})"


def plan(spec: ExperimentSpec) -> list[Cell]:
    """All distinct cells of an experiment, checked: names, options and objectives exist.

    Raises:
        SpecError: An unknown name or option, an objective that cannot stand alone, or too many cells.
    """
    cells: dict[str, Cell] = {}
    grids: list[tuple[ExperimentSpec, tuple[Sequence[Any], ...]]] = []
    for part in spec.parts:
        methods = [each for method in part.method for each in every(method)]
        own = (part.data, part.backbone, methods, part.objective, part.shots, part.seed)
        grids.append((part, own))
    if (count := sum(math.prod(len(axis) for axis in axes) for _, axes in grids)) > _MOST_CELLS:
        raise SpecError(
            f"the axes make {count:,} cells; expected at most {_MOST_CELLS:,}: split the experiment"
        )
    for part, axes in grids:
        for data, backbone, method, objective, shots, seed in itertools.product(*axes):
            cell = _cell(data, backbone, method, objective, shots, seed, part.train)
            cells.setdefault(digest(cell), cell)
    return list(cells.values())


def _cell(
    data: Any,
    backbone: str,
    method: Any,
    objective: Any,
    shots: int,
    seed: int,
    train: Mapping[str, Any],
) -> Cell:
    data = as_spec(data)
    data = {"protocol": "all-class", "calibration": "all", **data}
    if data["calibration"] == "few":  # left out, as it was the default when ids were first given
        del data["calibration"]
    if "name" not in data and "path" not in data:
        raise SpecError(f"data: expected a name or a path, got {data}")
    chosen = method_options(method)
    options = chosen.options
    *adaptations, trained = chain(options)
    if adaptations and data.get("calibration") == "cross-fit":
        raise SpecError(
            f'method "{options["name"]}": calibration: cross-fit predicts each training image by a model '
            "trained without it, and only one model is adapted; hold images out (all or few) or calibrate "
            "nothing"
        )
    learner = LEARNERS.get(trained["name"])
    ignored = learner.ignores
    if any(ADAPTATIONS.get(each["name"]).online for each in adaptations):
        ignored = ignored - {"seed"}  # it draws the order in which the images come
    source = _trained(trained)
    own = chosen.objective or list(source.default_objective)
    canonical_objective = None
    if "objective" not in ignored:
        meant = on_method(OWN if objective is None else objective, source.name, own)
        canonical_objective = canonical(parse_objective(meant).to_spec())
    recipe = {**source.default_train, **chosen.train, **train}
    recipe = checked(TrainConfig, recipe, "train.")
    default = TrainConfig()
    TrainConfig(**recipe)
    return Cell(
        data=canonical(data),
        backbone=backbone,
        method=canonical(options),
        objective=canonical_objective,
        shots=None if "shots" in ignored else shots,
        seed=None if "seed" in ignored else seed,
        train=None
        if "train" in ignored
        else canonical({k: v for k, v in recipe.items() if v != getattr(default, k)}),
    )


def _trained(options: Mapping[str, Any]) -> type[Learner]:
    """The method that is trained: another one where this one predicts with its run."""
    learner = LEARNERS.get(options["name"])
    config = learner.Config(**{k: v for k, v in options.items() if k != "name"})
    other = learner.trained_as(config)
    return learner if other is None else LEARNERS.get(other["name"])
