"""Level, power, coverage and width of what is printed, by simulation: docs/results/validity.md.

python scripts/write_validity_results.py                 # about half an hour of one core
python scripts/write_validity_results.py --draws 20      # a look at it

In every world the truth is known: labels are drawn from probabilities, and the model states these, or (power)
states them sharpened. Values of the population come from 200,000 rows.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.special import softmax

from vlmcal.metrics import compare, evaluate
from vlmcal.report.pages.verdict import calibration_verdict
from vlmcal.types.predictions import Predictions, from_probabilities

PAGE = Path(__file__).parent.parent / "docs" / "results" / "validity.md"
WORLDS = ("iid", "imbalanced", "grouped", "few groups", "few errors", "stated")
METRICS = (
    *("accuracy", "macro_f1", "brier", "nll", "auroc", "aurc"),
    *("ece", "ace", "classwise_ece", "smooth_ece", "ks_error", "debiased_ece", "skce", "mce"),
)
SIZES = (100, 1000)
CLASSES = 3
GROUP_SIZE = 20


def draw(world: str, n: int, sharpness: float, generator: np.random.Generator) -> Predictions:
    """Rows of a world: labels drawn from probabilities, which are stated to the power ``sharpness``."""
    scores = generator.normal(size=(n, CLASSES)) * 1.5
    if world == "imbalanced":
        scores += [2.5, 0.0, -1.5]
    if world == "few errors":
        scores[np.arange(n), generator.integers(0, CLASSES, n)] += 9.0
    groups = None
    share = generator.random(n)
    if world in ("grouped", "few groups"):
        size = GROUP_SIZE if world == "grouped" else max(n // 6, 1)
        groups = np.arange(n) // size
        # Half of the rows take the chance of their group, so rows of a group are right or wrong together.
        common = generator.random(int(groups[-1]) + 1)[groups]
        share = np.where(generator.random(n) < 0.5, common, share)
    truth = softmax(scores, axis=1)
    # The class of rank r of the probabilities, so that a group is lucky or unlucky whatever its classes.
    order = np.argsort(-truth, axis=1)
    ranked = np.take_along_axis(truth, order, axis=1)
    rank = (ranked.cumsum(axis=1) < share[:, None]).sum(axis=1).clip(max=CLASSES - 1)
    stated = softmax(scores * sharpness, axis=1)
    if world == "stated":
        stated, labels = _rounded(stated, sharpness, generator)
    else:
        labels = order[np.arange(n), rank]
    return from_probabilities(stated, labels, groups=groups, renormalise=True)


def _rounded(
    stated: np.ndarray, sharpness: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Confidence in steps of 0.05 on the top class, the rest shared; labels from what should be stated."""
    top = stated.argmax(axis=1)
    said = np.clip(np.round(stated.max(axis=1) * 20) / 20, 0.4, 0.95)
    right = said if sharpness == 1 else said - 0.1
    n, k = stated.shape
    result = np.repeat(((1 - said) / (k - 1))[:, None], k, axis=1)
    result[np.arange(n), top] = said
    other = (top + generator.integers(1, k, n)) % k
    return result, np.where(generator.random(n) < right, top, other)


def population(world: str, sharpness: float) -> dict[str, float]:
    """Values of the metrics on very many rows."""
    rows = draw(world, 200_000, sharpness, np.random.default_rng(7))
    plain = evaluate(rows, list(METRICS), intervals=False)
    values = {name: estimate.value for name, estimate in plain.estimates.items()}
    if sharpness == 1:
        # A calibrated model has none of these, whatever is left of the noise of the population.
        values.update(dict.fromkeys(METRICS[6:], 0.0))
    return values


