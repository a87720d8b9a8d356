"""Times to the first result in a fresh process: importing, the first metric, the help, a prediction.

    python benchmarks/imports.py [--write]                # this checkout; into docs/benchmarks.md
    python benchmarks/imports.py --before OTHER/src       # beside another checkout, with the ratio

Processor time of the child, shortest of several starts, the two checkouts in turns.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tables import write

HERE = Path(__file__).parent.parent / "src"
ROWS = (
    "import numpy as np; g = np.random.default_rng(0); c = g.random(1000); y = g.random(1000) < c; "
)
PREDICT = "vlmcal predict, one picture"
COMMAND = "import sys; sys.argv[1:] = {}; from vlmcal.cli import main; main()"
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
    "vlmcal --help": COMMAND.format(["--help"]),
    "vlmcal list": COMMAND.format(["list"]),
    "vlmcal describe coop": COMMAND.format(["describe", "coop"]),
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
    if done.returncode:
        raise SystemExit(done.stderr)
    return float(done.stderr.split()[-1])


def prediction(folder: Path) -> str:
    """Code that predicts one picture with a zero-shot run on digits, which is made first."""
    from PIL import Image

    picture, store = folder / "picture.png", folder / "store"
    Image.linear_gradient("L").save(picture)
    trained = ["train", "digits", "--method", "zero_shot", "--store", str(store)]
    seconds(COMMAND.format(trained), HERE)
    (run,) = (store / "runs").iterdir()
    return COMMAND.format(["predict", str(run), str(picture)])


def main() -> None:
    """Print a table with one line per case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("word", nargs="?", default="", help="only cases whose name has it")
    parser.add_argument("--before", type=Path, help="src folder of another checkout")
    parser.add_argument("--starts", type=int, default=15)
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    sources = [HERE, *([options.before] if options.before else [])]
    head = ["case", "ms", *(["before, ms", "now / before"] if options.before else [])]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as folder:
        cases = dict(CASES)
        if options.word in PREDICT:
            cases[PREDICT] = prediction(Path(folder))
        for name, code in cases.items():
            if options.word not in name:
                continue
            lines.append(line(name, code, sources, options.starts))
            print(lines[-1], flush=True)
    if options.write and not options.word:
        write("imports", "\n".join(lines))


def line(name: str, code: str, sources: list[Path], starts: int) -> str:
    """A row of the table."""
    times: list[list[float]] = [[] for _ in sources]
    for start in range(starts + 1):
        for kept, source in zip(times, sources, strict=True):
            taken = seconds(code, source)
            # The first start may still write or read what later ones find in the file cache.
            kept += [taken] if start else []
    best = [1000 * min(kept) for kept in times]
    ratio = [f"{best[0] / best[1]:.2f}"] if len(best) > 1 else []
    return f"| {' | '.join([name, *(f'{ms:.0f}' for ms in best), *ratio])} |"


if __name__ == "__main__":
    main()
