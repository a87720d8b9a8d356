"""Many tiny cells, several engines on one store, workers killed at random: every cell once, the same numbers.

    python scripts/stress_engines.py --cells 200 --engines 2 --workers 2 --kills 20

Runs the same experiment quietly first, and compares every prediction. Linux only: workers are found in /proc.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import yaml


def main() -> None:
    """Run quietly, run disturbed, compare; the exit status tells whether all is well."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--engines", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--every", type=float, default=3.0, help="mean seconds between kills")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stress-"))
    spec = folder / "spec.yaml"
    content = {
        "data": "digits",
        "method": "coop",
        "objective": "ce",
        "shots": 1,
        "seed": f"1..{given.cells}",
        "train": {"epochs": 1},
        "evaluate": {"calibrators": ["none"], "metrics": ["ece"], "resamples": 100},
    }
    spec.write_text(yaml.safe_dump(content))
    started = time.monotonic()
    subprocess.run(_command(spec, folder / "quiet"), check=True, capture_output=True)
    print(f"quiet: {given.cells} cells in {time.monotonic() - started:.0f} s", flush=True)
    kills, outputs = _disturbed(spec, folder / "disturbed", given)
    _compare(folder / "quiet", folder / "disturbed", outputs, given.cells)
    print(
        f"{given.cells} cells, {given.engines} engines, {kills} workers killed: every cell was published"
    )
    print("once, none is lost, and every prediction is, bit for bit, that of the quiet run")


def _command(spec: Path, store: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "vlmcal", "run", str(spec), "--store", str(store), *more]


def _disturbed(spec: Path, store: Path, given: argparse.Namespace) -> tuple[int, list[str]]:
    more = ("--engine", "processes", "--workers", str(given.workers))
    logs = [store.with_suffix(f".{number}.log") for number in range(given.engines)]
    engines = []
    for log in logs:
        with log.open("w") as stream:
            command = _command(spec, store, *more)
            engines.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=stream))
    rng, kills = random.Random(given.seed), 0
    started = time.monotonic()
    while any(engine.poll() is None for engine in engines):
        time.sleep(rng.expovariate(1 / given.every))
        workers = [pid for engine in engines for pid in workers_of(engine.pid)]
        if kills < given.kills and workers and list(store.glob("runs/*/status.json")):
            os.kill(rng.choice(workers), signal.SIGKILL)
            kills += 1
    print(f"disturbed: {time.monotonic() - started:.0f} s, {kills} workers killed", flush=True)
    outputs = [log.read_text() for log in logs]
    codes = [engine.returncode for engine in engines]
    assert codes == [0] * len(engines), (codes, [text[-2000:] for text in outputs])
    return kills, outputs


def workers_of(pid: int) -> list[int]:
    """Process ids of the workers of an engine."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        lines = {int(c): Path(f"/proc/{c}/cmdline").read_text() for c in children}
    except OSError:  # it ended meanwhile
        return []
    return [child for child, line in lines.items() if "spawn_main" in line]


def _compare(quiet: Path, disturbed: Path, outputs: list[str], cells: int) -> None:
    done = Counter(run for text in outputs for run in re.findall(r": done \((\w+)\)", text))
    # An engine that waited for what the other one ran tells it as found in the store.
    assert max(done.values()) == 1, done.most_common(3)
    expected = {path.parent.name for path in quiet.glob("runs/*/status.json")}
    found = {path.parent.name for path in disturbed.glob("runs/*/status.json")}
    assert len(expected) == cells, (len(expected), cells)
    assert found == expected, (len(found), sorted(expected - found)[:5])
    assert not list(disturbed.glob("failed/*.json"))
    for path in quiet.rglob("predictions/*.safetensors"):
        twin = disturbed / path.relative_to(quiet)
        assert _tensors(path) == _tensors(twin), path


def _tensors(path: Path) -> dict[str, bytes]:
    from safetensors.numpy import load_file

    return {name: array.tobytes() for name, array in load_file(path).items()}


if __name__ == "__main__":
    main()
