"""Measured beside published, number by number, with what their settings have in common."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import norm, t

from vlmcal.data.protocol_variants import SHIFTED_IMAGENETS
from vlmcal.experiment.published.measured import IMPORTED, Result
from vlmcal.experiment.published.tables import AVERAGES, Entry, papers
from vlmcal.types.arrays import FloatArray
from vlmcal.types.shown import plural

ELEVEN = (
    *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)
# The definitions that the papers' own evaluators have, by metric preset.
EVALUATORS: Mapping[str, Mapping[str, str]] = {
    "tcpt-evaluator": {
        "ece": "tcpt_ece",
        "mce": "tcpt_mce",
        "ace": "tcpt_adaptive_ece",
        "macro_f1": "tcpt_macro_f1",
    },
    "calibprompt": {"ece": "dac_ece", "mce": "dac_mce", "ace": "dac_adaptive_ece"},
    "c-tpt": {"ece": "ctpt_ece"},
    "": {},
}
_BINNED = frozenset({"ece", "mce", "ace"})
_FAMILIES = (
    ("ViT-B/16", r"vit-?b(ase)?[-_/ ]?(patch|p)?[-_]?16"),
    ("ViT-B/32", r"vit-?b(ase)?[-_/ ]?(patch|p)?[-_]?32"),
    ("ViT-L/14", r"vit-?l(arge)?[-_/ ]?(patch|p)?[-_]?14"),
    ("RN50", r"rn[-_]?50|resnet[-_]?50"),
)
FAR = 2.0  # spreads; a calm word for less


class Setting(NamedTuple):
    """One setting of both sides.

    Attributes:
        name: "backbone", "shots", "seeds", "views" or "bins".
        published, measured: As text; "" where it is not stated.
        agrees: None where it is not known.
    """

    name: str
    published: str
    measured: str
    agrees: bool | None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A published number and the measured one.

    Attributes:
        entry: The published number.
        value: The measured one: the mean over seeds.
        low, high: Its interval: Student's t over seeds; of one seed, normal with the bootstrap error.
        spread: Standard deviation over seeds; of one seed, the bootstrap standard error.
        seeds: How many seeds.
        settings: What the two have in common.
        runs: Ids.
    """

    entry: Entry
    value: float
    low: float
    high: float
    spread: float
    seeds: int
    settings: tuple[Setting, ...]
    runs: tuple[str, ...]

    @property
    def difference(self) -> float:
        """Measured - published."""
        assert self.entry.value is not None
        return self.value - self.entry.value

    @property
    def spreads(self) -> float | None:
        """The difference in units of the measured spread; None where that is 0."""
        return self.difference / self.spread if self.spread > 0 else None

    @property
    def differing(self) -> tuple[Setting, ...]:
        """Settings that do not agree, or that are not known to."""
        return tuple(setting for setting in self.settings if not setting.agrees)

    @property
    def verdict(self) -> str:
        """In words; a difference counts for something only where no setting is known to differ."""
        if not self.entry.is_target:
            return "no target"
        apart = [each.name for each in self.settings if each.agrees is False]
        if apart:
            return f"other {', '.join(apart)}"
        if self.spreads is None:
            return "spread not known"
        if abs(self.spreads) <= FAR:
            return "not distinguishable"
        return "above published" if self.difference > 0 else "below published"

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        entry = self.entry
        about = ("paper", "table", "source", "place", "method", "learner", "calibration", "split")
        return {
            **{name: getattr(entry, name) for name in (*about, "metric", "dataset", "status")},
            "published": entry.value,
            "published_sd": entry.sd,
            "measured": self.value,
            "low": self.low,
            "high": self.high,
            "spread": self.spread,
            "spread_is": "sd over seeds" if self.seeds > 1 else "bootstrap error of one seed",
            "seeds": self.seeds,
            "difference": self.difference,
            "spreads": self.spreads,
            "verdict": self.verdict,
            "notes": "; ".join(text for text in (entry.notes, entry.why_no_target) if text),
            "settings": [setting._asdict() for setting in self.settings],
            "runs": list(self.runs),
        }


