"""Published combinations of objectives, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
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
        table: Published settings by choice.
        summary: What it is, in one sentence.
        source: Paper and code.
    """

    items: tuple[Item, ...]
    summary: str
    source: str
    settings: Mapping[str, float | None] = field(default_factory=dict)
    choices: tuple[str, ...] = ()
    table: Mapping[tuple[str, ...], Mapping[str, float]] = field(default_factory=dict)


_CALIBPROMPT = "CalibPrompt, BMVC 2025, arXiv 2509.15226; code iabh1shekbasu/CalibPrompt"
_CALIBPROMPT_ITEMS: tuple[Item, ...] = (
    {"name": "label_smoothing", "form": "others", "alpha": "$alpha"},
    {"name": "smac", "alpha": "$alpha"},
    {"name": "angular_separation", "weight": "$separation"},
)


def _row(alpha: float, separation: float) -> Mapping[str, float]:
    return {"alpha": alpha, "separation": separation}


CALIBPROMPT_WEIGHTS: Mapping[tuple[str, ...], Mapping[str, float]] = {
    ("medclip", "covid"): _row(0.2, 1.0),
    ("medclip", "rsna18"): _row(0.2, 1.0),
    ("biomedclip", "covid"): _row(0.1, 3.0),
    ("biomedclip", "rsna18"): _row(0.1, 3.0),
    ("plip", "kather"): _row(0.05, 0.01),
    ("plip", "pannuke"): _row(0.2, 0.1),
    ("plip", "digestpath"): _row(0.03, 0.001),
    ("quiltnet", "kather"): _row(0.01, 1.0),
    ("quiltnet", "pannuke"): _row(0.1, 0.001),
    ("quiltnet", "digestpath"): _row(0.05, 0.001),
}

PRESETS: Mapping[str, Preset] = {
    "tcpt": Preset(
        items=({"name": "margin_mean_var"}, {"name": "text_moments", "weight": 5.0}),
        summary="Margin mean and variance plus text moments, on top of a base loss.",
        source="TCPT, CVPR 2026; code ashshaksharifdeen/TCPT",
    ),
    "calibprompt": Preset(
        items=_CALIBPROMPT_ITEMS,
        settings={"alpha": None, "separation": None},
        choices=("backbone", "dataset"),
        table=CALIBPROMPT_WEIGHTS,
        summary="Label smoothing, SMAC and angular separation with the published weights.",
        source=_CALIBPROMPT,
    ),
    "calibprompt_generic": Preset(
        items=_CALIBPROMPT_ITEMS,
        settings={"alpha": 0.1, "separation": 0.1},
        summary="CalibPrompt with one setting for any data: the lower medians of the published ones.",
        source=_CALIBPROMPT,
    ),
    "carot": Preset(
        items=(
            {"name": "clip_contrastive"},
            {"name": "carot_orthogonality", "weight": 0.2},
            {"name": "carot_distillation", "weight": 1.5},
        ),
        summary="Contrastive loss, orthogonal image projection and distillation from a slow teacher.",
        source="CaRot, NeurIPS 2024, arXiv 2311.01723; code MLAI-Yonsei/CaRot",
    ),
    "tpt": Preset(
        items=({"name": "tpt_entropy"},),
        summary="Loss of this method: entropy of the mean prediction over confident views.",
        source="TPT, NeurIPS 2022, arXiv 2209.07511; code azshue/TPT",
    ),
    "c_tpt": Preset(
        items=({"name": "tpt_entropy"}, {"name": "text_dispersion", "weight": "$dispersion"}),
        settings={"dispersion": 50.0},
        summary="Loss of this method: TPT plus dispersion of class features (50; 20 for ImageNet shifts).",
        source="C-TPT, ICLR 2024, arXiv 2403.14119; code hee-suk-yoon/C-TPT",
    ),
    "o_tpt": Preset(
        items=({"name": "tpt_entropy"}, {"name": "text_orthogonality", "weight": "$orthogonality"}),
        settings={"orthogonality": 18.0},
        summary="Loss of this method: TPT plus orthogonal class features (18; 2 for ImageNet shifts).",
        source="O-TPT, CVPR 2025, arXiv 2503.12096; code ashshaksharifdeen/O-TPT",
    ),
    "a_tpt": Preset(
        items=({"name": "tpt_entropy"}, {"name": "text_angles", "weight": "$angles"}),
        settings={"angles": 80.0},
        summary="Loss of this method: TPT plus the smallest angle of a class (80; 10 for ImageNet shifts).",
        source="A-TPT; code MB-Shihab-Aaqil-Ahamed/A-TPT",
    ),
}


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
