"""Measure every post-hoc calibrator and conformal method on recorded outputs and write the result page.

Run:  OMP_NUM_THREADS=1 python scripts/write_posthoc_results.py --material DIR [--output FILE]

DIR holds the files named in ``SOURCES``, as published by their repositories. Each random split divides the
rows into a quarter to fit calibrators, a quarter to fit conformal methods, and a half to measure.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import t as student

import vlmcal
from vlmcal.calibrators.base import CALIBRATORS, CalibrationWarning, make
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor, ConformalWarning
from vlmcal.conformal.group_conditional import GroupConditional
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.hashing import digest_file
from vlmcal.io.atomic import atomic_write
from vlmcal.metrics import evaluate
from vlmcal.report.cells import Cell, Column
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions, from_probabilities

ALPHA, TARGET_RISK, LEVEL = 0.1, 0.05, 0.95
QUALITY = ("accuracy", "ece", "nll", "brier")
SETS = ("coverage", "mean_set_size", "coverage_gap")
UNBOUNDED = ("nll", "brier", "mean_set_size")
MODELS = ("llava-v1.5-7b", "Qwen-VL-Chat", "cogvlm-chat-hf", "MobileVLM_V2-3B")
# Methods whose fit takes seconds at 100 classes get fewer splits there.
FIXED = {
    "matrix": {"reg_lambda": 0.01, "reg_mu": 0.01},
    "dirichlet": {"reg_lambda": 0.01, "reg_mu": 0.01},
}
SLOW, FEW_SPLITS, MANY_CLASSES = ("matrix", "dirichlet", "bbq"), 5, 100
Values = dict[str, list[float]]


class Source(NamedTuple):
    """Recorded outputs of one model: where they come from and how they are read."""

    title: str
    file: str
    repository: str
    licence: str
    model: str = ""


NETCAL = "EFS-OpenSource/calibration-framework (netcal)"
BENCH = "EnSec-AI/VLM-Uncertainty-Bench"
MMBENCH = "mllm_outputs/mmbench_option_logits_26mllm.npz"
SOURCES = (
    Source(
        "WideResNet-16-4 on CIFAR-10",
        "classifier_probs/wideresnet-16-4-cifar-10.npz",
        NETCAL,
        "Apache-2.0",
    ),
    Source(
        "DenseNet-BC-100 on CIFAR-100",
        "classifier_probs/densenet-bc-100-cifar-100.npz",
        NETCAL,
        "Apache-2.0",
    ),
    *(Source(f"{name} on MMBench", MMBENCH, BENCH, "MIT", name) for name in MODELS),
)


class Recorded(NamedTuple):
    """Rows of a source, and what each row belongs to where several rows are one question."""

    rows: Predictions
    units: Any


@dataclass(frozen=True)
class Split:
    """Three disjoint parts of the rows; ``single`` is the second with one row per question."""

    fit: Predictions
    conformal: Predictions
    test: Predictions
    single: Predictions


def read(source: Source, folder: Path) -> Recorded:
    """All rows of a source; option logits carry the category of the question as group."""
    with np.load(folder / source.file, allow_pickle=False) as arrays:
        if not source.model:
            rows = from_probabilities(arrays["probs"], arrays["label"])
            return Recorded(rows, np.arange(len(rows)))
        index = arrays["models"].tolist().index(source.model)
        rows = Predictions(
            logits=arrays["logits"][index],
            labels=arrays["answer"],
            class_names=tuple("ABCDEF"),
            groups=arrays["l2_category"],
        )
        # Each question is asked up to four times with its options rotated: ids q, q + 1e6, q + 2e6, ...
        return Recorded(rows, arrays["item_id"] % 1_000_000)


def splits(recorded: Recorded, count: int) -> Iterator[Split]:
    """Random splits by question: a quarter, a quarter, a half."""
    n = len(recorded.rows)
    rows = replace(recorded.rows, ids=np.array([f"row{i}" for i in range(n)]))
    units, member = np.unique(recorded.units, return_inverse=True)
    for seed in range(count):
        generator = np.random.default_rng(seed)
        order = generator.permutation(len(units))
        parts = np.split(order, [len(units) // 4, len(units) // 2])
        fit, held_out, test = (np.flatnonzero(np.isin(member, part)) for part in parts)
        shuffled = generator.permutation(held_out)
        single = shuffled[np.unique(member[shuffled], return_index=True)[1]]
        yield Split(
            replace(rows.subset(fit), split="val"),
            replace(rows.subset(held_out), split="calibration"),
            replace(rows.subset(test), split="test"),
            replace(rows.subset(single), split="calibration"),
        )


def interval(values: list[float], ratio: float, top: float) -> Estimate:
    """Mean over splits with its interval: Student's t, variance s^2 (1/J + n_test / n_fitted)."""
    n, mean = len(values), float(np.mean(values))
    spread = float(np.std(values, ddof=1)) * np.sqrt(1 / n + ratio)
    reach = float(student.ppf((1 + LEVEL) / 2, n - 1)) * spread
    return Estimate(mean, max(0.0, mean - reach), min(top, mean + reach), n=n)