def compare(found: Sequence[Entry], results: Iterable[Result]) -> list[Comparison]:
    """Every published number for which something was measured.

    The two are joined on learner, calibration, split, metric and data set; a harmonic mean needs base and new
    classes of all of its data sets. Where several settings were
    measured, those stand beside a number that have most in common with it. Averages are compared where every
    one of their data sets was measured.

    Args:
        found: Published numbers.
        results: What was measured.
    """
    groups: dict[tuple[Any, ...], list[Result]] = {}
    for result in results:
        groups.setdefault(result.setting, []).append(result)
    by_key: dict[tuple[str, ...], list[list[Result]]] = {}
    for members in groups.values():
        first = members[0]
        key = (first.learner, first.calibration, first.split, first.dataset)
        by_key.setdefault(key, []).append(members)
    known = _cells_of(found)
    compared: list[Comparison] = []
    for entry in found:
        if entry.value is None or not entry.learner or not entry.calibration:
            continue
        if entry.dataset in AVERAGES and papers()[entry.paper].averaged:
            continue
        sets = known[_row(entry)] if entry.dataset in AVERAGES else (entry.dataset,)
        if entry.dataset == "ood_average":
            sets = SHIFTED_IMAGENETS
        splits = ("base", "new") if entry.split == "harmonic" else (entry.split,)
        parts = [
            by_key.get((entry.learner, entry.calibration, split, name), [])
            for split in splits
            for name in sets
        ]
        if all(parts) and parts:
            compared.append(_comparison(entry, [_closest(entry, choices) for choices in parts]))
    return compared


def _cells_of(found: Sequence[Entry]) -> dict[tuple[object, ...], tuple[str, ...]]:
    """The data sets of every row that has an average: those it lists, or the eleven of the literature."""
    cells: dict[tuple[object, ...], list[str]] = {}
    for entry in found:
        names = cells.setdefault(_row(entry), [])
        if entry.dataset not in AVERAGES:
            names.append(entry.dataset)
    return {row: tuple(names) or ELEVEN for row, names in cells.items()}


def _row(entry: Entry) -> tuple[object, ...]:
    return (entry.paper, entry.table, entry.method, entry.split, entry.metric, entry.backbone)


def _closest(entry: Entry, choices: Sequence[list[Result]]) -> list[Result]:
    def apart(members: list[Result]) -> int:
        return sum(setting.agrees is False for setting in settings(entry, members))

    return min(choices, key=apart)


def _comparison(entry: Entry, parts: Sequence[list[Result]]) -> Comparison:
    metric = EVALUATORS[entry.evaluator].get(entry.metric, entry.metric)
    seeds = [{result.seed: result for result in members} for members in parts]
    common = [seed for seed in seeds[0] if all(seed in each for each in seeds)]
    one = len(common) < 2
    if not common:  # no seed of all data sets: one number for each, whatever its seed
        chosen = [members[:1] for members in parts]
    else:
        chosen = [[each[seed] for seed in common] for each in seeds]
    measured = [[result.measure(metric, error=one) for result in each] for each in chosen]
    numbers = np.array([[m.value for m in each] for each in measured])  # (parts, seeds)
    values, slopes = _one_number(entry, numbers)
    value = float(values.mean())
    if one:
        errors = np.array([each[0].error or 0.0 for each in measured])
        spread = float(np.sqrt(np.sum(np.square(slopes * errors))))
        half = float(norm.ppf(0.975)) * spread
    else:
        spread = float(values.std(ddof=1))
        half = float(t.ppf(0.975, len(values) - 1)) * spread / float(np.sqrt(len(values)))
    everyone = [result for each in chosen for result in each]
    return Comparison(
        entry=entry,
        value=value,
        low=value - half,
        high=value + half,
        spread=spread,
        seeds=len(values),
        settings=settings(entry, chosen[0]),
        runs=tuple(dict.fromkeys(result.run for result in everyone)),
    )


