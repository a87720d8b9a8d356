"""Level, power, coverage and width of what is printed, by simulation: docs/results/validity.md.

python scripts/write_validity_results.py                 # about 25 minutes of one core
python scripts/write_validity_results.py --draws 20      # a look at it

Each cell (a world, a size, a model) is appended to ``--cells`` as soon as it is known, and a second call
goes on where the first one ended; delete the file to begin anew. In every world the truth is known: labels
are drawn from probabilities, and the model states these, or (power) states them sharpened. Values of the
population come from 200,000 rows.
"""

import argparse
import json
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import softmax

from vlmcal.calibrators.losses import mean_loss
from vlmcal.metrics import compare, evaluate
from vlmcal.posthoc.compare import compare as compare_calibrators
from vlmcal.report.pages.verdict import calibration_verdict
from vlmcal.types.predictions import Predictions, from_probabilities

PAGE = Path(__file__).parent.parent / "docs" / "results" / "validity.md"
CELLS = Path(__file__).parent.parent / "build" / "validity.jsonl"
WORLDS = {
    "iid": "independent rows of three classes",
    "imbalanced": "one class holds most rows",
    "grouped": "groups of 20 rows; half of the rows of a group are right or wrong together",
    "few groups": "six such groups of equal size",
    "unequal groups": "twelve such groups, some of them ten times as large as others",
    "few errors": "accuracy about .99",
    "stated": "confidences in steps of .05",
    "saturated": "half of the rows state 1 (up to the last digits) and are right",
    "two classes": "K = 2",
    "many classes": "K = 100",
}
METRICS = (
    *("accuracy", "macro_f1", "brier", "nll", "auroc", "aurc"),
    *("ece", "ace", "classwise_ece", "smooth_ece", "ks_error", "debiased_ece", "skce", "mce"),
)
SIZES = (100, 1000)
GROUP_SIZE = 20
READ_WITH = """
Not printed, because they were not good enough: the intervals of resampled scores and of macro-F1 below 6
groups, by their effective number (five equal groups covered .87, a dozen very unequal ones .84), and below 5
wrong or right rows; of macro-F1 below 10 rows of a class; of `classwise_ece` below 20 groups (.88), and its
test where one row is wrong at most (level .11 with few errors). `mce` speaks of the bins that the rows
fill, as its value does. Rankings and scores with few errors have none at all, nor has `skce` in groups.
`mce` has next to no power, `debiased_ece` little at n = 100, and `compare` is conservative.
"""
# Below this coverage, or above this level, a number is named as not good enough.
COVERAGE, LEVEL = 0.9, 0.1


def draw(world: str, n: int, sharpness: float, generator: np.random.Generator) -> Predictions:
    """Rows of a world: labels drawn from probabilities, which are stated to the power ``sharpness``."""
    k = {"two classes": 2, "many classes": 100}.get(world, 3)
    scores = generator.normal(size=(n, k)) * (3.0 if k == 100 else 1.5)
    if world == "imbalanced":
        scores += [2.5, 0.0, -1.5]
    if world == "few errors":
        scores[np.arange(n), generator.integers(0, k, n)] += 9.0
    if world == "saturated":
        scores *= np.where(generator.random(n) < 0.5, 1.0, 200.0)[:, None]
    groups = None
    share = generator.random(n)
    if "group" in world:
        groups = {
            "grouped": np.arange(n) // GROUP_SIZE,
            "few groups": np.arange(n) * 6 // n,
            "unequal groups": np.sort(generator.choice(12, n, p=generator.dirichlet(np.ones(12)))),
        }[world]
        # Half of the rows take the chance of their group, so rows of a group are right or wrong together.
        common = generator.random(int(groups[-1]) + 1)[groups]
        share = np.where(generator.random(n) < 0.5, common, share)
    truth = softmax(scores, axis=1)
    # The class of rank r of the probabilities, so that a group is lucky or unlucky whatever its classes.
    order = np.argsort(-truth, axis=1)
    ranked = np.take_along_axis(truth, order, axis=1)
    rank = (ranked.cumsum(axis=1) < share[:, None]).sum(axis=1).clip(max=k - 1)
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


