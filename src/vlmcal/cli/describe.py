"""``vlmcal list`` and ``vlmcal describe``: what there is, from the registries themselves."""

import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from inspect import Parameter, cleandoc, signature
from typing import Annotated, Any

import typer

from vlmcal.cli.option_groups import arg
from vlmcal.errors import SpecError, nearest, require_known
from vlmcal.extras import available
from vlmcal.registry import Registry, plug_ins
from vlmcal.sketches import Sketch, mentions, sketches


def _registered(package: str, registry: str, only: str = "", *, extra: str = "") -> dict[str, Any]:
    """What a package registers, read from its text, and what plug-ins add.

    Plug-ins of a registry whose package needs a module that is not installed cannot be there.
    """
    found: dict[str, Any] = dict(sketches(package, only))
    if plug_ins() and (not extra or available(extra)):
        inside = importlib.util.find_spec(f"{package}.base")
        home = package if inside is not None else package.rpartition(".")[0]
        entries: Registry[Any] = getattr(importlib.import_module(f"{home}.base"), registry)
        found |= {name: entry for name, entry in entries.items() if name not in found}
    return found


def _methods(only: str = "") -> Mapping[str, Any]:
    return {
        **_registered("vlmcal.learners", "LEARNERS", only=only, extra="torch"),
        **_registered("vlmcal.test_time", "ADAPTATIONS", only=only, extra="torch"),
    }


def _objectives(only: str = "") -> Mapping[str, Any]:
    from vlmcal.objectives.presets import PRESETS

    return {**_registered("vlmcal.objectives", "OBJECTIVES", only=only, extra="torch"), **PRESETS}


def _metrics(only: str = "") -> Mapping[str, Any]:
    # Some are made in a loop, so that they stand in no text.
    if only and not mentions("vlmcal.metrics", only):
        return {}
    from vlmcal.metrics.base import METRICS

    return dict(METRICS.items())


def _elicitors(only: str = "") -> Mapping[str, Any]:
    from vlmcal.elicit.base import GROUPS

    groups = {name: f"Stands for {', '.join(members)}." for name, members in GROUPS.items()}
    return {**_registered("vlmcal.elicit.elicitors", "ELICITORS", only=only), **groups}


def _judges(only: str = "") -> Mapping[str, Any]:
    from vlmcal.elicit.judges.base import JUDGES

    return dict(JUDGES.items())


def _backbones(only: str = "") -> Mapping[str, Any]:
    from vlmcal.backbones.model_cards import model_cards

    own = {
        "pocket": "Tiny CLIP that ships with the package; a toy for tests and demonstrations.",
        **{name: card.text() for name, card in model_cards().items()},
        "<folder or file>": "A checkpoint of any of these families, or a file of precomputed features.",
        "<hub id>": "Any of them from the hub, for example openai/clip-vit-base-patch16.",
    }
    plugged = _registered("vlmcal.backbones.families", "BACKBONES", only=only, extra="torch")
    # Layouts of files are read by themselves; they are no names of backbones.
    return own | {n: entry for n, entry in plugged.items() if not hasattr(entry, "recognises")}


def _presets(only: str = "") -> Mapping[str, Any]:
    """Presets of the methods, then the recipes of papers, those of one paper together."""
    from vlmcal.experiment.recipes import recipes

    own = {
        name: preset_text(method, preset)
        for method, learner in _methods(only).items()
        for name, preset in (_attribute(learner, "presets") or {}).items()
    }
    of_papers = {
        name: preset_text(
            f"{recipe.paper}: {recipe.method['name']}",
            {**asdict(recipe), "method": {k: v for k, v in recipe.method.items() if k != "name"}},
        )
        for name, recipe in recipes().items()
    }
    return own | of_papers


def _experiments(only: str = "") -> Mapping[str, Any]:
    """What `vlmcal run preset:NAME` runs."""
    import yaml

    from vlmcal.experiment.grids import PREFIX, paper_grids

    return {
        f"{PREFIX}{name}": f"{grid.paper}\n\n{grid.about}\n\n"
        + yaml.safe_dump(dict(grid.experiment), default_flow_style=None, sort_keys=False, width=120)
        for name, grid in paper_grids().items()
    }


def _attribute(entry: Any, name: str) -> Any:
    return entry.attribute(name) if isinstance(entry, Sketch) else getattr(entry, name, None)


