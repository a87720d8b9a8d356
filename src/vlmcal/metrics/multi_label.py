"""Measure findings that do not exclude each other: each by itself, and macro, weighted and micro averages."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.kit.bootstrap import (
    FEWEST_ERRORS,
    RANGES,
    WHOLE,
    Resampled,
    bootstrap_together,
    with_interval,
)
from vlmcal.metrics.kit.pair_statistics import PairStatistics
from vlmcal.metrics.kit.row_weights import as_weights, effective_size
from vlmcal.metrics.measured import Evaluation
from vlmcal.seeding import numpy_generator
from vlmcal.types.arrays import FloatArray, IntArray, Numbers
from vlmcal.types.estimate import Asked, Estimate
from vlmcal.types.multi_label import MultiLabel

MEASURES: Final = (
    *("prevalence", "auroc", "average_precision", "brier", "brier_skill", "nll", "ece"),
    *("mean_gap", "oe", "intercept", "slope"),
)
AVERAGES: Final = ("macro", "weighted", "micro")
# A finding with fewer rows of either kind is shown, but is no part of the macro and weighted averages.
FEWEST: Final = 10
DEFINITIONS: Final[Mapping[str, str]] = {
    "prevalence": "Share of the rows with known truth in which the finding is present.",
    "auroc": "Probability that a row with the finding has a higher probability than one without; ties half.",
    "average_precision": "Sum over thresholds of (R_k - R_{k-1}) P_k; ties move together.",
    "brier": "Mean (p - y)^2.",
    "brier_skill": "1 - Brier / (prevalence (1 - prevalence)): 0 is no better than stating the prevalence.",
    "nll": "Mean of -log p where the finding is present and -log(1 - p) where it is absent.",
    "ece": "Sum over 15 equal-width bins of the share of rows times |mean probability - share present|.",
    "mean_gap": "Calibration in the large: mean probability less prevalence; 0 is right.",
    "oe": "Rows with the finding over the sum of its probabilities; below 1 these are too high.",
    "intercept": "Shift of the log-odds that makes the probabilities right on average; 0 is right.",
    "slope": "Factor of the log-odds that fits best; below 1 the probabilities are too extreme.",
    "macro": f"Mean over the findings with at least {FEWEST} rows with and {FEWEST} without them.",
    "weighted": "The same mean, each finding weighted by its number of rows with it.",
    "micro": "All known pairs of row and finding pooled; dominated by easy absences.",
}


def evaluate_multi_label(
    rows: MultiLabel,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
    weights: Numbers | None = None,
) -> Evaluation:
    """Measures of each finding (``groups``), and their averages (``estimates``: "macro_auroc", ...).

    Intervals draw rows, or whole groups, once for all findings together (BCa bootstrap; recalibration by one
    Newton step a draw). The ECE, which a bootstrap inflates, has the interval of the metric ``ece`` for one
    finding and for the pooled pairs (pairs of a row are one unit); for the averages it is the average of the
    findings' intervals, which covers more than it says.

    Args:
        rows: With labels.
        level: Confidence level.
        resamples: Number of resamples; 0 for no intervals.
        seed: Of every draw.
        weights: (N,) weights of the rows, or None.

    Raises:
        DataError: No truth is known, or weights are negative or all zero.
        SpecError: A level outside (0, 1).

    Source: macro, weighted and micro averages as in scikit-learn; one-step bootstrap: Moulton and Zeger,
    "Bootstrapping generalized linear models", Computational Statistics & Data Analysis 1991.

    Example:
        >>> rows = MultiLabel(
        ...     probabilities=[[0.9, 0.2], [0.4, 0.7], [0.6, 0.1], [0.2, 0.3]],
        ...     labels=[[1, 0], [0, 1], [0, 0], [1, 0]], names=("edema", "mass"))
        >>> found = evaluate_multi_label(rows, resamples=0)
        >>> found.groups["edema"]["auroc"].value, found.groups["mass"]["auroc"].value
        (0.5, 1.0)
        >>> found["macro_auroc"].value, round(found["micro_auroc"].value, 4)
        (0.75, 0.7667)
    """
    if not 0 < level < 1:
        raise SpecError(f"level: expected a number between 0 and 1, got {level}")
    weight = None if weights is None else as_weights(weights, len(rows))
    if weight is not None and not weight.all():  # rows of weight 0 are no rows
        rows, weight = rows.subset(weight > 0), weight[weight > 0]
    known = rows.known
    measured = np.flatnonzero(known.any(axis=0))
    if not measured.size:
        raise DataError("no truth is known, so nothing can be measured")
    joint = _Joint(rows, measured, weight)
    names = [rows.names[at] for at in measured]
    values = joint(np.ones(len(rows)))
    drawn: list[Resampled] = []
    several = rows.groups is None or len(np.unique(rows.groups)) > 1
    if resamples > 0 and several and len(rows) > 1:
        generator = numpy_generator(seed, "bootstrap", "multi-label")
        drawn = bootstrap_together(
            joint,
            len(rows),
            groups=rows.groups,
            resamples=resamples,
            generator=generator,
            cells=int(known.sum()),
        )
    estimates = [_estimate(value, drawn, at, level, joint) for at, value in enumerate(values)]
    of_name = dict(zip(joint.keys, estimates, strict=True))
    if drawn and weight is None:
        _infer_ece(of_name, rows, measured, level, seed)
        _average_ece(of_name, joint, values)
    averages = {
        f"{average}_{name}": of_name[average, name] for average in AVERAGES for name in MEASURES
    }
    groups = {name: {m: of_name[name, m] for m in MEASURES} for name in names}
    return Evaluation(
        estimates=averages,
        definitions=dict(DEFINITIONS),
        n=len(rows),
        level=level,
        groups=groups,
        notes=_notes(rows, joint, weight, bool(drawn)),
    )


class _Joint:
    """All measures of all findings and averages, as one function of the row weights.

    Attributes:
        keys: (finding or average, measure) of each number.
        counted: Which of the measured findings are part of the averages.
        scarce: Findings with too few rows of one kind for an interval.
        n: Rows (or pairs, for "micro") behind each finding and average.
    """

    def __init__(self, rows: MultiLabel, measured: IntArray, weight: FloatArray | None) -> None:
        row, part = np.nonzero(rows.known[:, measured])
        p = rows.probabilities[:, measured][row, part]
        present = rows.labels[:, measured][row, part] == 1
        self.single, self.pooled = (
            PairStatistics(
                p, present, row, of, rows=len(rows), weights=weight, resolution=rows.resolution
            )
            for of in (part, np.zeros(len(part), dtype=np.int64))
        )
        count = len(measured)
        names = [rows.names[at] for at in measured]
        cases = np.bincount(part, present, count)
        others = np.bincount(part, minlength=count) - cases
        enough = (cases >= FEWEST) & (others >= FEWEST)
        self.enough = bool(enough.any())
        self.counted = np.flatnonzero(enough if self.enough else (cases > 0) & (others > 0))
        self.left_out = [names[at] for at in np.setdiff1d(np.arange(count), self.counted)]
        fewest = np.minimum(cases, others)
        self.scarce = {n for n, few in zip(names, fewest, strict=True) if few < FEWEST_ERRORS}
        if len(self.counted) and fewest[self.counted].max() < FEWEST_ERRORS:
            self.scarce |= {"macro", "weighted"}
        if min(cases.sum(), others.sum()) < FEWEST_ERRORS:
            self.scarce.add("micro")
        self.n = dict(zip(names, np.bincount(part, minlength=count).tolist(), strict=True))
        self.n |= {"macro": len(rows), "weighted": len(rows), "micro": len(part)}
        self.keys = [(name, m) for m in MEASURES for name in (*names, *AVERAGES)]

    def __call__(self, weights: FloatArray) -> FloatArray:
        single, pooled = self.single(weights), self.pooled(weights)
        share = single["cases"][self.counted]
        found: list[FloatArray] = []
        for name in MEASURES:
            values = single[name]
            some = values[self.counted]
            with np.errstate(invalid="ignore"):
                macro = some.mean() if some.size else np.nan
                weighted = share @ some / share.sum() if some.size else np.nan
            found += [values, np.array([macro, weighted]), pooled[name]]
        return np.concatenate(found)


def _estimate(
    value: float, drawn: Sequence[Resampled], at: int, level: float, joint: _Joint
) -> Estimate:
    name, measure = joint.keys[at]
    plain = Estimate(float(value), n=joint.n[name])
    if not drawn or name in joint.scarce or not np.isfinite(value):
        return plain
    if measure == "ece":  # a resample inflates it; see _infer_ece
        return plain
    return with_interval(plain, drawn[at], level, RANGES.get(measure, WHOLE))


def _infer_ece(
    found: dict[tuple[str, str], Estimate],
    rows: MultiLabel,
    measured: IntArray,
    level: float,
    seed: int,
) -> None:
    """The interval, floor and test of the metric ``ece`` for each finding and for the pooled pairs."""
    assert ece.infer is not None
    units = np.arange(len(rows)).astype(np.str_) if rows.groups is None else rows.groups
    for at in measured:
        name, keep = rows.names[at], rows.known[:, at]
        if found[name, "brier"].low is None:
            continue
        found[name, "ece"] = ece.infer(
            rows.probabilities[keep, at],
            rows.labels[keep, at] == 1,
            resolution=rows.resolution,
            asked=Asked(
                level,
                None if rows.groups is None else rows.groups[keep],
                numpy_generator(seed, "interval", "ece", name),
            ),
        )
    row, column = np.nonzero(rows.known)
    if found["micro", "brier"].low is not None:
        found["micro", "ece"] = ece.infer(
            rows.probabilities[row, column],
            rows.labels[row, column] == 1,
            resolution=rows.resolution,
            asked=Asked(level, units[row], numpy_generator(seed, "interval", "ece")),
        )


def _average_ece(found: dict[tuple[str, str], Estimate], joint: _Joint, values: FloatArray) -> None:
    """Averages of the findings' intervals (and floors) of the ECE, where all of them have one."""
    names = [name for name in joint.n if name not in AVERAGES]
    parts = [found[names[at], "ece"] for at in joint.counted]
    if not parts or any(part.low is None or part.floor is None for part in parts):
        return
    cases = values[[joint.keys.index((names[at], "prevalence")) for at in joint.counted]]
    cases = cases * np.array([part.n for part in parts])
    for average, share in (
        ("macro", np.full(len(parts), 1 / len(parts))),
        ("weighted", cases / cases.sum()),
    ):
        low, high, floor = (
            float(share @ np.array([getattr(part, end) for part in parts]))
            for end in ("low", "high", "floor")
        )
        own = found[average, "ece"]
        found[average, "ece"] = Estimate(
            own.value, low, high, n=own.n, method="average of the findings' intervals", floor=floor
        )