def cell(
    world: str, n: int, sharpness: float, draws: int, names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Coverage, width, share with an interval, rejections by metric, and what the verdict said."""
    truth = population(world, sharpness)
    tally = {name: np.zeros(5) for name in names}
    said = np.zeros(2)
    for number in range(draws):
        rows = draw(world, n, sharpness, np.random.default_rng([n, number]))
        found = evaluate(rows, [*names], resamples=400, seed=number)
        for name, estimate in found.estimates.items():
            row = tally[name]
            if estimate.low is not None and estimate.high is not None:
                row[0] += 1
                inside = estimate.low - 1e-9 <= truth[name] <= estimate.high + 1e-9
                row[1] += inside
                row[2] += estimate.high - estimate.low
            if estimate.p_value is not None:
                row[3] += 1
                row[4] += estimate.p_value < 0.05
        verdict = calibration_verdict(rows.top_label(), found["ece"])
        said += [verdict.direction != "neither", bool(verdict.distinguishable)]
    result = {
        name: {
            "shown": row[0] / draws,
            "coverage": row[1] / row[0] if row[0] else np.nan,
            "width": row[2] / row[0] if row[0] else np.nan,
            "rejected": row[4] / row[3] if row[3] else np.nan,
        }
        for name, row in tally.items()
    }
    result["headline"] = {"direction": said[0] / draws, "rejected": said[1] / draws}
    return result


def compared(world: str, n: int, draws: int) -> Iterator[tuple[str, float, float]]:
    """Rejections of compare between two calibrated models of other sharpness, and with one that is not."""
    # The blunter model is calibrated class by class only where the classes are alike.
    names = ("ece", "ace", "ks_error", "classwise_ece")[: 3 if world == "imbalanced" else 4]
    for name in names:
        level = power = 0
        for number in range(draws):
            rows = draw(world, n, 1.0, np.random.default_rng([n, number, 1]))
            blunt = _blunted(rows)
            level += compare(rows, blunt, name).p_value < 0.05
            sharp = from_probabilities(
                softmax(1.8 * rows.log_probabilities(), axis=1), rows.labels, groups=rows.groups
            )
            power += compare(rows, sharp, name).p_value < 0.05
        yield name, level / draws, power / draws


def _blunted(rows: Predictions) -> Predictions:
    """The same model with less to say: the mean probabilities of the rows in four bands of confidence."""
    probs = rows.probabilities()
    top, order = probs.max(axis=1), np.argsort(-probs, axis=1)
    ranked = np.take_along_axis(probs, order, axis=1)
    band = np.searchsorted([0.5, 0.7, 0.9], top)
    mean = np.stack(
        [ranked[band == b].mean(axis=0) if (band == b).any() else [0] * 3 for b in range(4)]
    )
    result = np.empty_like(probs)
    np.put_along_axis(result, order, mean[band], axis=1)
    return from_probabilities(result, rows.labels, groups=rows.groups, renormalise=True)


def page(draws: int, command: str) -> Iterator[str]:
    """The page, part by part, as soon as each is known."""
    sure, half = (1.96 * np.sqrt(share * (1 - share) / draws) for share in (0.05, 0.5))
    yield (
        "# Validity: level, power, coverage and width of what is printed\n\n"
        f"Written by `{command}`: {draws} draws per cell, K = {CLASSES}, level 95 %, tests at 5 %, so a\n"
        f"share of .05 or .95 is known to about {sure:.0%} and one of .5 to {half:.0%}.\n\n"
        "Worlds: *iid*; *imbalanced* (one class holds most rows); *grouped* (groups of 20 rows that are \n"
        "right or wrong together); *few groups* (six of them); *few errors* (accuracy about .99); *stated*\n"
        "(confidences in steps of .05). A calibrated model draws its labels from what it states; the\n"
        "over-confident one states the same scores times 1.8 (*stated*: 0.1 too much). *shown* is the share\n"
        "of draws with an interval: where errors, rows of a class or groups are too few none is printed.\n"
    )
    for title, sharpness in (("A calibrated model", 1.0), ("An over-confident model", 1.8)):
        test = "level (should be at most .05)" if sharpness == 1 else "power"
        yield f"\n## {title}: coverage / mean width / shown, and {test} of the null test\n"
        for world in WORLDS:
            yield (
                f"\n### {world}\n\n| metric | "
                + " | ".join(f"n = {n}" for n in SIZES)
                + " |\n|---|"
            )
            yield "---|" * len(SIZES) + "\n"
            # Proper scores and rankings do not know calibration; they are in the first part.
            names = METRICS if sharpness == 1 else METRICS[6:]
            cells = [cell(world, n, sharpness, draws, names) for n in SIZES]
            for name in names:
                yield f"| `{name}` | " + " | ".join(_shown(part[name]) for part in cells) + " |\n"
            yield "| headline: a direction / more than chance | "
            yield " | ".join(
                f"{part['headline']['direction']:.2f} / {part['headline']['rejected']:.2f}"
                for part in cells
            )
            yield " |\n"
    yield (
        "\n## compare: two calibrated models of other sharpness (level), and against the over-confident one "
        "(power)\n\n| world | n | metric | level | power |\n|---|---|---|---|---|\n"
    )
    for world in WORLDS:
        for n in SIZES:
            for name, level, power in compared(world, n, max(draws // 2, 2)):
                yield f"| {world} | {n} | `{name}` | {level:.2f} | {power:.2f} |\n"


def _shown(part: dict[str, float]) -> str:
    text = f"{part['coverage']:.2f} / {part['width']:.3f} / {part['shown']:.2f}"
    if part["shown"] == 0:
        text = "no interval"
    return text if np.isnan(part["rejected"]) else f"{text}; {part['rejected']:.2f}"


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--page", type=Path, default=PAGE)
    arguments = parser.parse_args()
    text = ""
    for part in page(arguments.draws, "python scripts/write_validity_results.py"):
        text += part
        arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
