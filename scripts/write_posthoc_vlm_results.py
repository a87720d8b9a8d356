"""Write docs/results/posthoc_vlm.md: calibrators that read features, on the demo's runs.

vlmcal demo --out demo-report
python scripts/write_posthoc_vlm_results.py demo-report
"""

import sys
from pathlib import Path

from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.spec import load_spec
from vlmcal.experiment.store import Store
from vlmcal.report import runs_table

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "results" / "posthoc_vlm.md"
PAGE = """# Calibrators of vision-language models on the demo's runs

Written by `scripts/write_posthoc_vlm_results.py` from `examples/digits_posthoc.yaml`: digits, pocket
backbone, 16 shots, 200 epochs, three seeds; every calibrator was fitted on the held-out images of the base
classes and applied to base and new test images. A dash: the calibrator learns something for each class,
so it cannot be applied to other classes.

{table}

## What this shows, and what it does not

- After plain cross-entropy tuning nothing that is fitted on base classes repairs the new ones: temperature,
  `sals` and `zs_range` make them worse; `dac` changes them by less than seeds do; `set_mass` lowers
  their ECE and NLL and leaves them far from calibrated.
- After `ce + tcpt`, which keeps the new classes in shape, temperature fitted on base classes helps both.
- With a zero-shot model `dac`, `sals` and `zs_range` change nothing, as they should: nothing was tuned.
- Methods that learn per class or per bin (`procal_bin`, `feature_isotonic`) raise NLL here: the held-out
  rows are few.
- The backbone is a toy; the published effects of these methods are on CLIP and on more images.
"""


def main() -> None:
    """Read the store and write the page."""
    store = Store(Path(sys.argv[1]))
    settings = load_spec(ROOT / "examples" / "digits_posthoc.yaml").evaluate
    rows = [row for run in store.runs() for row in evaluate_run(store, run, settings)]
    rows = [row for row in rows if row.evaluation is not None]
    rows.sort(key=lambda r: (r.cell["method"]["name"] != "zero_shot", str(r.cell["objective"])))
    table = runs_table(rows, metrics=("accuracy", "ece", "brier", "nll")).to_markdown()
    TARGET.write_text(PAGE.format(table=table), encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