@cache
def population(world: str, sharpness: float) -> dict[str, float]:
    """Values of the metrics on very many rows."""
    # Groups change no mean; a population of few of them would be one draw of their luck.
    plain_world = "iid" if "group" in world else world
    rows = draw(
        plain_world,
        20_000 if world == "many classes" else 200_000,
        sharpness,
        np.random.default_rng(7),
    )
    plain = evaluate(rows, list(METRICS), intervals=False)
    values = {name: estimate.value for name, estimate in plain.estimates.items()}
    if sharpness == 1:
        # A calibrated model has none of these, whatever is left of the noise of the population.
        values.update(dict.fromkeys(METRICS[6:], 0.0))
    return values


@cache
def bin_gaps(world: str, sharpness: float) -> np.ndarray:
    """Gap of each of the 15 bins of the confidence, on very many rows; a calibrated model has none."""
    rows = draw(world, 200_000, sharpness, np.random.default_rng(7)).top_label()
    place = _bins(rows.confidence)
    count = np.bincount(place, minlength=15)
    gap = np.bincount(place, rows.confidence - rows.correct, minlength=15)
    return np.abs(gap) / np.maximum(count, 1) * (sharpness != 1)


def _bins(confidence: np.ndarray) -> np.ndarray:
    return np.ceil(confidence * 15 - 1e-9).astype(int).clip(1) - 1


def cell(
    world: str, n: int, sharpness: float, draws: int, names: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """Coverage, width, share with an interval, rejections by metric, and what the verdict said."""
    truth = population(world, sharpness)
    tally = {name: np.zeros(5) for name in names}
    said = np.zeros(2)
    for number in range(draws):
        rows = draw(world, n, sharpness, np.random.default_rng([n, number]))
        found = evaluate(rows, [*names], resamples=400, seed=number)
        # The largest gap of the bins that these rows fill, which is what MCE speaks of.
        gaps = bin_gaps("iid" if "group" in world else world, sharpness)
        truth = {**truth, "mce": gaps[_bins(rows.top_label().confidence)].max()}
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
            "coverage": row[1] / row[0] if row[0] else None,
            "width": row[2] / row[0] if row[0] else None,
            # A test that is not printed rejects nothing; counting only those printed would choose by outcome.
            "rejected": row[4] / draws if row[3] else None,
        }
        for name, row in tally.items()
    }
    result["headline"] = {"direction": said[0] / draws, "rejected": said[1] / draws}
    return result


def compared(world: str, n: int, draws: int) -> Iterator[tuple[str, float, float]]:
    """Rejections of compare between two calibrated models of other sharpness, and with one that is not."""
    # The blunter model is calibrated class by class only where the classes are alike.
    alike = world not in ("imbalanced", "stated")
    names = ("ece", "ace", "ks_error", "classwise_ece")[: 4 if alike else 3]
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
    mean = np.stack([ranked[band == b].sum(axis=0) / max((band == b).sum(), 1) for b in range(4)])
    result = np.empty_like(probs)
    np.put_along_axis(result, order, mean[band], axis=1)
    return from_probabilities(result, rows.labels, groups=rows.groups, renormalise=True)


SHORT_FORMS = (
    ("adaptive temperature does not explode", "calibrators/test_repairs.py", "adaptive"),
    ("the chooser does no harm", "calibrators/test_tools.py", "simplest_within"),
    ("class-wise curves with five rows a class", "calibrators/test_repairs.py", "five_rows"),
    ("penalties by cross-validation", "calibrators/test_repairs.py", "penalty"),
    ("infinite losses are said", "calibrators/test_repairs.py", "infinite"),
    ("refinement returns its calibrator", "calibrators/test_tools.py", "sharper_epoch"),
    ("ends half-way", "calibrators/test_repairs.py", "half_way"),
    ("harm by label-free methods, active bounds", "calibrators/test_repairs.py", "harm or bounds"),
    ("semantic entropy of a coin", "elicit/elicitors/test_agreement.py", "coin"),
    ("P(True) with an unlisted word", "elicit/elicitors/test_agreement.py", "p_true_notes"),
    ("unclustered classes", "conformal/test_guarantees.py", "unclustered"),
    ("groups and shifted classes", "conformal/test_guarantees.py", "groups or shift"),
    ("saturated softmax", "conformal/test_guarantees.py", "saturated or ties"),
    ("abstaining is judged by its risk", "conformal/test_guarantees.py", "abstaining"),
    ("comparison of two calibrated models", "metrics/test_validity.py", "sharpness or agree"),
    ("few errors", "metrics/test_validity.py", "errors"),
    (
        "macro-F1, squared error, lower ends",
        "metrics/test_validity.py",
        "macro or squared or lower",
    ),
    ("few and unequal groups", "metrics/test_validity.py", "unequal or skewed"),
    (
        "floors of sets, mce, sweep and kernel errors",
        "metrics/test_validity.py",
        "floors or kernel",
    ),
    ("headline and ECE agree, also for K = 2", "metrics/test_validity.py", "headline"),
)
METHODS = ("none", "temperature", "platt", "vector", "spline", "isotonic")
CHOICES = {
    "calibrated, K = 2, n = 100": (2, 100, 1.0),
    "calibrated, K = 4, n = 100": (4, 100, 1.0),
    "calibrated, K = 10, n = 200": (10, 200, 1.0),
    "scores times 2, K = 4, n = 100": (4, 100, 2.0),
    "scores times 2, K = 10, n = 200": (10, 200, 2.0),
}


