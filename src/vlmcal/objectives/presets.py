"""Published combinations of objectives, as data."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

from vlmcal.errors import SpecError, nearest
from vlmcal.options import fit

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Preset:
    """A named list of objectives with a few settings.

    Attributes:
        items: The objectives; a value "$name" stands for the setting of that name.
        settings: Numeric settings and their defaults; None where a choice or a number must be given.
        choices: Names of the keys of ``table``, in order.
        table: Published settings by choice ("medclip/covid" in the file).
        summary: What it is, in one sentence.
        source: Paper and code.
    """

    items: tuple[Item, ...]
    summary: str
    source: str
    settings: Mapping[str, float | None] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    table: Mapping[tuple[str, ...], Mapping[str, float]] = field(default_factory=dict)


def _read() -> dict[str, Preset]:
    text = files("vlmcal.objectives").joinpath("presets.json").read_text("utf-8")
    found = {}
    for name, fields in json.loads(text).items():
        rows = fields.pop("table", {}).items()
        fields["table"] = {tuple(choice.split("/")): weights for choice, weights in rows}
        fields |= {key: tuple(fields.get(key, ())) for key in ("items", "choices")}
        found[name] = Preset(**fields)
    return found


PRESETS: Mapping[str, Preset] = _read()
CALIBPROMPT_WEIGHTS = PRESETS["calibprompt"].table


def expand(name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The objectives of a preset with its settings filled in.

    Args:
        name: Key of ``PRESETS``.
        parameters: Choices and settings; ``weight`` multiplies every weight of the preset.

    Raises:
        SpecError: An unknown parameter, a choice without published settings, or a setting left open.

    Example:
        >>> expand("calibprompt", {"backbone": "plip", "dataset": "kather"})[2]
        {'name': 'angular_separation', 'weight': 0.01}
    """
    preset = PRESETS[name]
    _refuse_unknown(name, preset, parameters)
    factor = _number(name, "weight", parameters.get("weight", 1.0))
    values = _settings(name, preset, parameters)
    items = []
    for item in preset.items:
        filled = {k: values[v[1:]] if str(v).startswith("$") else v for k, v in item.items()}
        if factor != 1.0:
            filled["weight"] = factor * filled.get("weight", 1.0)
        items.append(filled)
    return items


def _refuse_unknown(name: str, preset: Preset, parameters: Mapping[str, Any]) -> None:
    known = ["weight", *preset.choices, *preset.settings]
    for key in parameters:
        if key not in known:
            raise SpecError(
                f'preset "{name}" has no option "{key}"; {nearest(key, known)} '
                f"(options: {', '.join(known)})"
            )


def _settings(name: str, preset: Preset, parameters: Mapping[str, Any]) -> dict[str, float]:
    chosen = dict(preset.settings)
    if any(key in parameters for key in preset.choices):
        chosen.update(_published(name, preset, parameters))
    for key in preset.settings:
        if key in parameters:
            chosen[key] = _number(name, key, parameters[key])
    missing = [key for key, value in chosen.items() if value is None]
    if missing:
        raise SpecError(
            f'preset "{name}" needs {" and ".join(preset.choices)} (published: {_rows(preset)}) or '
            f"numbers for {', '.join(missing)}; calibprompt_generic has one setting for any data"
        )
    return {key: value for key, value in chosen.items() if value is not None}


def _published(name: str, preset: Preset, parameters: Mapping[str, Any]) -> Mapping[str, float]:
    choice = tuple(str(parameters.get(key, "")).lower() for key in preset.choices)
    if choice not in preset.table:
        raise SpecError(
            f'preset "{name}" has no published weights for '
            f"{', '.join(f'{k}: {v or None}' for k, v in zip(preset.choices, choice, strict=True))}; "
            f"published: {_rows(preset)}"
        )
    return preset.table[choice]


def _rows(preset: Preset) -> str:
    return ", ".join("/".join(row) for row in preset.table)


def _number(name: str, key: str, value: Any) -> float:
    number: float = fit(value, float, f'preset "{name}": {key}')
    return number
