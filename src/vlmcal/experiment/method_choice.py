"""Methods as they are written: with options, by the name of a preset, at test time from another one."""

import itertools
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, NamedTuple

from vlmcal.errors import SpecError, nearest
from vlmcal.experiment.recipes import recipes
from vlmcal.hashing import canonical
from vlmcal.learners.base import LEARNERS
from vlmcal.objectives.compose import parse_objective
from vlmcal.objectives.own import on_method
from vlmcal.options import Named, axis_of, check, parameters, read
from vlmcal.test_time.base import ADAPTATIONS


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


def every(method: str | dict[str, Any]) -> list[str | dict[str, Any]]:
    """The methods that one entry stands for: a list is an axis where an option takes a single value.

    Raises:
        SpecError: Unknown method or preset.

    Example:
        >>> [each["alpha"] for each in every({"name": "wise_ft", "alpha": [0.25, 0.5]})]
        [0.25, 0.5]
    """
    named = read(method, LEARNERS.kind)
    if _adapts(named.name):
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
    merged = checked(kind, given, f'method "{name}"')
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
    given = checked(kind, named.options, who)
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


def checked(kind: type[Any], given: Mapping[str, Any], who: str) -> dict[str, Any]:
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
