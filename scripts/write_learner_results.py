"""Write docs/results/learners.md from a store of runs: every method, over seeds.

vlmcal run examples/learners.yaml --store runs-learners
python scripts/write_learner_results.py runs-learners
"""

import sys
from collections import defaultdict
from pathlib import Path

from vlmcal.experiment.evaluate import Row, evaluate_run
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Store
from vlmcal.report import runs_table

TARGET = Path(__file__).parent.parent / "docs" / "results" / "learners.md"
MEASURED = EvaluateSpec(calibrators=["none"], metrics=["accuracy", "ece"], resamples=100)
PAGE = """# Methods on digits and shapes

Written by `scripts/write_learner_results.py` from `examples/learners.yaml`: the pocket backbone, 16 images
per base class, 20 epochs, batches of 32, the centre view only; mean and deviation over seeds. Methods
with parameters per class have no path to new class names, so only base classes are measured. ECE has 15
equal-width bins, no calibrator is applied.

{tables}

## What this does not show

- The backbone is a toy that ships with the package, not CLIP; the order of the methods here says nothing
  about their order on CLIP.
- One recipe for all: published recipes differ in epochs, batch and learning rate (`vlmcal list presets`), and
  several methods need more steps than these. `proda` has 8 contexts of 4 tokens instead of 32 of 16.
- With 20 epochs prompts have hardly begun to over-fit; the demo (200 epochs) shows what happens later.
- Refused combinations are missing: `tcpt` has nothing to hold on to where the text side stays frozen.
"""


def main() -> None:
    """Read the store and write the page."""
    store = Store(Path(sys.argv[1]))
    parts: dict[str, list[Row]] = defaultdict(list)
    for run in store.runs():
        for row in evaluate_run(store, run, MEASURED):
            if row.evaluation is not None:
                parts[str(row.cell["data"]["name"])].append(row)
    tables = []
    for name, rows in sorted(parts.items()):
        rows.sort(key=lambda r: (r.cell["method"]["name"] != "zero_shot", str(r.cell["method"])))
        table = runs_table(rows, metrics=("accuracy", "ece")).to_markdown()
        tables.append(f"## {name}\n\n{table}")
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(PAGE.format(tables="\n\n".join(tables)), encoding="utf-8")
    print(f"{TARGET}: {sum(map(len, parts.values()))} results")


if __name__ == "__main__":
    main()