def chosen(k: int, n: int, sharpness: float, draws: int) -> dict[str, list[float]]:
    """Log-loss on 4000 other rows less that without a repair, by the rule of choice, for each draw."""
    rises: dict[str, list[float]] = {"best": [], "simplest within one SE": []}
    for number in range(draws):
        generator = np.random.default_rng([k, n, number])
        scores = generator.normal(size=(n + 4000, k)) * 1.5
        labels = (scores + generator.gumbel(size=scores.shape)).argmax(axis=1)
        rows = Predictions(logits=scores * sharpness, labels=labels)
        val, test = rows.subset(np.arange(n)), rows.subset(np.arange(n, n + 4000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = compare_calibrators(val, None, METHODS)
            for name, row in (("best", result.best), ("simplest within one SE", result.chosen)):
                assert row.calibrator is not None
                after = row.calibrator.transform(test)
                rises[name].append(mean_loss(after, "nll") - mean_loss(test, "nll"))
    return rises


def cells(draws: int, known: Callable[[list[Any], Callable[[], Any]], Any]) -> Iterator[Any]:
    """All cells as (part, world, n, result), from ``known``, which computes what it does not remember."""
    few = max(draws // 2, 2)
    parts = (("calibrated", 1.0, METRICS, draws), ("over-confident", 1.8, METRICS[6:], few))
    for part, sharpness, names, times in parts:
        for world in WORLDS:
            for n in SIZES:
                # Scores and rankings do not know calibration; they are in the first part.
                result = known(
                    [part, world, n, times],
                    lambda: cell(world, n, sharpness, times, names),  # noqa: B023
                )
                yield part, world, n, result
    for world in WORLDS:
        for n in SIZES:
            found = known(["compare", world, n, few], lambda: [*compared(world, n, few)])  # noqa: B023
            yield "compare", world, n, found
    for title, (k, n, sharpness) in CHOICES.items():
        times = max(draws // 5, 2)
        rises = known(["choice", title, times], lambda: chosen(k, n, sharpness, times))  # noqa: B023
        yield "choice", title, n, rises


def remembered(path: Path) -> Callable[[list[Any], Callable[[], Any]], Any]:
    """Results by key from a file of JSON lines, to which new ones are appended at once."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    seen = {json.dumps(line["key"]): line["result"] for line in map(json.loads, lines)}

    def known(key: list[Any], compute: Callable[[], Any]) -> Any:
        if json.dumps(key) not in seen:
            seen[json.dumps(key)] = result = compute()
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"key": key, "result": result}) + "\n")
        return seen[json.dumps(key)]

    return known


def page(draws: int, command: str, found: list[Any]) -> Iterator[str]:
    """The page, from all cells."""
    sure, half = (1.96 * np.sqrt(share * (1 - share) / draws) for share in (0.05, 0.5))
    worlds = "\n".join(f"- *{name}*: {text}." for name, text in WORLDS.items())
    yield (
        "# Validity: level, power, coverage and width of what is printed\n\n"
        f"Written by `{command}`: {draws} draws per cell, level 95 %, tests at 5 %, so a\n"
        f"share of .05 or .95 is known to about {sure:.0%} and one of .5 to {half:.0%} (two Monte-Carlo\n"
        f"standard errors); on the over-confident model and `compare` {draws // 2} draws.\n\n{worlds}\n\n"
        "A calibrated model draws its labels from what it states; the over-confident one states the same\n"
        "scores times 1.8 (*stated*: 0.1 too much). *shown* is the share of draws with an interval: where\n"
        "errors, rows of a class or groups are too few none is printed, and the reason is.\n\n"
        "## What is not good enough\n\n"
        f"Every interval of the tables below that covers less than {COVERAGE:.0%} where it is shown (in at\n"
        f"least 30 draws; fewer tell nothing), and every test that rejects a calibrated model in more than\n"
        f"{LEVEL:.0%}:\n\n"
    )
    yield "".join(f"- {line}\n" for line in weak(found, draws)) or "- Nothing.\n"
    yield READ_WITH
    for title, part in (
        ("A calibrated model", "calibrated"),
        ("An over-confident model", "over-confident"),
    ):
        test = "level (should be at most .05)" if part == "calibrated" else "power"
        yield f"\n## {title}: coverage / mean width / shown, and {test} of the null test\n"
        for world in WORLDS:
            mine = {n: result for p, w, n, result in found if (p, w) == (part, world)}
            heads = " | ".join(f"n = {n}" for n in mine)
            yield f"\n### {world}\n\n| metric | {heads} |\n|---|{'---|' * len(mine)}\n"
            for name in METRICS:
                if all(name in result for result in mine.values()):
                    texts = " | ".join(_shown(result[name]) for result in mine.values())
                    yield f"| `{name}` | {texts} |\n"
            said = " | ".join(
                f"{r['headline']['direction']:.2f} / {r['headline']['rejected']:.2f}"
                for r in mine.values()
            )
            yield f"| headline: a direction / more than chance | {said} |\n"
    yield (
        "\n## compare: two calibrated models of other sharpness (level), and against the over-confident one "
        "(power)\n\n| world | n | metric | level | power |\n|---|---|---|---|---|\n"
    )
    for part, world, n, result in found:
        if part == "compare":
            for name, level, power in result:
                yield f"| {world} | {n} | `{name}` | {level:.2f} | {power:.2f} |\n"
    yield (
        "\nA paired (cluster) bootstrap of the same difference was simulated beside it (60 draws, two\n"
        "calibrated models of other sharpness, then one that states .12 too much): its level is 0 to .02,\n"
        "too, and its power lower (n = 200: .17 to .25 against .33, in groups .17 to .22 against .27), so\n"
        "the analytic variance of the U-statistic is kept.\n\n"
        "## The choice of a calibrator\n\n"
        f"Of {', '.join(METHODS)}, {draws // 5} draws: share of draws in which the chosen one has a larger\n"
        "log-loss on 4000 other rows than no repair, and the mean change of the log-loss in nats.\n\n"
        "| rows | best in cross-validation | simplest within one SE |\n|---|---|---|\n"
    )
    for part, title, _, result in found:
        if part == "choice":
            texts = (
                f"{np.mean(np.asarray(v) > 1e-9):.2f}; {np.mean(v):+.4f}" for v in result.values()
            )
            yield f"| {title} | {' | '.join(texts)} |\n"
    yield (
        "\n## The same in the suite\n\nShort forms that fail on the fault, each with "
        "`python -m pytest FILE -k NAME`:\n\n| what | file | name |\n|---|---|---|\n"
    )
    for what, file, name in SHORT_FORMS:
        yield f"| {what} | `tests/{file}` | `{name}` |\n"


def weak(found: list[Any], draws: int) -> Iterator[str]:
    """What covers too little or rejects too often, one line each."""
    for part, world, n, result in found:
        if part == "choice":
            continue
        if part == "compare":
            for name, level, _ in result:
                if level > LEVEL:
                    yield f"`compare` by `{name}`, {world}, n = {n}: level {level:.2f}."
            continue
        for name, values in result.items():
            times = draws if part == "calibrated" else draws // 2
            if values.get("shown", 0) * times >= 30 and values["coverage"] < COVERAGE:
                yield f"`{name}`, {world}, n = {n}, {part}: covers {values['coverage']:.2f}."
            if part == "calibrated" and (values["rejected"] or 0) > LEVEL:
                yield f"`{name}`, {world}, n = {n}: level {values['rejected']:.2f}."


def _shown(part: dict[str, float]) -> str:
    text = "no interval"
    if part["shown"]:
        text = f"{part['coverage']:.2f} / {part['width']:.3f} / {part['shown']:.2f}"
    return text if part["rejected"] is None else f"{text}; {part['rejected']:.2f}"


def main() -> None:
    """Simulate and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=120)
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--cells", type=Path, default=CELLS)
    arguments = parser.parse_args()
    found = list(cells(arguments.draws, remembered(arguments.cells)))
    text = "".join(page(arguments.draws, "python scripts/write_validity_results.py", found))
    arguments.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