def measured(data: Any, names: tuple[str, ...]) -> dict[str, float]:
    """Values alone."""
    found = evaluate(data, names, intervals=False).estimates
    return {name: found[name].value for name in names}


def collect(into: dict[str, Values], name: str, values: dict[str, float]) -> None:
    """Append the values of one split."""
    for key, value in values.items():
        into.setdefault(name, {}).setdefault(key, []).append(value)


def floor(test: Predictions) -> float:
    """ECE that a calibrated model with these confidences shows on average."""
    return float(evaluate(test, ["ece"])["ece"].floor or 0.0)


def calibrators(split: Split, seed: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Every calibrator that needs nothing beside the scores: quality and APS sets on its output."""
    for name, kind in CALIBRATORS.items():
        slow = name in SLOW and split.test.n_classes >= MANY_CLASSES
        if kind.needs or kind.fit_needs or (slow and seed >= FEW_SPLITS):
            continue
        try:
            fitted = make(name, FIXED.get(name)).fit(split.fit)
        except UnsuitedRowsError:
            continue  # needs one of several extras; listed as not measured
        after = fitted.transform(split.test)
        sets = CONFORMAL.get("aps")().fit(fitted.transform(split.conformal), ALPHA).predict(after)
        changed = float((after.predicted() != split.test.predicted()).mean())
        yield name, measured(after, QUALITY) | measured(sets, SETS) | {"changed": changed}


def conformal_methods(rows: Predictions) -> dict[str, Callable[..., ConformalPredictor]]:
    """Every conformal method that needs nothing beside the scores, by the name it is shown under."""
    methods: dict[str, Callable[..., ConformalPredictor]] = {}
    for name, kind in CONFORMAL.items():
        if kind.needs or name == "abstain":
            continue
        if kind.uses_strata and rows.groups is None:
            methods[f"{name} (predicted class)"] = partial(GroupConditional, by="predicted")
        elif kind.uses_strata:
            methods[f"{name} (category)"] = kind
        else:
            methods[name] = kind
    return methods


def label_sets(split: Split) -> Iterator[tuple[str, dict[str, float]]]:
    """Every conformal method on the scores as they are and after temperature scaling."""
    temperature = make("temperature").fit(split.fit)
    stages = {
        "before": (split.conformal, split.test),
        "after": (temperature.transform(split.conformal), temperature.transform(split.test)),
    }
    for name, build in conformal_methods(split.test).items():
        found: dict[str, float] = {}
        for stage, (held_out, test) in stages.items():
            sets = build().fit(held_out, ALPHA).predict(test)
            found |= {f"{stage} {key}": v for key, v in measured(sets, SETS).items()}
        yield name, found
    found = {}
    singles = {"before": split.single, "after": temperature.transform(split.single)}
    for stage, (_, test) in stages.items():
        held_out = singles[stage]
        abstain = CONFORMAL.get("abstain")().fit(replace(held_out, groups=None), TARGET_RISK)
        answered = abstain.predict(replace(test, groups=None)).sizes() == 1
        wrong = test.predicted() != test.labels
        found[f"{stage} answered"] = float(answered.mean())
        found[f"{stage} risk"] = float((wrong & answered).sum() / max(answered.sum(), 1))
    yield "abstain", found


@dataclass(frozen=True)
class Result:
    """Everything measured on one source."""

    source: Source
    rows: Predictions
    questions: int
    floor: float
    quality: dict[str, Values]
    sets: dict[str, Values]


def measure(source: Source, folder: Path, count: int) -> Result:
    """All methods on all splits of one source."""
    recorded = read(source, folder)
    quality: dict[str, Values] = {}
    sets: dict[str, Values] = {}
    floors = []
    for seed, split in enumerate(splits(recorded, count)):
        floors.append(floor(make("temperature").fit(split.fit).transform(split.test)))
        for name, values in calibrators(split, seed):
            collect(quality, name, values)
        for name, values in label_sets(split):
            collect(sets, name, values)
    questions = len(np.unique(recorded.units))
    return Result(source, recorded.rows, questions, float(np.mean(floors)), quality, sets)


def estimates(values: Values) -> dict[str, Estimate]:
    """Mean and interval of each number; the test part is twice the fitted part."""
    return {
        key: interval(found, 2.0, np.inf if key.endswith(UNBOUNDED) else 1.0)
        for key, found in values.items()
    }


def quality_table(result: Result) -> Table:
    """Calibrators, smallest log-loss first."""
    means = {name: estimates(values) for name, values in result.quality.items()}
    order = sorted(means, key=lambda name: means[name]["nll"].value)
    columns = [
        Column("calibrator", align="left"),
        Column("splits"),
        Column("accuracy", percent=True, better="higher"),
        Column("ECE", percent=True, digits=2, better="lower"),
        Column("NLL", digits=3, better="lower"),
        Column("Brier", digits=3, better="lower"),
        Column("APS coverage", percent=True),
        Column("APS size", digits=2),
        Column("class changed", percent=True),
    ]
    rows: list[list[Cell]] = []
    for name in order:
        m = means[name]
        label = "none (before)" if name == "none" else name
        keys = ("accuracy", "ece", "nll", "brier", "coverage", "mean_set_size")
        rows.append([label, m["nll"].n, *(m[key] for key in keys), m["changed"].value])
    return Table(columns=columns, rows=rows, level=LEVEL)


def sets_table(result: Result) -> Table:
    """Conformal methods before and after temperature scaling."""
    formats = {
        "coverage": Column("coverage", percent=True),
        "mean_set_size": Column("size", digits=2),
        "coverage_gap": Column("CovGap", percent=True),
    }
    stages = ("before", "after")
    columns = [replace(formats[key], group=stage) for stage in stages for key in SETS]
    rows: list[list[Cell]] = []
    for name, values in result.sets.items():
        if name != "abstain":
            m = estimates(values)
            rows.append([name, *(m[f"{stage} {key}"] for stage in stages for key in SETS)])
    return Table(columns=[Column("method", align="left"), *columns], rows=rows, level=LEVEL)


def abstain_table(results: list[Result]) -> Table:
    """Share of rows answered at the target risk, and the error among them."""
    keys = [f"{stage} {key}" for stage in ("before", "after") for key in ("answered", "risk")]
    titles = {"answered": "answered", "risk": "error among answered"}
    columns = [
        Column(titles[key.split()[1]], group=key.split()[0], percent=True, digits=1) for key in keys
    ]
    rows: list[list[Cell]] = []
    for result in results:
        m = estimates(result.sets["abstain"])
        rows.append([result.source.title, *(m[key] for key in keys)])
    return Table(columns=[Column("outputs", align="left"), *columns], rows=rows, level=LEVEL)


def summary_lines(results: list[Result]) -> Iterator[str]:
    """One line for each source, from the measured means."""
    for result in results:
        means = {name: estimates(values) for name, values in result.quality.items()}
        best = min(means, key=lambda name: means[name]["nll"].value)
        before, after, first = means["none"], means["temperature"], means[best]
        yield (
            f"- {result.source.title}: ECE {100 * before['ece'].value:.2f} % before, "
            f"{100 * after['ece'].value:.2f} % after temperature scaling (a calibrated model of this size "
            f"shows {100 * result.floor:.2f} %); smallest NLL by `{best}`, {first['nll'].value:.3f} against "
            f"{before['nll'].value:.3f} before and {after['nll'].value:.3f} with `temperature`."
        )


def not_measured(results: list[Result]) -> list[str]:
    """Registered methods that these outputs cannot feed, with what they read."""
    shown = set(results[0].quality)
    conformal = {name.split()[0] for result in results for name in result.sets}
    lines = [
        f"- `{name}`: {', '.join((*kind.needs, *kind.fit_needs)) or 'image features or proximities'}"
        for name, kind in CALIBRATORS.items()
        if name not in shown
    ]
    lines += [
        f"- `{name}`: {', '.join(kind.needs)}"
        for name, kind in CONFORMAL.items()
        if name not in conformal
    ]
    return lines


def sources_table(folder: Path) -> list[str]:
    """Files, their public origin, licence and checksum, as Markdown lines."""
    lines = ["| file | repository | licence | SHA-256 |", "|---|---|---|---|"]
    for file in dict.fromkeys(source.file for source in SOURCES):
        source = next(s for s in SOURCES if s.file == file)
        check = digest_file(folder / file)[:16]
        lines.append(f"| {file} | {source.repository} | {source.licence} | {check}… |")
    return lines


def _questions(result: Result) -> str:
    return f" of {result.questions:,} questions" if result.questions < len(result.rows) else ""


def page(results: list[Result], folder: Path, count: int) -> str:
    """The page as Markdown."""
    lines = [
        "# Post-hoc calibration and conformal prediction on recorded outputs",
        "",
        f"Made by `scripts/write_posthoc_results.py --material DIR --splits {count}` (vlmcal "
        f"{vlmcal.__version__}).",
        "",
        f"For each of {count} random splits, a quarter of the rows fits the calibrators, another quarter the "
        "conformal methods, and half of them is measured; nothing is fitted on rows that are measured. All "
        "methods run with their default parameters (`matrix` and `dirichlet` with strengths of 0.01). "
        "Numbers are means over the splits; brackets hold a 95 % "
        "interval of the mean, Student's t with the correction of Nadeau and Bengio (Machine Learning 52, "
        "2003) for splits that share rows: variance s² (1/J + 2) for J splits and twice as many measured as "
        f"fitted rows. {', '.join(f'`{name}`' for name in SLOW)} take seconds to fit at 100 classes and have "
        f"{FEW_SPLITS} splits there.",
        "",
        "ECE: 15 equal-width bins, right-closed. NLL in nats, probabilities clipped at 1e-12: `histogram` "
        "and `isotonic` give some labels the probability 0, which costs 27.6 nats a row (the `mixture` "
        f"calibrator around them avoids that). Brier: sum over classes. Sets: alpha = {ALPHA:g}, so that "
        f"{100 * (1 - ALPHA):g} % coverage is asked for; CovGap is the mean over the classes of |class "
        "coverage - target|. APS columns: randomised APS on the output of the calibrator.",
        "",
        "In short:",
        "",
        *summary_lines(results),
        "",
        "## Sources",
        "",
        *sources_table(folder),
        "",
        "The CIFAR outputs are softmax probabilities of the 10,000 test images. The MMBench outputs are "
        "option logits of multimodal language models: 1,176 questions, each asked up to four times with its "
        "options rotated, 4,377 rows in all; splits keep the rows of a question together. Rows of one "
        "question resemble each other, so conformal coverage varies more than for independent rows. E "
        "(“don't know”) and F (“none”) are never right: class-wise calibrators have no row to learn them "
        "from, and `class_conditional` keeps both in every set.",
        "",
    ]
    for result in results:
        n, k = result.rows.logits.shape
        lines += [
            f"## {result.source.title}",
            "",
            f"{n:,} rows{_questions(result)}, {k} classes. A calibrated model of this size shows an ECE of "
            f"about {100 * result.floor:.2f} %.",
            "",
            "### Calibrators",
            "",
            quality_table(result).to_markdown(),
            "",
            "### Conformal methods, before and after temperature scaling",
            "",
            sets_table(result).to_markdown(),
            "",
        ]
    return "\n".join(
        [
            *lines,
            f"## Abstaining at a target risk of {100 * TARGET_RISK:g} %",
            "",
            "`abstain` answers rows above a threshold at which the share of wrong answers is at most "
            f"{100 * TARGET_RISK:g} % with probability at least 0.9 over the calibration rows. Before and "
            "after temperature scaling. The guarantee asks for independent calibration rows, so of the rows "
            "of a question one is taken at random. A split that answers no row counts as error 0.",
            "",
            abstain_table(results).to_markdown(),
            "",
            "## Not measured here",
            "",
            "These read more than recorded scores:",
            "",
            *not_measured(results),
            "",
        ]
    )


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--material", type=Path, required=True, help="folder with the recorded outputs"
    )
    parser.add_argument("--output", type=Path, default=Path("docs/results/posthoc.md"))
    parser.add_argument("--splits", type=int, default=20)
    options = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    warnings.simplefilter("ignore", ConformalWarning)
    results = []
    for source in SOURCES:
        results.append(measure(source, options.material, options.splits))
        print(f"{source.title}: done", flush=True)
    atomic_write(options.output, page(results, options.material, options.splits))
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
