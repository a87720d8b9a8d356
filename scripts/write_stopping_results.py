"""Write docs/results/stopping.md: which epoch to keep, by loss, accuracy or refinement.

python scripts/write_stopping_results.py        # some minutes on one processor core
"""

import tempfile
import warnings
from pathlib import Path

import numpy as np

from vlmcal.calibrators.base import make
from vlmcal.experiment.plan import plan
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.io.predictions import load_predictions
from vlmcal.metrics import evaluate

TARGET = Path(__file__).parent.parent / "docs" / "results" / "stopping.md"
DIGITS = {"name": "digits", "protocol": "all-class"}
SHAPES = {"name": "shapes", "protocol": "all-class", "shift": 0.7}
CASES: dict[str, tuple[dict[str, object], str, dict[str, object]]] = {
    "digits, `task_res`": (DIGITS, "task_res", {"epochs": 100, "lr": 0.01, "batch_size": 32}),
    "digits, `coop`": (DIGITS, "coop", {"epochs": 30, "lr": 0.01, "batch_size": 32}),
    "shapes, `task_res`": (SHAPES, "task_res", {"epochs": 40, "lr": 0.02, "batch_size": 64}),
}
STOPS = ("last", "loss", "accuracy", "refinement")
SEEDS = (1, 2, 3)
PAGE = """# Which epoch to keep

Written by `scripts/write_stopping_results.py`: the pocket backbone, 16 images per class, {recipes}, and
`train: {{stop: ...}}`: the last epoch, or the best on the held-out images by loss, accuracy or refinement
(the loss that is left after a temperature). Those images then fit the temperature of the right half,
too. Mean over seeds {seeds}, the deviation over seeds in brackets; percent, NLL in nats.

{tables}

## Reading

{reading}

## What this does not show

- The backbone is a toy; how soon a prompt over-fits on CLIP is another matter.
- The held-out images choose the epoch and fit the temperature; an epoch chosen among many is a little too
  good on them, for every criterion alike.
"""


def measured(case: str, stop: str, seed: int, store: Store, bench: Workbench) -> list[float]:
    """Accuracy, ECE and NLL of the test images as they are, then ECE and NLL after a temperature."""
    data, method, recipe = CASES[case]
    train = {**recipe, "stop": stop}
    (cell,) = plan(parse_spec({"data": data, "method": [method], "seed": seed, "train": train}))
    run = run_cell(cell, store, bench)
    assert run is not None
    folder = store.folder(run) / "predictions"
    held, test = (
        load_predictions(folder / f"{p}.safetensors") for p in ("calibration", "test_all")
    )
    raw = evaluate(test, ["accuracy", "ece", "nll"], resamples=100).estimates
    after = make("temperature").fit(held).transform(test)
    calibrated = evaluate(after, ["ece", "nll"], resamples=100).estimates
    return [
        100 * raw["accuracy"].value,
        100 * raw["ece"].value,
        raw["nll"].value,
        100 * calibrated["ece"].value,
        calibrated["nll"].value,
    ]


def table(name: str, found: dict[str, np.ndarray]) -> str:
    """All criteria for one method on one data set."""
    lines = [
        f"## {name[0].upper()}{name[1:]}",
        "",
        "| kept | accuracy | ECE | NLL | ECE after a temperature | NLL |",
        "|---|---|---|---|---|---|",
    ]
    for stop, rows in found.items():
        cells = []
        for place, (mean, spread) in enumerate(zip(rows.mean(0), rows.std(0, ddof=1), strict=True)):
            digits = 3 if place in (2, 4) else 1
            cells.append(f"{mean:.{digits}f} ({spread:.{digits}f})")
        lines.append(f"| {'last' if stop == 'last' else f'best {stop}'} | {' | '.join(cells)} |")
    return "\n".join(lines)


def reading(everything: dict[str, dict[str, np.ndarray]]) -> str:
    """What the numbers say, from the numbers."""
    lines = []
    for name, found in everything.items():
        left = {stop: rows[:, 4].mean() for stop, rows in found.items()}
        spread = max(rows[:, 4].std(ddof=1) for rows in found.values())
        best = min(left, key=lambda stop: left[stop])
        gap = left["refinement"] - left["loss"]
        side = "higher" if gap > 0 else "lower"
        how = "within" if abs(gap) <= spread else "more than"
        lines.append(
            f"- {name}: the lowest NLL after a temperature has `{best}`; kept by refinement it is "
            f"{abs(gap):.3f} {side} than kept by loss, which is {how} the deviation over seeds."
        )
    return "\n".join(lines)


def main() -> None:
    """Train everything and write the page."""
    warnings.simplefilter("ignore")
    tables: list[str] = []
    everything: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store, bench = Store(Path(folder)).open(), Workbench()
        for case in CASES:
            everything[case] = {
                stop: np.array([measured(case, stop, seed, store, bench) for seed in SEEDS])
                for stop in STOPS
            }
            tables.append(table(case, everything[case]))
            print(tables[-1], flush=True)
    page = PAGE.format(
        seeds=", ".join(map(str, SEEDS)),
        recipes="; ".join(
            f"{case}: {recipe['epochs']} epochs, rate {recipe['lr']}"
            for case, (_, _, recipe) in CASES.items()
        ),
        tables="\n\n".join(tables),
        reading=reading(everything),
    )
    TARGET.write_text(page, encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
