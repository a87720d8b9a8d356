"""Draw the reliability diagrams of a finished demo for the README.

vlmcal demo --out demo-report && python scripts/write_demo_picture.py demo-report
"""

import sys
from pathlib import Path

from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Store
from vlmcal.report import runs_figure, save_figure

TARGET = Path(__file__).parent.parent / "docs" / "images" / "demo-reliability.png"


def main() -> None:
    """Read the demo's store and write the picture."""
    store = Store(Path(sys.argv[1]))
    rows = [row for run in store.runs() for row in evaluate_run(store, run, EvaluateSpec())]
    rows.sort(key=lambda row: (row.cell["method"]["name"] != "zero_shot", row.cell["objective"]))
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    save_figure(runs_figure(rows), TARGET)
    print(TARGET)


if __name__ == "__main__":
    main()
