"""From an experiment to its cells: product of the axes, minus the axes a method ignores."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

from vlmcal.data.base import as_spec
from vlmcal.errors import SpecError, nearest
from vlmcal.experiment.protocol import data_label, split_settings
from vlmcal.experiment.recipes import recipes
from vlmcal.experiment.spec import ExperimentSpec
from vlmcal.hashing import canonical, digest
from vlmcal.learners.base import LEARNERS, Learner
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.objectives.own import OWN, left_out, on_method
from vlmcal.objectives.presets import PRESETS
from vlmcal.options import Named, axis_of, build, check, parameters, read
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
        if (
            self.train and self.train.get("views", 1) != 1
        ):  # a run of one centre view is the plain case
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


def chain(method: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """A method, what it starts from, and so on to the method that is trained.

    Example:
        >>> [each["name"] for each in chain({"name": "cots", "start": {"name": "tpt"}})]
        ['cots', 'tpt', 'zero_shot']
    """
    found = [method]
    while _adapts(name := str(found[-1]["name"])):
        start = found[-1].get("start", ADAPTATIONS.get(name).start)
        found.append({"name": start} if isinstance(start, str) else start)
    return found


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
    grids: list[tuple[ExperimentSpec, tuple[Sequence[Any], ...]]] = [
        (part, (part.data, part.backbone, _methods(part), part.objective, part.shots, part.seed))
        for part in spec.parts
    ]
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
    recipe = _checked(TrainConfig, recipe, "train.")
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


class Choice(NamedTuple):
    """What a method's or a preset's name, with options, stands for.

    Attributes:
        options: {"name": method, options}.
        train: Recipe of the preset.
        objective: Objective of the preset; None for the method's own.
    """

    options: dict[str, Any]
    train: dict[str, Any]
    objective: list[Any] | None


def _methods(part: ExperimentSpec) -> list[str | dict[str, Any]]:
    return [each for method in part.method for each in every(method)]


def every(method: str | dict[str, Any]) -> list[str | dict[str, Any]]:
    """The methods that one entry stands for: a list is an axis where an option takes a single value.

    Raises:
        SpecError: Unknown method or preset.

    Example:
        >>> [each["alpha"] for each in every({"name": "wise_ft", "alpha": [0.25, 0.5]})]
        [0.25, 0.5]
    """
    named = read(method, LEARNERS.kind)
    if named.name in ADAPTATIONS:
        kind: type[Any] = ADAPTATIONS.get(named.name)
    else:
        kind = LEARNERS.get(find_preset(named.name).options["name"]).Config
    known = parameters(kind)
    axes = {
        key: values
        for key, value in named.options.items()
        if key in known and (values := axis_of(value, known[key]))
    }
    if not axes:
        return [method]
    return [
        {"name": named.name, **named.options, **dict(zip(axes, values, strict=True))}
        for values in itertools.product(*axes.values())
    ]


def method_options(method: str | Mapping[str, Any]) -> Choice:
    """The choice that a method with its options makes, with only those options that differ from the defaults.

    Raises:
        SpecError: Unknown method, preset or option, or a preset's objective that cannot stand alone.
    """
    named = read(method, LEARNERS.kind)
    if _adapts(named.name):
        return _test_time(named)
    preset = find_preset(named.name)
    name = preset.options["name"]
    kind = LEARNERS.get(name).Config
    given = {k: v for k, v in preset.options.items() if k != "name"} | named.options
    merged = _checked(kind, given, f'method "{name}"')
    try:
        config = kind(**merged)
    except (TypeError, ValueError) as error:
        raise SpecError(f'method "{name}": {error}') from error
    defaults = {f.name: f.default for f in fields(kind)}
    kept = {k: getattr(config, k) for k in merged if getattr(config, k) != defaults[k]}
    return preset._replace(options={"name": name, **kept})


def _adapts(name: str) -> bool:
    """Whether it is a test-time method; what is learned is known without importing these."""
    return name not in LEARNERS and name in ADAPTATIONS


def _test_time(named: Named) -> Choice:
    """The choice of a test-time method: its options, with recipe and objective of what it starts from."""
    kind, who = ADAPTATIONS.get(named.name), f'method "{named.name}"'
    given = _checked(kind, named.options, who)
    try:
        start = method_options(given.pop("start", kind.start))
        kind.check_start(LEARNERS.get(chain(start.options)[-1]["name"]))
        made = kind(start=start.options, **given)
    except SpecError as error:
        raise SpecError(f"{who}: {str(error).removeprefix(f'{named.name}: ')}") from error
    kept = {k: getattr(made, k) for k in given if getattr(made, k) != getattr(kind, k)}
    if start.options != {"name": kind.start}:
        kept["start"] = canonical(start.options)
    return start._replace(options={"name": named.name, **kept})


def _checked(kind: type[Any], given: Mapping[str, Any], who: str) -> dict[str, Any]:
    """Checked options; 1 stays 1 where a number is meant, as the ids of stored runs hold it so."""
    fitted = check(kind, given, who)
    return {key: given[key] if given[key] == value else value for key, value in fitted.items()}


def find_preset(name: str) -> Choice:
    """Options, recipe and objective of a named preset; no more than the name for a plain method.

    Presets are those of the methods and the recipes of papers (:mod:`vlmcal.experiment.recipes`). Every
    published trainer draws a fresh crop in each epoch, so a preset that does not state its views has
    ``views: epochs``.

    Raises:
        SpecError: There is neither a preset nor a method of this name, or the preset's objective is
            unknown or cannot stand alone.
    """
    if ":" in name or name in LEARNERS:
        return Choice({"name": name}, {}, None)
    presets: dict[str, tuple[dict[str, Any], Mapping[str, Any], Any]] = {}
    for learner_name, learner in LEARNERS.items():
        for preset, entry in vars(learner).get("presets", {}).items():  # not those of its base
            options = {"name": learner_name, **entry.get("method", {})}
            found = (options, entry.get("train", {}), entry.get("objective"))
            presets.setdefault(preset, found)  # methods that share a preset: the first one
    presets |= {
        key: (dict(recipe.method), recipe.train, recipe.objective)
        for key, recipe in recipes().items()
    }
    if name not in presets:
        valid = [*LEARNERS.names(), *ADAPTATIONS.names(), *presets]
        raise SpecError(f'unknown method or preset "{name}"; {nearest(name, valid)}')
    options, train, objective = presets[name]
    method = LEARNERS.get(options["name"])
    if objective is not None:
        try:
            meant = on_method(objective, options["name"], method.default_objective)
            objective = parse_objective(meant).to_spec()
        except SpecError as error:
            raise SpecError(f'preset "{name}": {error}') from error
    views = {} if "train" in method.ignores else {"views": "epochs"}
    return Choice(options, {**method.default_train, **views, **train}, objective)
