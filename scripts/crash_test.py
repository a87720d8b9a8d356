"""Kill commands at every point at which they write, repeat them, and compare with a quiet run.

A layer between the program and its files counts every ``write``, ``fsync``, ``rename``, ``unlink`` and
``mkdir`` below the working folder. A scenario first runs quietly, which tells how many points it has. Then,
for each point n, it runs in a fresh folder and ends at once (``os._exit``, like ``kill -9``) at the n-th:
before the operation, or in the middle of it where it is a write, half of whose bytes are then in the file.
After the crash every file that has its final name must hold what the quiet run put there at some time; after
the command was repeated, everything must be as the quiet run left it, byte by byte (durations apart).

    python scripts/crash_test.py                     # all points of all scenarios
    python scripts/crash_test.py elicit --sample 10  # ten points of one
    python scripts/crash_test.py run --each 2        # the first and the last of each kind
"""

import argparse
import builtins
import contextlib
import hashlib
import importlib
import io
import json
import os
import random
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

from vlmcal.io.questions import save_questions
from vlmcal.types.question import Question, QuestionSet

KILLED = 77
# Durations, times and processes; and what run.json adds up over commands, in which one that was killed does
# not count.
VOLATILE = {
    *("seconds", "calls", "tokens", "tokens_in", "tokens_out", "tokens_thinking"),
    *(
        "checksum",
        "when",
        "since",
        "pid",
        "host",
        "time_utc",
        "prev",
        "hash",
        "last",
        "peak_memory",
    ),
}
LEFT_OVER = re.compile(
    r"\.tmp(/|$)|(^|/)\.[^/]*lock$|(^|/)\.writable-\d+$|\.(db|sqlite|tmp)-(wal|shm|journal)$"
)
MODULES = [
    "vlmcal.cli",
    "vlmcal.cli.app",
    "numpy",
    "scipy.stats",
    "scipy.optimize",
    "pyarrow",
    "sklearn.isotonic",
]

RUN = """
data: digits
method: [zero_shot, coop]
shots: 2
seed: 1
train: {epochs: 1}
evaluate: {calibrators: [none, temperature], resamples: 100}
"""


def rows(count: int, seed: int) -> str:
    """A table of rows of three classes, with a group and the right class."""
    draw = random.Random(seed)
    lines = ["id,label,site,cat,dog,owl"]
    for i in range(count):
        weights = [draw.random() ** 2 + 0.05 for _ in range(3)]
        shares = [round(w / sum(weights), 4) for w in weights[:2]]
        label = draw.choices(("cat", "dog", "owl"), weights)[0]
        lines.append(
            f"{seed}-{i},{label},s{i % 4},{shares[0]},{shares[1]},{round(1 - sum(shares), 4)}"
        )
    return "\n".join(lines) + "\n"


def questions(count: int) -> str:
    """Questions as the program itself keeps them."""
    made = [
        Question(id=f"q{i}", question=f"Is finding {i} there?", answer_type="yes_no", gold=("yes",))
        for i in range(count)
    ]
    with tempfile.TemporaryDirectory() as folder:
        save_questions(Path(folder, "q.jsonl"), QuestionSet(name="made", questions=tuple(made)))
        return Path(folder, "q.jsonl").read_text()


def replies(count: int) -> str:
    """One scripted reply for each question."""
    rules = [
        {"contains": f"finding {i} ", "reply": f"{'yes' if i % 3 else 'no'}\nConfidence: {50 + i}%"}
        for i in range(count)
    ]
    return "".join(json.dumps(rule) + "\n" for rule in rules)


