"""A grid of small cells, side by side and one by one: processor time in one process, in turns.

    python benchmarks/cells.py            # 3 seeds x 5 objectives x 3 shots on digits, about a minute
    python benchmarks/cells.py --quick    # a third of it

Side by side, one pass through the text tower serves all runs of a step (:mod:`vlmcal.training.side_by_side`).
Runs are stored in full both ways: trained, predicted, checkpointed and published.
"""

import argparse
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
import torch

from vlmcal.experiment import work
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.plan import plan
from vlmcal.experiment.spec import ExperimentSpec, parse_spec
from vlmcal.experiment.store import Store
from vlmcal.experiment.workbench import Workbench
from vlmcal.io.predictions import load_predictions

OBJECTIVES = ["ce", ["ce", "tcpt"], ["ce", "mbls"], ["ce", "dca"], ["ce", "mdca"]]


def grid(seeds: int, epochs: int) -> ExperimentSpec:
    return parse_spec(
        {
            "data": {"name": "digits", "protocol": "base-to-new", "calibration": "all"},
            "method": {"name": "coop", "n_ctx": 4},
            "objective": OBJECTIVES,
            "shots": [2, 4, 8],
            "seed": list(range(1, seeds + 1)),
            "train": {"epochs": epochs},
        }
    )


def seconds(spec: ExperimentSpec, company: int, cache: Path, store: Path) -> float:
    """Processor time of a whole experiment with so many runs side by side."""
    bench = Workbench(cache_dir=cache)
    bench.run_id(plan(spec)[0])  # data and backbone are there
    work.COMPANY = company
    start = time.process_time()
    for result in run_experiment(spec, Store(store), bench=bench):
        if result.error is not None:
            raise result.error
    return time.process_time() - start


def furthest(first: Path, second: Path) -> float:
    """The largest difference of a probability between two stores of the same runs."""
    worst = 0.0
    for path in sorted(first.glob("runs/*/predictions/*.safetensors")):
        pair = [
            load_predictions(p).probabilities() for p in (path, second / path.relative_to(first))
        ]
        worst = max(worst, float(np.abs(pair[0] - pair[1]).max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("epochs  cells  one by one  side by side  ratio  largest difference of a probability")
    for epochs in [30] if quick else [30, 100]:
        spec = grid(1 if quick else 3, epochs)
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for name in ("warm", "apart", "together"):
                company = 1 if name == "apart" else 64
                taken = seconds(
                    spec if name != "warm" else grid(1, 1), company, root / "cache", root / name
                )
                if name == "apart":
                    apart = taken
            print(
                f"{epochs:6d}  {len(plan(spec)):5d}  {apart:8.2f} s  {taken:10.2f} s  {taken / apart:5.2f}"
                f"  {furthest(root / 'apart', root / 'together'):.1e}"
            )


if __name__ == "__main__":
    main()
