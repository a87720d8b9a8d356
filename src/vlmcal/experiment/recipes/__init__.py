"""Settings of the papers' own runs by name, as data: one YAML file for each paper, next to this module.

A name is written where a method is (``method: tcpt-kgcoop``, ``vlmcal train --method tcpt-kgcoop``) and
stands for the method with its options, the recipe and the objective. Shots, protocol, data and backbone
stay the user's; ``setting`` says what they were in the paper.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from vlmcal.errors import SpecError
from vlmcal.io.yaml_text import read_yaml


@dataclass(frozen=True)
class Recipe:
    """One named setting.

    Attributes:
        method: {"name": method, options}.
        train: Recipe settings that differ from the shared ones.
        objective: The objective, or None for the method's own.
        paper: Title, venue and number.
        source: Where the settings were read.
        checked: What the settings and published numbers were checked against.
        setting: Shots, protocol and templates of the paper's run.
    """

    method: Mapping[str, Any]
    train: Mapping[str, Any]
    objective: Any
    paper: str
    source: str
    checked: str
    setting: str


@cache
def recipes() -> Mapping[str, Recipe]:
    """All named settings, papers together.

    Raises:
        SpecError: Two files give one name.

    Example:
        >>> recipes()["tcpt-kgcoop"].objective
        ['own', 'tcpt']
    """
    found: dict[str, Recipe] = {}
    for path in sorted(files(__name__).iterdir(), key=lambda each: each.name):
        if not path.name.endswith(".yaml"):
            continue
        paper = read_yaml(path.read_text(encoding="utf-8"))
        for name, entry in paper.pop("recipes").items():
            if name in found:
                raise SpecError(f'two recipes are called "{name}"; rename the one in {path.name}')
            found[name] = Recipe(**{"train": {}, "objective": None, **paper, **entry})
    return found
