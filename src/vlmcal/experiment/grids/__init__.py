"""The experiments of papers as data: one YAML file for each, its whole grid with its exact recipe.

``vlmcal run preset:NAME --root DATA`` runs one, given the weights and the images; ``--smoke`` runs the same
grid on the toy backbone and generated images.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from vlmcal.data.base import as_spec
from vlmcal.data.data_cards import find_card
from vlmcal.errors import SpecError, nearest
from vlmcal.experiment.protocol import ON_TARGETS, split_settings
from vlmcal.experiment.spec import ExperimentSpec, expand_range, load_spec, overridden, parse_spec
from vlmcal.io.yaml_text import read_yaml

PREFIX = "preset:"
_ROOT = "data"
# A stand-in has as few images as its protocol allows, so that a whole grid takes a minute.
_STAND_IN = {"name": "shapes", "n_classes": 4, "n_train": 16, "n_val": 4, "n_test": 3}
_SMOKE_SETS, _SMOKE_SEEDS = 2, 2
_SMOKE_TRAIN = {"epochs": 1, "batch_size": 32}
_SMOKE_EVALUATE = {"metrics": ["accuracy", "ece"], "resamples": 100}


@dataclass(frozen=True)
class PaperGrid:
    """One paper's experiment.

    Attributes:
        name: Name of the file.
        paper: Title, venue and number.
        about: What is in the grid, what is not, and why.
        published: Tables of :mod:`vlmcal.experiment.published` that have its numbers.
        experiment: The specification, as in an experiment file.
    """

    name: str
    paper: str
    about: str
    published: tuple[str, ...]
    experiment: Mapping[str, Any]


@cache
def paper_grids() -> Mapping[str, PaperGrid]:
    """All of them, by name.

    Example:
        >>> paper_grids()["tcpt-base-to-new"].published
        ('tcpt',)
    """
    found = {}
    for path in sorted(files(__name__).iterdir(), key=lambda each: each.name):
        if path.name.endswith(".yaml"):
            entry = read_yaml(path.read_text(encoding="utf-8"))
            name = path.name.removesuffix(".yaml")
            published = tuple(entry.pop("published"))
            found[name] = PaperGrid(name=name, published=published, **entry)
    return found


def grid_spec(
    name: str, overrides: Sequence[str] = (), *, root: str = _ROOT, smoke: bool = False
) -> ExperimentSpec:
    """The experiment of a paper.

    Args:
        name: See :func:`paper_grids`; with or without "preset:" in front.
        overrides: ``key.sub=value``, as for an experiment file.
        root: The folder that holds the published data sets.
        smoke: The same methods, objectives, shots and protocols on the toy backbone, one epoch each, with two
            seeds and generated images of four classes in the place of the first two data sets of each grid.

    Raises:
        SpecError: No such experiment, or a change is not valid.

    Example:
        >>> spec = grid_spec("dac", ["seed=1"], root="images")
        >>> spec.data[1]["name"], spec.data[1]["root"], spec.seed
        ('caltech101', 'images', [1])
    """
    name = name.removeprefix(PREFIX)
    if name not in paper_grids():
        raise SpecError(f'no preset "{name}" of an experiment; {nearest(name, paper_grids())}')
    own = deepcopy(dict(paper_grids()[name].experiment))
    changed = overridden(_smoke(own) if smoke else own, overrides)
    for part in (changed, *changed.get("also", ())):
        if "data" in part:
            part["data"] = [_located(each, root) for each in _listed(part["data"])]
    return parse_spec(changed, f"{PREFIX}{name}")


def load_experiment(
    text: str, overrides: Sequence[str] = (), *, root: str | None = None, smoke: bool = False
) -> ExperimentSpec:
    """The experiment of a YAML file, or of a paper by ``preset:NAME``; see :func:`grid_spec`.

    Raises:
        SpecError: It is not valid, or a file is given with what only presets have.
    """
    if text.startswith(PREFIX):
        return grid_spec(text, overrides, root=_ROOT if root is None else root, smoke=smoke)
    if smoke or root is not None:
        raise SpecError(
            f"{text}: --root and --smoke are for the experiments of papers, {PREFIX}NAME "
            f"({', '.join(paper_grids())}); a file states its data itself"
        )
    return load_spec(Path(text), overrides)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _located(data: Any, root: str) -> dict[str, Any]:
    spec = as_spec(data) if not isinstance(data, Mapping) else dict(data)
    name = str(spec.get("name", spec.get("path", "")))
    card = find_card(name)
    if card is None or "root" in spec:
        return spec
    return {**{k: v for k, v in spec.items() if k != "path"}, "name": card.name, "root": root}


def _smoke(experiment: Mapping[str, Any]) -> dict[str, Any]:
    """The same grid with generated images, the toy backbone and short trainings."""
    parts = [experiment, *({**experiment, **each} for each in experiment.get("also", ()))]
    several = len({str(each["backbone"]) for each in parts}) > 1
    # Where no training is stated, the recipes of methods would be those of the paper.
    made = _small({**experiment, "train": {}}, experiment, several)
    if "also" in made:
        made["also"] = [_small(each, experiment, several) for each in made["also"]]
    return {**made, "evaluate": {**experiment.get("evaluate", {}), **_SMOKE_EVALUATE}}


def _small(part: Mapping[str, Any], whole: Mapping[str, Any], several: bool) -> dict[str, Any]:
    """A part of a grid; where there are several backbones, images are called after theirs, too."""
    made = {**part}
    if "backbone" in made:
        made["backbone"] = ["pocket"]
    if "train" in made:
        made["train"] = dict(_SMOKE_TRAIN)
    if several:
        data, backbones = ({**whole, **part}[key] for key in ("data", "backbone"))
        made["data"] = [
            _stand_in(each, f" of {backbone}")
            for backbone in _listed(backbones)
            for each in _listed(data)[:_SMOKE_SETS]
        ]
    elif "data" in made:
        made["data"] = [_stand_in(each) for each in _listed(made["data"])[:_SMOKE_SETS]]
    if "seed" in made:
        made["seed"] = expand_range(made["seed"])[:_SMOKE_SEEDS]
    return made


def _stand_in(data: Any, more: str = "") -> dict[str, Any]:
    """Generated images in the place of a published data set, with its protocol; by its name alone."""
    spec = dict(data) if isinstance(data, Mapping) else {"name": data}
    protocol = split_settings(spec)[1]
    made = {**_shapes(f"{spec['name']}{more}"), **protocol}
    if protocol.get("protocol") in ON_TARGETS:
        names = [
            each["name"] if isinstance(each, Mapping) else each for each in protocol["targets"]
        ]
        made["targets"] = [{**_shapes(str(name)), "shift": 0.5} for name in names]
    return made


def _shapes(name: str) -> dict[str, Any]:
    return {**_STAND_IN, "called": name, "seed": sum(name.encode()) % 1000}