FILES = {
    "val.csv": rows(120, 1),
    "test.csv": rows(80, 2),
    "other.csv": rows(120, 1).replace(",s1,", ",s2,"),
    "outcomes.csv": "id,label\n"
    + "".join(f"1-{i},{'cat' if i % 3 else 'dog'}\n" for i in range(9)),
    "spec.yaml": RUN,
    "questions.jsonl": questions(12),
    "script.jsonl": replies(12),
    "log.csv": "id,question,answer,gold,confidence\n"
    + "".join(f"{i},Is it {i}?,{'yes' if i % 3 else 'no'},yes,{50 + i}\n" for i in range(30)),
}
ELICIT = "vqa elicit questions.jsonl --model scripted:script.jsonl -o answers --parallel 2"
SCENARIOS = {
    "fit": [
        "calibrate fit val.csv --probs -m temperature -o cal.json",
        "calibrate apply cal.json test.csv --probs -o after.npz --json after.json",
        "conformal fit val.csv --probs -m lac --alpha 0.2 -o sets.json",
        "conformal apply sets.json test.csv --probs -o sets.npz",
        "calibrate cross-fit val.csv --probs -m platt -o crossed.safetensors",
    ],
    "audit": [
        "evaluate val.csv --probs --resamples 50 --json numbers.json --csv numbers.csv --report page.html",
        "compare val.csv other.csv --probs --ids id --resamples 50 --json compared.json",
        "monitor val.csv --probs --json watched.json",
    ],
    "elicit": [
        f"{ELICIT} -e verbalized",
        f"{ELICIT} -e p_true",
        "vqa judge answers --judge exact",
        "vqa evaluate answers --resamples 0 --json measured.json",
    ],
    "import": ["vqa import log.csv -o imported", "vqa judge imported --judge exact"],
    "run": ["run spec.yaml --store store"],
    "review": [
        "review val.csv --probs --db review.db --no-page",
        "review outcomes review.db outcomes.csv",
        "review export review.db -o decisions.csv",
        "review export review.db -o log.jsonl",
        "review verify review.db",
    ],
}


class Layer:
    """Counts the operations that change files below ``root``, and ends the process at one of them."""

    def __init__(self, root: Path, at: int | None, log: Path) -> None:
        self.root, self.at, self.count = str(root), at, 0
        self.lock = threading.RLock()
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.real = {name: getattr(os, name) for name in ("fsync", "write", "_exit")}
        self.versions: dict[str, set[str]] = {}

    def inside(self, path: object) -> bool:
        """Whether an operation on ``path`` counts."""
        return isinstance(path, str | os.PathLike) and os.path.abspath(path).startswith(self.root)

    def point(self, what: str, path: object, half: object = None) -> None:
        """One operation is about to happen."""
        with self.lock:
            self.count += 1
            line = f"{what} {os.path.relpath(str(path), self.root)}\n"
            if self.count == self.at:
                if callable(half):
                    half()
                self.real["_exit"](KILLED)
            self.real["write"](self.log, line.encode())

    def keep(self, path: str | os.PathLike[str]) -> None:
        """Remember what a file holds now."""
        for file in [Path(path)] if Path(path).is_file() else Path(path).rglob("*"):
            if file.is_file():
                name = os.path.relpath(file, self.root)
                self.versions.setdefault(name, set()).add(fingerprint(file))

    def install(self) -> None:
        """Stand between this process and its files from here on."""
        real_open = io.open

        def opened(file, mode="r", *rest, **more):  # type: ignore[no-untyped-def]
            if not self.inside(file) or not set(mode) & set("wxa+"):
                return real_open(file, mode, *rest, **more)
            if not os.path.exists(file):
                self.point("create", file)
            return Written(real_open(file, mode, *rest, **more), file, self)

        def wrapped(name):  # type: ignore[no-untyped-def]
            real = getattr(os, name)

            def operation(*args, **more):  # type: ignore[no-untyped-def]
                target = args[1] if name in ("rename", "replace", "link") else args[0]
                if name == "fsync":
                    target = self.root
                counts = name == "fsync" or self.inside(target)
                if counts:
                    self.point(name, target)
                found = real(*args, **more)
                if counts and name in ("rename", "replace", "link"):
                    self.keep(target)
                return found

            return operation

        for name in ("rename", "replace", "fsync", "unlink", "remove", "mkdir", "link", "truncate"):
            setattr(os, name, wrapped(name))
        io.open = builtins.open = opened
        connect = sqlite3.connect

        def connected(file, *rest, **more):  # type: ignore[no-untyped-def]
            base = connect(file, *rest, **more)
            if self.inside(file):
                # SQLite writes by itself: the process ends before one of its statements.
                base.set_trace_callback(lambda statement: self.point("sql", file))
            return base

        sqlite3.connect = connected