def preset_text(method: str, preset: Mapping[str, Any]) -> str:
    """Method, source and own objective of a preset in one line, then its settings as in a YAML file.

    Example:
        >>> print(preset_text("coop", {"train": {"epochs": 5}, "objective": ["ce", "mdca"], "source": "A"}))
        coop: A; objective [ce, mdca]
        <BLANKLINE>
        train: {epochs: 5, views: epochs}
        objective: [ce, mdca]
    """
    import yaml

    # A preset that does not state its views has a fresh crop in every epoch, as all published trainers.
    train = preset.get("train", {})
    preset = {**preset, "train": {**train, "views": train.get("views", "epochs")}}
    rows = {
        key: yaml.safe_dump(preset[key], default_flow_style=True, width=math.inf).strip()
        for key in ("method", "train", "objective")
        if preset.get(key)
    }
    rows |= {key: preset[key] for key in ("setting", "checked") if key in preset}
    first = f"{method}: {preset.get('source', '')}"
    if "objective" in rows:
        first += f"; objective {rows['objective']}"
    return "\n".join([first, "", *(f"{key}: {text}" for key, text in rows.items())])


# Kind -> what there is of it; with a name, what there may be under that name.
KINDS: dict[str, Callable[..., Mapping[str, Any]]] = {
    "methods": _methods,
    "objectives": _objectives,
    "calibrators": partial(_registered, "vlmcal.calibrators", "CALIBRATORS"),
    "conformal": partial(_registered, "vlmcal.conformal", "CONFORMAL"),
    "metrics": _metrics,
    "data": partial(_registered, "vlmcal.data", "DATASETS"),
    "questions": partial(_registered, "vlmcal.data.vqa", "VQA_LAYOUTS"),
    "elicitors": _elicitors,
    "judges": _judges,
    "backbones": _backbones,
    "experiments": _experiments,
    "trackers": partial(_registered, "vlmcal.experiment.trackers", "TRACKERS", extra="torch"),
    "engines": partial(_registered, "vlmcal.experiment.engines", "ENGINES", extra="torch"),
    "presets": _presets,
}


def list_names(
    kind: Annotated[str, arg("methods, objectives, calibrators, metrics, ...")] = "",
) -> None:
    """List what is available of one kind, or the kinds."""
    if not kind:
        typer.echo("\n".join(KINDS))
        return
    require_known(kind, KINDS, "unknown kind")
    entries = KINDS[kind]()
    width = max((len(name) for name in entries), default=0)
    for name, entry in entries.items():
        typer.echo(f"{name:<{width}}  {first_line(entry)}")


def describe(name: Annotated[str, arg("Name of anything that is listed.")]) -> None:
    """Print what something is, its parameters with defaults, and its source."""
    found = _called(name, only=name) or _called(name)
    if not found:
        known = {each for entries in KINDS.values() for each in entries()}
        raise SpecError(f'nothing is called "{name}"; {nearest(name, known)}')
    typer.echo("\n\n".join(description(name, kind, entry) for kind, entry in found))


def _called(name: str, only: str = "") -> list[tuple[str, Any]]:
    every = ((kind, entries(only)) for kind, entries in KINDS.items())
    return [(kind, listed[name]) for kind, listed in every if name in listed]


def first_line(entry: Any) -> str:
    """One line about an entry."""
    return documentation(entry).strip().split("\n")[0]


def documentation(entry: Any) -> str:
    """The docstring, definition or text of an entry."""
    if isinstance(entry, str):
        return entry
    if isinstance(entry, Sketch):
        return entry.doc
    from vlmcal.objectives.presets import Preset

    if isinstance(entry, Preset):
        return "\n".join([entry.summary, "", *(f"  {dict(item)}" for item in entry.items)])
    function = getattr(entry, "function", entry)
    return cleandoc(getattr(function, "__doc__", None) or "")


def description(name: str, kind: str, entry: Any) -> str:
    """Everything known about an entry, as text."""
    lines = [f"{name} ({kind})", "", documentation(entry)]
    rows = parameters(entry)
    if rows:
        width = max(len(key) for key, _ in rows)
        lines += ["", "Parameters:"] + [f"  {key:<{width}}  {value}" for key, value in rows]
    if hasattr(entry, "definition"):
        from vlmcal.metrics.base import definition_of

        lines += ["", f"Definition: {definition_of(entry, {})}"]
    source = getattr(entry, "source", "")
    if isinstance(source, str) and source:
        lines += ["", f"Source: {source}"]
    return "\n".join(lines)


def parameters(entry: Any) -> list[tuple[str, str]]:
    """Names with type and default of what can be set."""
    if isinstance(entry, Sketch):
        return [(n, kind + (f" = {d}" if d else "")) for n, kind, d in entry.parameters()]
    function = getattr(entry, "function", entry)
    if not callable(function) or isinstance(function, type):
        return []
    return [
        (p.name, _type(p.annotation) + f" = {p.default!r}")
        for p in signature(function).parameters.values()
        if p.default is not Parameter.empty
    ]


def _type(annotation: Any) -> str:
    return (
        annotation.__name__
        if isinstance(annotation, type)
        else str(annotation).removeprefix("typing.")
    )
