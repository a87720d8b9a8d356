"""The hand-written zero-shot prompts of the literature, by data set and by paper."""

import json
import re
from functools import cache
from importlib import resources
from typing import Any

from vlmcal.errors import SpecError, nearest, require_known

DEFAULT_VARIANT = "coop"


def templates_for(name: str, variant: str = DEFAULT_VARIANT) -> tuple[str, ...]:
    """The published prompt templates of a data set, each with one ``{}`` for the class name.

    "Zero-shot CLIP" is not one thing: papers differ in wording (on DTD there are four), so state the
    variant beside every result.

    Args:
        name: Data set, in any common spelling ("OxfordPets", "oxford_pets", "pets").
        variant: Whose wording, see :func:`variants`.

    Raises:
        SpecError: Unknown data set or variant; names the nearest.

    Example:
        >>> templates_for("DTD"), templates_for("dtd", "kgcoop")
        (('{} texture.',), ('a photo of a {}, a type of texture.',))
    """
    published = _published()
    require_known(variant, variants(), "unknown template variant")
    key = _spellings().get(_plain(name))
    if key is None:
        hint = nearest(_plain(name), _spellings())
        raise SpecError(f'no published templates for data set "{name}"; {hint}')
    templates = published["variants"][variant]["templates"]
    if key not in templates:
        having = [v for v in variants() if key in published["variants"][v]["templates"]]
        raise SpecError(
            f'variant "{variant}" has no template for "{key}"; variants that do: {", ".join(having)}'
        )
    return (str(templates[key]),)


def has_templates(name: str, variant: str = DEFAULT_VARIANT) -> bool:
    """Whether :func:`templates_for` knows this data set in this variant.

    Example:
        >>> has_templates("ucf101"), has_templates("my scans")
        (True, False)
    """
    key = _spellings().get(_plain(name))
    return key in _published()["variants"].get(variant, {"templates": {}})["templates"]


def variants() -> list[str]:
    """Names of the wordings that are stored, sorted.

    Example:
        >>> variants()
        ['calibprompt', 'coop', 'kgcoop', 'photo', 'prograd', 'tcp']
    """
    return sorted(_published()["variants"])


def source_of(variant: str) -> str:
    """Which papers and code use a wording.

    Raises:
        SpecError: Unknown variant.
    """
    require_known(variant, variants(), "unknown template variant")
    return str(_published()["variants"][variant]["source"])


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


@cache
def _published() -> dict[str, Any]:
    text = resources.files(__package__).joinpath("published.json").read_text(encoding="utf-8")
    content: dict[str, Any] = json.loads(text)
    return content


@cache
def _spellings() -> dict[str, str]:
    aliases: dict[str, list[str]] = _published()["datasets"]
    return {_plain(word): key for key, words in aliases.items() for word in (key, *words)}
