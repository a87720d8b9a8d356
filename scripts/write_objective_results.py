"""Write docs/results/objectives.md from a store of runs: CoOp with every objective, over seeds.

vlmcal run examples/objectives_digits.yaml --store runs-objectives
python scripts/write_objective_results.py runs-objectives
"""

import argparse
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlmcal.calibrators.base import UNCALIBRATED
from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Store
from vlmcal.training.config import TrainConfig

TARGET = Path(__file__).parent.parent / "docs" / "results" / "objectives.md"
MEASURED = EvaluateSpec(calibrators=[UNCALIBRATED], metrics=["accuracy", "ece"], resamples=100)
BASELINE = "ce"
COLUMNS = (("base", "accuracy"), ("new", "accuracy"), ("base", "ece"), ("new", "ece"))
LIMITS = """\
## What this does not show

- The backbone is a toy that ships with the package. It is not CLIP: it has seen few words and small generated
  images, and its errors need not resemble those of a large model. The order of the objectives here says
  nothing about their order on CLIP.
- Its text tower has not seen most words of WordNet, so the words nearest to a class by cosine, which `dor`
  takes as outliers, are not near in meaning.
- Weights are the published defaults, made for CLIP ViT-B/16 and for logits of its scale; none was tuned on
  these data. A poor row may be a weight that does not fit. Terms made for test-time tuning
  (`text_dispersion`, `text_angles`, `text_orthogonality`) are used outside their purpose.
- Short training (see the epochs above each table) hides over-confidence, which grows with training: published
  recipes take 50 to 200 epochs.
- Three seeds give a rough spread, and with some forty rows a few will look good by chance. Expected
  calibration error with 15 bins is biased upwards on a few hundred images, the more so the better calibrated
  a model is.
- No post-hoc calibrator is applied.
"""
Values = dict[tuple[str, str, int | None], float]  # (classes, metric, seed) -> value


class Results(NamedTuple):
    """What a store holds.

    Attributes:
        values: Data set -> row name -> measured values.
        rows: Data set -> classes -> number of test images.
        recipes: Data set -> shots and epochs of its runs, in words.
        backbones: Name and fingerprint of every backbone used.
    """

    values: Mapping[str, Mapping[str, Values]]
    rows: Mapping[str, Mapping[str, int]]
    recipes: Mapping[str, str]
    backbones: Sequence[str]


def collect(store: Store) -> Results:
    """Measure every run of the store (cached there)."""
    values: dict[str, dict[str, Values]] = defaultdict(lambda: defaultdict(dict))
    rows: dict[str, dict[str, int]] = defaultdict(dict)
    recipes: dict[str, set[str]] = defaultdict(set)
    backbones: set[str] = set()
    for run in store.runs():
        status = store.status(run)
        for row in evaluate_run(store, run, MEASURED):
            if row.evaluation is None or row.predictions is None:
                continue
            data = data_label(row.cell["data"])
            name = str(row.cell["objective"] or row.cell["method"]["name"])
            rows[data][row.set] = len(row.predictions)
            for metric, estimate in row.evaluation.estimates.items():
                values[data][name][row.set, metric, row.cell["seed"]] = estimate.value
        origin, cell = status["provenance"], status["cell"]
        backbones.add(f"{origin['backbone']} ({origin['backbone_fingerprint'][:12]})")
        if cell["train"] is not None:
            config = TrainConfig(**{k: v for k, v in cell["train"].items() if k != "type"})
            recipes[data_label(cell["data"])].add(f"{cell['shots']} shots, {config.epochs} epochs")
    said = {data: " or ".join(sorted(found)) for data, found in recipes.items()}
    return Results(values, rows, said, sorted(backbones))