class Written:
    """A file that is written to, whose writes count."""

    def __init__(self, stream, path, layer):  # type: ignore[no-untyped-def]
        self.__dict__.update(stream=stream, path=path, layer=layer)

    def write(self, data):  # type: ignore[no-untyped-def]
        """Write, unless the process ends here with half of it."""

        def half() -> None:
            self.stream.write(data[: len(data) // 2])
            self.stream.flush()

        self.layer.point("write", self.path, half)
        return self.stream.write(data)

    def writelines(self, lines):  # type: ignore[no-untyped-def]
        """Write one line after the other."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name):  # type: ignore[no-untyped-def]
        return getattr(self.stream, name)

    def __enter__(self):  # type: ignore[no-untyped-def]
        self.stream.__enter__()
        return self

    def __exit__(self, *error):  # type: ignore[no-untyped-def]
        return self.stream.__exit__(*error)

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.stream)


def steady(value: object) -> object:
    """JSON data without what differs between two runs of the same command."""
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if key not in VOLATILE}
    return [steady(item) for item in value] if isinstance(value, list) else value


def fingerprint(file: Path) -> str:
    """Digest of what a file says."""
    data = file.read_bytes()
    with contextlib.suppress(ValueError):
        if file.suffix == ".json":
            data = json.dumps(steady(json.loads(data)), sort_keys=True).encode()
        elif file.suffix == ".db":
            data = held(file)
        elif file.name == "responses.jsonl":
            lines = [steady(json.loads(line)) for line in data.splitlines()]
            data = "\n".join(sorted(json.dumps(line, sort_keys=True) for line in lines)).encode()
        elif file.suffix == ".jsonl":
            data = "\n".join(json.dumps(steady(json.loads(x))) for x in data.splitlines()).encode()
    return hashlib.sha256(data).hexdigest()


def held(file: Path) -> bytes:
    """What an SQLite database says, whatever lies in which of its files."""
    base = sqlite3.connect(file)
    try:
        names = base.execute("SELECT name, type FROM sqlite_master ORDER BY name").fetchall()
        tables = [name for name, kind in names if kind == "table"]
        rows = [
            list(map(steadied, row))
            for table in tables
            for row in base.execute(f"SELECT * FROM {table}")
            if row[0] != "created"
        ]
    finally:
        base.close()
    return json.dumps([names, rows], sort_keys=True).encode()


def steadied(cell: object) -> object:
    """A cell of a database, JSON in it without what differs between two runs."""
    if isinstance(cell, str):
        with contextlib.suppress(ValueError):
            return steady(json.loads(cell))
    return cell if isinstance(cell, str | int | float) else None


def files_in(root: Path) -> dict[str, str]:
    """Fingerprint of every file that has its final name."""
    found = {}
    for file in sorted(root.rglob("*")):
        name = file.relative_to(root).as_posix()
        if file.is_file() and not LEFT_OVER.search(name):
            found[name] = fingerprint(file)
    return found


def attempt(commands: list[str], root: Path, at: int | None, beside: Path) -> tuple[int, int]:
    """Run the commands in a child process; its exit code, and the number of points it came to."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return code, int((beside / "count").read_text()) if code != KILLED else 0
    code = 1
    try:
        os.chdir(root)
        os.environ["VLMCAL_CACHE"] = str(root / "cache")
        sink = os.open(beside / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(sink, 1)
        os.dup2(sink, 2)
        layer = Layer(root, at, beside / "log")
        layer.install()
        code = perform(commands)
        Path(beside / "count").write_text(str(layer.count))
        (beside / "versions").write_text(
            json.dumps({k: sorted(v) for k, v in layer.versions.items()})
        )
        loaded = [
            name for name in sys.modules if name.startswith(("vlmcal.", "torch.", "transformers."))
        ]
        (beside / "modules").write_text(json.dumps(loaded))
    finally:
        sys.stdout.flush()
        os._exit(code)


def perform(commands: list[str]) -> int:
    """Run commands in this process until one fails."""
    from vlmcal.cli import main

    with contextlib.suppress(ImportError):
        from vlmcal.training import loop

        loop.CHECKPOINT_SECONDS = 0.0
    for command in commands:
        sys.argv = ["vlmcal", *command.split()]
        try:
            main()
        except SystemExit as end:
            if end.code:
                print(f"exit code {end.code} of vlmcal {command}", flush=True)
                return int(end.code) if isinstance(end.code, int) else 1
    return 0


def fresh(root: Path) -> None:
    """An empty working folder with the inputs."""
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for name, text in FILES.items():
        (root / name).write_text(text)


def warm(modules: Path) -> None:
    """Import here what every child would import."""
    for name in json.loads(modules.read_text()):
        with contextlib.suppress(Exception):
            importlib.import_module(name)


def of_each_kind(log: Path, each: int) -> list[int]:
    """Points of a quiet run, so many of each operation on files of one name, whatever numbers are in it."""
    kinds: dict[str, list[int]] = {}
    for at, line in enumerate(log.read_text().splitlines(), 1):
        kinds.setdefault(re.sub(r"[0-9a-f]{8,}|\d+", "#", line), []).append(at)
    chosen = set()
    for points in kinds.values():
        step = max(1.0, (len(points) - 1) / max(1, each - 1))
        chosen |= {points[min(len(points) - 1, round(i * step))] for i in range(each)}
    return sorted(chosen)


def scenario(
    name: str, sample: int | None, seed: int, each: int | None = None
) -> tuple[int, list[str]]:
    """Crash at the points of one scenario; how many, and what went wrong."""
    place = Path(tempfile.mkdtemp(prefix="crash-")).resolve()
    root, beside = place / "work", place / "beside"
    beside.mkdir()
    commands, problems = SCENARIOS[name], []
    fresh(root)
    code, count = attempt(commands, root, None, beside)
    if code:
        return 0, [
            f"{name}: the quiet run ended with {code}:\n{(beside / 'said').read_text()[-2000:]}"
        ]
    quiet, inputs = files_in(root), {n: fingerprint(root / n) for n in FILES}
    versions = json.loads((beside / "versions").read_text())
    published = statuses(beside / "log")
    asked = replies_in(root)
    warm(beside / "modules")
    points = of_each_kind(beside / "log", each) if each else list(range(1, count + 1))
    if sample is not None and sample < len(points):
        points = sorted(random.Random(seed).sample(points, sample))
    for at in points:
        fresh(root)
        (beside / "log").unlink()
        code, _ = attempt(commands, root, at, beside)
        where = f"{name}, point {at} of {count} (after {last(beside / 'log')})"
        if code != KILLED:
            problems.append(f"{where}: was not reached, exit code {code}")
            continue
        for file, found in files_in(root).items():
            known = {*versions.get(file, ()), quiet.get(file), inputs.get(file)}
            if found not in known and Path(file).name != "responses.jsonl":
                problems.append(f"{where}: {file} holds what the quiet run never wrote")
        code, _ = attempt(commands, root, None, beside)
        if code:
            said = (beside / "said").read_text()[-700:]
            problems.append(f"{where}: cannot be repeated, exit code {code}: {said}")
            continue
        after = files_in(root)
        for file in sorted(quiet.keys() | after.keys()):
            if quiet.get(file) != after.get(file):
                how = "missing" if file not in after else "new" if file not in quiet else "other"
                problems.append(f"{where}: {file} is {how}")
        if any(statuses(beside / "log")[run] > n for run, n in published.items()):
            problems.append(f"{where}: a run was published twice")
        again = {key: n for key, n in (replies_in(root) - asked).items() if n}
        if again:
            problems.append(f"{where}: {len(again)} answers were logged twice")
    shutil.rmtree(place)
    return len(points), problems


def statuses(log: Path) -> Counter[str]:
    """How often the record of each run was put in its place."""
    lines = log.read_text().splitlines()
    return Counter(x for x in lines if x.startswith("replace") and x.endswith("status.json"))


def replies_in(root: Path) -> Counter[str]:
    """How often each request was answered in the log."""
    log = root / "answers" / "responses.jsonl"
    lines = log.read_text().splitlines() if log.is_file() else []
    return Counter(json.loads(line)["key"] for line in lines)


def last(log: Path) -> str:
    """The operation before the crash."""
    lines = log.read_text().splitlines() if log.exists() else []
    return re.sub(r"\.\d+-[0-9a-f]{8}\.tmp", ".tmp", lines[-1]) if lines else "nothing"


def main() -> int:
    """Run what was asked for; 1 where anything was lost, torn or done twice."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", help=f"of {', '.join(SCENARIOS)}; all by default")
    parser.add_argument("--sample", type=int, help="so many points of each scenario")
    parser.add_argument("--each", type=int, help="so many points of each kind of write")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    given = parser.parse_args()
    for name in MODULES:
        importlib.import_module(name)
    failed = 0
    for name in given.scenarios or SCENARIOS:
        start = time.monotonic()
        count, problems = scenario(name, given.sample, given.seed, given.each)
        failed += len(problems)
        print(
            f"{name}: {count} crashes, {len(problems)} problems, {time.monotonic() - start:.0f} s"
        )
        print("".join(f"  {problem}\n" for problem in problems[:20]), end="", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
