"""Times to the first result in a fresh process: importing, the first metric, the help; prints Markdown.

    python benchmarks/imports.py                          # this checkout
    python benchmarks/imports.py --before OTHER/src       # beside another checkout, with the ratio

Processor time of the child, shortest of several starts, the two checkouts in turns.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent / "src"
ROWS = (
    "import numpy as np; g = np.random.default_rng(0); c = g.random(1000); y = g.random(1000) < c; "
)
CASES = {
    "python, nothing imported": "pass",
    "import vlmcal": "import vlmcal",
    "import numpy": "import numpy",
    "first metric (ece of 1,000 rows)": ROWS
    + "from vlmcal.metrics.expected_calibration_error import ece; ece(c, y)",
    "first evaluate (1,000 rows, no intervals)": ROWS
    + "import vlmcal; vlmcal.evaluate(vlmcal.Confidences(confidence=c, correct=y), intervals=False)",
    "the embedded model": "from vlmcal.backbones import load_backbone; load_backbone('pocket')",
    "the same, ready to predict": "import vlmcal.api; from vlmcal.backbones import load_backbone; "
    "load_backbone('pocket')",
    "vlmcal --help": "import sys; sys.argv = ['vlmcal', '--help']; from vlmcal.cli import main; main()",
    "vlmcal list": "import sys; sys.argv = ['vlmcal', 'list']; from vlmcal.cli import main; main()",
    "vlmcal describe coop": "import sys; sys.argv = ['vlmcal', 'describe', 'coop']; "
    "from vlmcal.cli import main; main()",
}
TIMED = "import time, atexit, sys; atexit.register(lambda: print(time.process_time(), file=sys.stderr)); "


def seconds(code: str, source: Path) -> float:
    """Processor time of a fresh interpreter that runs ``code`` with the package of ``source``."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", TIMED + code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return float(done.stderr.split()[-1])


def main() -> None:
    """Print a table with one line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, help="src folder of another checkout")
    parser.add_argument("--starts", type=int, default=15)
    options = parser.parse_args()
    sources = [HERE, *([options.before] if options.before else [])]
    head = ["case", "ms", *(["before, ms", "now / before"] if options.before else [])]
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for name, code in CASES.items():
        times: list[list[float]] = [[] for _ in sources]
        for start in range(options.starts + 1):
            for kept, source in zip(times, sources, strict=True):
                taken = seconds(code, source)
                # The first start may still write or read what later ones find in the file cache.
                kept += [taken] if start else []
        best = [1000 * min(kept) for kept in times]
        ratio = [f"{best[0] / best[1]:.2f}"] if options.before else []
        print(f"| {' | '.join([name, *(f'{ms:.0f}' for ms in best), *ratio])} |")


if __name__ == "__main__":
    main()
