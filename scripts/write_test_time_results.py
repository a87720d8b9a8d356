"""Write docs/results/test_time.md: test-time methods on digits, shapes and, where given, CIFAR-10 images.

python scripts/write_test_time_results.py runs-test-time --cifar10 FOLDER    # train/NAME and test/NAME in it

The published averages stand in docs/results/test_time_published.csv with their sources. Nothing that the
store holds is done again.
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vlmcal.data.base import load_dataset
from vlmcal.experiment.evaluate import Row, evaluate_run
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.run import Workbench
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.types.dataset import Dataset

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "results" / "test_time.md"
PUBLISHED = ROOT / "docs" / "results" / "test_time_published.csv"
TEST, HELD_OUT = 150, 60  # images of each data set
LARGER = 0.05
TEMPLATE = "a photo of a {}."
PAGE = """# Test-time methods

Written by `scripts/write_test_time_results.py`. `pocket` is a toy; nothing here says anything about CLIP.

## Exactness

Every golden case of the released procedures (C-TPT, O-TPT, A-TPT with both signs, TDA, DMN, ReTA) and of
CoTS, which has no public code, is reproduced by `tests/golden/test_procedures.py`: the same views, cache
entries and votes, and numbers within

| quantity | limit, of the largest value |
|---|---|
| logits, features, entropies | 5e-5 |
| losses, gradients | 2e-4 |
| context after one step, after two | 1e-5, 5e-5 |
| outputs of TDA and DMN | 1e-4 |
| probabilities and caches, losses, residual of ReTA | 1e-4, 1e-3, 1e-2 |
| temperature of CoTS | 1e-4 |

Images tuned side by side give what one by one gives (`tests/contracts/test_adaptations.py`); the cost of a
step is in [the benchmarks](../benchmarks.md).

## Measured on `pocket`

{test} test and {held_out} held-out images of each data set, 64 views (only photos are mirrored), template
"{template}", which is also what `tpt` starts from: accuracy and ECE (15 bins) in % with 95 % intervals.
"+ temperature" is fitted on held-out images that went through the same adaptation.

{tables}

At the published step of 0.005 the toy hardly moves: before and after `tpt` differ by at most {moved:.4f} in
any probability on digits. The rows with lr = {larger} take a step ten times as large, which nobody publishes;
they show the direction in which each method goes, not its merit. Cache methods see one shuffled stream of
{test} images; `reta` is missing, because it needs several templates.

## Published, of CLIP

Averages from the authors' READMEs, as printed there (none was reproduced here):

{published}
"""
OTHERS = ("c_tpt", "o_tpt", "a_tpt", {"name": "a_tpt", "released_sign": True})


def methods(flip: bool) -> Iterator[dict]:
    """The rows of a table, in order."""
    yield {"name": "zero_shot"}
    named = [each if isinstance(each, dict) else {"name": each} for each in ("tpt", *OTHERS)]
    for lr in (None, LARGER):
        own = {"flip": flip} | ({} if lr is None else {"lr": lr})
        yield from ({**each, **own} for each in named)
        for name in ("cots", "e_cots"):
            yield {"name": name, "start": {"name": "tpt", **own}}
    yield {"name": "tda"}
    yield {"name": "dmn", "flip": flip}


def part(data: Dataset) -> Dataset:
    """A subset with so many test and held-out images, evenly spread."""
    kept = [np.flatnonzero(data.splits == "train")]
    for split, count in (("test", TEST), ("val", HELD_OUT)):
        rows = np.flatnonzero(data.splits == split)
        kept.append(rows[np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)])
    return replace(data.subset(np.concatenate(kept)), templates=(TEMPLATE,))


def held_out(data: Dataset) -> Dataset:
    """Half of the training images as held-out ones, where there are none."""
    splits = data.splits.copy()
    splits[np.flatnonzero(splits == "train")[::2]] = "val"
    return replace(data, splits=splits)


def measured(store: Store, name: str, loader: dict, flip: bool) -> list[Row]:
    """Run what is missing on one data set, and measure it."""
    data = load_dataset(loader)
    if not (data.splits == "val").any():
        data = held_out(data)
    bench = Workbench(unchecked=True)
    bench.add_dataset(loader, part(data))
    spec = parse_spec(
        {
            "data": loader,
            "method": list(methods(flip)),
            "seed": 1,
            "evaluate": {
                "calibrators": ["none", "temperature"],
                "metrics": ["accuracy", "ece"],
                "resamples": 1000,
            },
        }
    )
    rows = []
    for result in run_experiment(spec, store, bench=bench):
        if result.error is not None:
            raise result.error
        print(name, result.cell.label(), flush=True)
        rows += evaluate_run(store, str(result.run), spec.evaluate)
    return rows


def label(row: Row) -> str:
    """Method with what differs from the published setting."""
    method = dict(row.cell["method"])
    start = method.get("start", {})
    name = str(method["name"])
    if method.get("released_sign"):
        name += ", released sign"
    if "lr" in method or "lr" in start:
        name += f", lr = {LARGER}"
    return name + ("" if row.calibrator == "none" else " + temperature")


def table(rows: list[Row]) -> str:
    """A table in Markdown."""
    lines = ["| method | accuracy | ECE |", "|---|---|---|"]
    for row in rows:
        assert row.evaluation is not None, row.reason
        cells = [row.evaluation.estimates[key] for key in ("accuracy", "ece")]
        shown = [f"{100 * e.value:.1f} [{100 * e.low:.1f}, {100 * e.high:.1f}]" for e in cells]
        lines.append(f"| {label(row)} | {shown[0]} | {shown[1]} |")
    return "\n".join(lines)


def published() -> str:
    """The published averages as a table."""
    with PUBLISHED.open(encoding="utf-8") as stream:
        head, *rows = csv.reader(stream)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def moved(rows: list[Row]) -> float:
    """Largest change of a probability by TPT at the published step."""
    (row,) = [r for r in rows if label(r) == "tpt"]
    assert row.predictions is not None
    before = replace(row.predictions, logits=row.predictions.extras["unadapted_logits"])
    return float(np.abs(row.predictions.probabilities() - before.probabilities()).max())


def main() -> None:
    """Run, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--cifar10", type=Path)
    given = parser.parse_args()
    store = Store(given.store)
    shapes = {
        "name": "shapes",
        "n_classes": 20,
        "n_train": 1,
        "n_val": 3,
        "n_test": 8,
        "shift": 0.7,
    }
    sets = [("digits", {"name": "digits"}, False), ("shapes (shift 0.7)", shapes, False)]
    if given.cifar10 is not None:
        sets.append(("CIFAR-10", {"path": str(given.cifar10)}, True))
    found = {name: measured(store, name, loader, flip) for name, loader, flip in sets}
    text = PAGE.format(
        test=TEST,
        held_out=HELD_OUT,
        template=TEMPLATE,
        larger=LARGER,
        tables="\n\n".join(f"### {name}\n\n{table(rows)}" for name, rows in found.items()),
        moved=moved(found["digits"]),
        published=published(),
    )
    TARGET.write_text(text, encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