def _notes(rows: MultiLabel, joint: _Joint, weight: FloatArray | None, drawn: bool) -> list[str]:
    notes = []
    if weight is not None:
        notes.append(
            f"Weighted rows: effective number {effective_size(weight):,.1f} of {len(rows):,}."
        )
    unknown = int((~rows.known).sum())
    if unknown:
        notes.append(
            f"{unknown:,} of {rows.known.size:,} pairs of row and finding have no known truth: left out."
        )
    if joint.left_out and joint.enough:
        notes.append(
            f"{len(joint.left_out)} of {len(rows.names)} findings have fewer than {FEWEST} rows with or "
            f"without them and are left out of the macro and weighted averages: {', '.join(joint.left_out)}."
        )
    elif not joint.enough:
        notes.append(
            f"No finding has {FEWEST} rows with and without it: the averages are over those with both kinds."
        )
    few = sorted(joint.scarce - set(AVERAGES))
    if few and drawn:
        notes.append(
            f"Fewer than {FEWEST_ERRORS} rows with or without them, so no intervals: {', '.join(few)}."
        )
    if rows.groups is not None:
        units = len(np.unique(rows.groups))
        notes.append(
            f"Intervals treat the {units:,} groups as the units."
            if units > 1
            else "All rows belong to one group, so there are no intervals."
        )
    return notes