def data_label(data: Mapping[str, Any]) -> str:
    """Data set with the settings that differ from its defaults."""
    settings = [f"{k} {v}" for k, v in data.items() if k not in ("name", "path", "protocol")]
    name = str(data.get("name", data.get("path")))
    return f"{name} ({', '.join(settings)})" if settings else name


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds, in per cent.

    Example:
        >>> spread([0.5, 0.6]), spread([0.5])
        ('55.0 ± 7.1', '50.0')
    """
    mean = f"{round(100 * statistics.mean(values), 1) + 0.0:.1f}"  # no "-0.0"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean


def change(own: Values, baseline: Values, classes: str) -> list[float]:
    """ECE minus that of cross-entropy with the same seed."""
    keys = [key for key in own if key[:2] == (classes, "ece") and key in baseline]
    return [own[key] - baseline[key] for key in keys]


def table(results: Mapping[str, Values]) -> list[str]:
    """One row per objective, cross-entropy and zero-shot first."""
    heads = [f"{metric.replace('ece', 'ECE')} {classes} %" for classes, metric in COLUMNS]
    lines = ["| objective | " + " | ".join(heads) + " | new ECE against `ce` |", "|---" * 6 + "|"]
    order = sorted(results, key=lambda name: (name != "zero_shot", name != BASELINE, name))
    for name in order:
        own = results[name]
        cells = [spread([v for k, v in own.items() if k[:2] == column]) for column in COLUMNS]
        differences = change(own, results[BASELINE], "new")
        last = spread(differences) if differences and name != BASELINE else ""
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {last} |")
    return lines


def findings(results: Mapping[str, Values]) -> list[str]:
    """What training does to the zero-shot model, and directions that all seeds agree on."""
    lines = []
    if "zero_shot" in results:
        told = [
            f"{column[1].replace('ece', 'ECE')} on {column[0]} classes from "
            f"{_mean(results, 'zero_shot', column)} to {_mean(results, BASELINE, column)} %"
            for column in COLUMNS
        ]
        lines.append(f"- Training with plain cross-entropy moves {', '.join(told)}, on average.")
    rows = {name: own for name, own in results.items() if name not in ("zero_shot", BASELINE)}
    for classes in ("base", "new"):
        moved = {name: change(own, results[BASELINE], classes) for name, own in rows.items()}
        better = [name for name, d in moved.items() if d and max(d) < 0]
        worse = [name for name, d in moved.items() if d and min(d) > 0]
        better.sort(key=lambda name: statistics.mean(moved[name]))
        shown = ", ".join(better[:8]) + (", ..." if len(better) > 8 else "")
        lines.append(
            f"- {classes.capitalize()} classes: against plain cross-entropy, ECE is lower with every seed "
            f"for {len(better)} of {len(rows)} objectives{f' ({shown})' if shown else ''}, higher with "
            f"every seed for {len(worse)}; for the others the seeds disagree."
        )
    return lines


def _mean(results: Mapping[str, Values], name: str, column: tuple[str, str]) -> str:
    return spread([statistics.mean(v for k, v in results[name].items() if k[:2] == column)])


def page(results: Results) -> str:
    """The whole page."""
    lines = [
        "# CoOp with every objective on two small data sets",
        "",
        "Written by `scripts/write_objective_results.py` from the runs of `examples/objectives_digits.yaml`: "
        "CoOp with 16 learned tokens, base-to-new protocol, a fresh random crop in every epoch (not "
        f"mirrored), backbone {', '.join(results.backbones)}. Mean ± "
        "standard deviation over seeds; ECE has 15 equal-width bins. The last column is the change of ECE on "
        "new classes against `ce` with the same seed (negative is better).",
        "",
    ]
    for data, values in sorted(results.values.items()):
        counts = " and ".join(f"{n} {classes}" for classes, n in sorted(results.rows[data].items()))
        if BASELINE not in values:
            sys.exit(
                f'{data}: the store has no run with the objective "{BASELINE}" to compare with'
            )
        recipe = results.recipes.get(data, "no training")
        lines += [f"## {data}", "", f"{recipe}; test images: {counts}.", "", *table(values), ""]
        lines += [*findings(values), ""]
    return "\n".join(lines) + "\n" + LIMITS


def main() -> None:
    """Read a store and write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("store", type=Path, help="folder that vlmcal run wrote")
    parser.add_argument("--out", type=Path, default=TARGET)
    options = parser.parse_args()
    results = collect(Store(options.store))
    if not results.values:
        sys.exit(f"{options.store} holds no run; first: vlmcal run examples/objectives_digits.yaml")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page(results), encoding="utf-8")


if __name__ == "__main__":
    main()
