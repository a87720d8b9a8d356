"""Whole commands on large inputs, as a user types them: processor time, and peak memory.

    OMP_NUM_THREADS=1 python benchmarks/commands.py [WORD ...] [--small] [--write]

Each command runs in a process of its own; the time is that of the processor, start and imports included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from peers import scores
from tables import write

VLMCAL = [sys.executable, "-m", "vlmcal"]


def class_scores(file: Path, n: int, seed: int) -> Path:
    """A CSV of N rows and 100 classes, with ids."""
    logits, labels = scores(n, 100, seed)
    rows = pd.DataFrame(logits, columns=[f"logit_{c}" for c in range(100)])
    rows.insert(0, "label", labels)
    rows.insert(0, "id", [f"{file.stem}-{i}" for i in range(n)])
    rows.to_csv(file, index=False)
    return file


def answers(folder: Path, n: int) -> Path:
    """A folder of N imported yes/no answers, three to an image, with stated confidences of two decimals."""
    rng = np.random.default_rng(0)
    table = folder / "answers.jsonl"
    with table.open("w") as stream:
        for i in range(n):
            stated, gold = int(rng.integers(50, 101)), ("no", "yes")[i % 2]
            right = rng.random() < 0.1 + 0.8 * stated / 100
            line = {"id": str(i), "question": f"Is finding {i} there?", "image": f"{i // 3}.png"}
            answer = gold if right else {"no": "yes", "yes": "no"}[gold]
            line |= {"gold": gold, "answer": answer, "confidence": stated / 100}
            stream.write(json.dumps(line) + "\n")
    command = ["vqa", "import", str(table), "--confidence", "confidence", "--scale", "unit"]
    subprocess.run([*VLMCAL, *command, "-o", str(folder / "answers")], check=True, **QUIET)
    return folder / "answers"


QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def measured(command: list[str]) -> tuple[float, float]:
    """Seconds of processor time and peak memory in MiB of one command."""
    child = subprocess.Popen([*VLMCAL, *command], **QUIET)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only commands that hold one of these")
    parser.add_argument("--small", action="store_true", help="a fiftieth of the rows")
    parser.add_argument("--write", action="store_true", help="into docs/benchmarks.md")
    options = parser.parse_args()
    n, many = (1_000, 2_000) if options.small else (50_000, 100_000)
    lines = ["| command | rows | processor time, s | peak, MiB |", "|---|---|---|---|"]
    print("\n".join(lines))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        page = str(folder / "page.html")
        work = {
            "evaluate": (f"{n:,} x 100, CSV, HTML report", ["test"]),
            "calibrate compare": (
                f"{n:,} x 100 to fit and to test, CSV, HTML report",
                ["val", "test"],
            ),
            "vqa evaluate": (f"{many:,} answers, HTML report", []),
        }
        for verb, (rows, files) in work.items():
            if options.words and not any(word in verb for word in options.words):
                continue
            seeds = {"val": 1, "test": 0}
            given = [str(class_scores(folder / f"{f}.csv", n, seeds[f])) for f in files]
            given = [*given, "--logits"] if files else [str(answers(folder, many))]
            seconds, peak = measured([*verb.split(), *given, "--report", page])
            lines.append(f"| `{verb}` | {rows} | {seconds:.1f} | {peak:,.0f} |")
            print(lines[-1], flush=True)
    if options.write:
        write("commands", "\n".join(lines))


if __name__ == "__main__":
    main()