def _one_number(entry: Entry, numbers: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the entry states, by seed, and its derivative by each part for the first seed.

    The harmonic mean over data sets is that of the two averages, as most papers print it; the published
    rows have it so (their recomputed averages say where one is not).
    """
    if entry.split != "harmonic":
        return numbers.mean(axis=0), np.full(len(numbers), 1 / len(numbers))
    half = len(numbers) // 2
    b, n = numbers[:half].mean(axis=0), numbers[half:].mean(axis=0)
    total = np.where(b + n > 0, b + n, 1.0)
    by_base, by_new = (float(2 * (other / total)[0] ** 2) / half for other in (n, b))
    return 2 * b * n / total, np.repeat([by_base, by_new], half)


def settings(entry: Entry, members: Sequence[Result]) -> tuple[Setting, ...]:
    """Backbone, shots, seeds, views and bins of a published number and of what was measured."""
    first = members[0]
    ours, theirs = family(first.backbone), family(entry.backbone)
    found = [
        Setting("backbone", entry.backbone, first.backbone, ours == theirs if theirs else None)
    ]
    if entry.learner != "zero_shot":
        shots = "" if first.shots is None else str(first.shots)
        found.append(_setting("shots", _text(entry.shots), shots))
        seeds = len({result.seed for result in members})
        found.append(_setting("seeds", _text(entry.n), str(seeds)))
        if entry.views:
            found.append(_setting("views", entry.views, first.views.replace(IMPORTED, "")))
    if entry.metric in _BINNED:
        known = EVALUATORS[entry.evaluator].get(entry.metric)
        found.append(Setting("bins", known or "", known or entry.metric, known is not None or None))
    return tuple(found)


def _setting(name: str, published: str, measured: str) -> Setting:
    agrees = published == measured if published and measured else None
    return Setting(name, published, measured, agrees)


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def family(backbone: str) -> str:
    """A backbone's architecture or model as published tables call it; "" for none.

    Example:
        >>> family("openai/clip-vit-base-patch16"), family("clip-vit-b-16"), family("RN50"), family("pocket")
        ('ViT-B/16', 'ViT-B/16', 'RN50', 'pocket')
    """
    plain = backbone.lower()
    for name in ("biomedclip", "medclip", "plip", "quiltnet"):
        if name in plain.replace("-", ""):
            return name
    for name, pattern in _FAMILIES:
        if re.search(pattern, plain):
            return name
    return backbone


def summary(compared: Sequence[Comparison], found: Sequence[Entry]) -> list[str]:
    """What the comparison shows, in sentences.

    Args:
        compared: As :func:`compare` gives them.
        found: The published numbers that were looked for.
    """
    usable = [entry for entry in found if entry.value is not None and entry.learner]
    if not compared:
        return [
            f"None of {plural(len(usable), 'published number')} has a measured one: no run of the store has "
            "their learner, calibration, split and data set."
        ]
    targets = [each for each in compared if each.entry.is_target]
    fair = [each for each in targets if not any(s.agrees is False for s in each.settings)]
    near = sum(each.verdict == "not distinguishable" for each in fair)
    lines = [
        f"{len(compared):,} of {plural(len(usable), 'published number')} have a measured one; settings agree "
        f"for {len(fair)} of them, of which {near} lie within {FAR:g} spreads of the published value."
    ]
    others = len(targets) - len(fair)
    if others:
        kinds = sorted({s.name for each in targets for s in each.settings if s.agrees is False})
        lines.append(
            f"{others} were measured under other settings ({', '.join(kinds)}), so their difference says "
            "nothing about a reproduction."
        )
    if len(targets) < len(compared):
        lines.append(
            f"{len(compared) - len(targets)} stand beside published numbers that are no target."
        )
    if any(each.seeds == 1 for each in compared):
        lines.append("Measured with one seed: the spread is the bootstrap error of its test rows.")
    return lines
