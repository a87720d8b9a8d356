"""Write docs/results/bayesian.md: prompts with a posterior, and what their draws disagree about.

python scripts/write_bayesian_results.py        # some minutes on one processor core
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np

from vlmcal.experiment.plan import plan
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.io.predictions import load_predictions
from vlmcal.metrics import evaluate
from vlmcal.posthoc.ensembles import ensemble
from vlmcal.posthoc.ood_scores import detection
from vlmcal.types.predictions import Predictions

TARGET = Path(__file__).parent.parent / "docs" / "results" / "bayesian.md"
DATA = {"name": "shapes", "n_classes": 40, "n_test": 20, "shift": 0.6, "protocol": "base-to-new"}
SEEDS = (1, 2, 3)
SHOTS = 8
RECIPE = {"epochs": 20, "batch_size": 32, "lr": 0.02}
METHODS: list[dict[str, object]] = [
    {"name": "zero_shot"},
    {"name": "coop"},
    {"name": "bpl", "samples": 3},
    {"name": "bayes_coop"},
    {"name": "bayes_coop", "low_rank": 4},
    {"name": "laplace"},
    {"name": "swag"},
]
PAGE = """# Bayesian prompts: averages of draws, and what they disagree about

Written by `scripts/write_bayesian_results.py`: the pocket backbone, `shapes` with 40 classes (20 base, 20
new) under a shift of 0.6, {shots} images per base class, {recipe}; mean over seeds {seeds}, the deviation
over seeds in brackets. No calibrator is applied; ECE has 15 equal-width bins, percent; NLL in nats. The last
row averages the three seeds of `coop` (`vlmcal ensemble`).

{table}

"Errors" is the AUROC of the mutual information (the epistemic part) for wrong against right base images,
"by confidence" the AUROC of 1 - confidence for the same, "new" the AUROC of the mutual information
for images of new classes, scored among new classes, against those of base classes: 50 is chance.

## Reading

{reading}

## What this does not show

- The backbone is a toy that ships with the package, the images are drawn: the order of the methods says
  nothing about CLIP.
- Three seeds: the deviation over seeds is the least by which rows must differ to mean anything.
- Prior and weight of the divergence are the defaults; none was chosen by these numbers.
"""


def label(method: dict[str, object]) -> str:
    """A method with its options, for the table."""
    options = ", ".join(f"{k}={v}" for k, v in method.items() if k != "name")
    return f"`{method['name']}({options})`" if options else f"`{method['name']}`"


def predictions(
    method: dict[str, object], seed: int, store: Store, bench: Workbench
) -> list[Predictions]:
    """Test rows of base and new classes."""
    train = {} if method["name"] == "zero_shot" else RECIPE
    spec = {"data": DATA, "method": [method], "shots": SHOTS, "seed": seed, "train": train}
    (cell,) = plan(parse_spec(spec))
    run = run_cell(cell, store, bench)
    assert run is not None
    folder = store.folder(run) / "predictions"
    return [load_predictions(folder / f"test_{part}.safetensors") for part in ("base", "new")]


def measured(base: Predictions, new: Predictions) -> list[float]:
    """Accuracy, ECE and NLL of both parts, and the three AUROCs in percent (NaN without draws)."""
    found: list[float] = []
    for rows in (base, new):
        values = evaluate(rows, ["accuracy", "ece", "nll"], resamples=100).estimates
        found += [100 * values["accuracy"].value, 100 * values["ece"].value, values["nll"].value]
    right = base.predicted() == base.labels
    sure = base.probabilities().max(axis=1)
    by_confidence = detection(sure[right], sure[~right]).auroc
    information = [rows.extras.get("mutual_information") for rows in (base, new)]
    if information[0] is None or information[1] is None:
        return [*found, float("nan"), 100 * by_confidence, float("nan")]
    errors = detection(-information[0][right], -information[0][~right]).auroc
    unknown = detection(-information[0], -information[1]).auroc
    return [*found, 100 * errors, 100 * by_confidence, 100 * unknown]


def line(name: str, rows: list[list[float]]) -> str:
    """One row of the table."""
    mean = np.mean(rows, axis=0)
    spread = np.std(rows, axis=0, ddof=1) if len(rows) > 1 else np.full(len(mean), np.nan)
    cells = []
    for place, (value, deviation) in enumerate(zip(mean, spread, strict=True)):
        form = "{:.2f}" if place in (2, 5) else "{:.1f}"
        text = "-" if np.isnan(value) else form.format(value)
        cells.append(text if np.isnan(deviation) else f"{text} ({form.format(deviation)})")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    """Train everything and write the page."""
    warnings.simplefilter("ignore")
    lines = [
        "| method | base: accuracy | ECE | NLL | new: accuracy | ECE | NLL | errors | by confidence | new |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    means: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store, bench = Store(Path(folder)).open(), Workbench()
        for method in METHODS:
            parts = [predictions(method, seed, store, bench) for seed in SEEDS]
            rows = [measured(*part) for part in parts]
            means[label(method)] = list(np.mean(rows, axis=0))
            lines.append(line(label(method), rows))
            print(lines[-1], flush=True)
            if method["name"] == "coop":
                both = [ensemble([part[side] for part in parts]) for side in (0, 1)]
        means["ensemble"] = measured(*both)
        lines.append(line("`coop`, three seeds averaged", [means["ensemble"]]))
        print(lines[-1], flush=True)
    TARGET.write_text(
        PAGE.format(
            shots=SHOTS,
            recipe=", ".join(f"{k} {v}" for k, v in RECIPE.items()),
            seeds=", ".join(map(str, SEEDS)),
            table="\n".join(lines),
            reading=reading(means),
        ),
        encoding="utf-8",
    )
    print(TARGET)


def reading(means: dict[str, list[float]]) -> str:
    """What the numbers say, from the numbers."""
    plain = means["`coop`"]
    drawn = {name: row for name, row in means.items() if not np.isnan(row[6])}
    lower = [name for name, row in drawn.items() if row[2] < plain[2]]
    lower_new = [name for name, row in drawn.items() if row[5] < plain[5]]
    better = [name for name, row in drawn.items() if row[6] > row[7]]
    above = [name for name, row in drawn.items() if row[8] > 60]

    def names(some: list[str]) -> str:
        return ", ".join(some) if some else "none of them"

    return "\n".join(
        [
            f"- NLL below that of `coop` on base classes: {names(lower)}.",
            f"- The same on new classes: {names(lower_new)}.",
            f"- Mutual information tells wrong from right better than the confidence does: {names(better)}.",
            f"- It tells new from base classes with an AUROC above 60: {names(above)}.",
        ]
    )


if __name__ == "__main__":
    main()
