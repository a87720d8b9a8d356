"""The log of a Dassl trainer: its settings, and what its evaluator printed."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_SETTING = re.compile(r"^( *)([A-Za-z_][\w-]*):(?: (.*))?$")
# A number that an evaluator prints on a line of its own: "* accuracy: 93.9%", "Adaptive ECE: 4.21%".
_MEASURED = re.compile(
    r"^\W*([A-Za-z][\w \-]*?)\s*[:=]\s*([-+]?[\d,]*\.?\d+(?:[eE][-+]?\d+)?)\s*(%?)\s*$"
)
_CLASS = re.compile(
    r"^\* class: (\d+) \((.*)\)\s+total: ([\d,]+)\s+correct: ([\d,]+)\s+acc: ([\d.]+)%"
)
_STARTS = ("=> result", "=> Total samples", "Evaluate on the")
NAMES = {
    "accuracy": "accuracy",
    "error": "error",
    "macro f1": "macro_f1",
    "ece": "ece",
    "mce": "mce",
    "adaptive ece": "ace",
    "ace": "ace",
    "piece": "piece",
    "confidence": "confidence",
    "mean confidence": "confidence",
    "average confidence": "confidence",
    "total": "total",
    "total samples": "total",
    "correct": "correct",
}


@dataclass(frozen=True)
class TestLog:
    """One evaluation as a log prints it.

    Attributes:
        path: The log.
        values: Name -> number as printed: percentages in percent, "total" and "correct" as counts.
        percent: Names printed with a percent sign; the others stand as they were printed.
        classes: Class name -> accuracy in percent, where the log has them.
    """

    path: Path
    values: Mapping[str, float]
    percent: frozenset[str]
    classes: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Log:
    """What a log says.

    Attributes:
        settings: Dotted name -> text, such as "TRAINER.COOP.N_CTX": "16"; {} where none were printed.
        tests: Its evaluations, the last one last.
    """

    settings: Mapping[str, str]
    tests: tuple[TestLog, ...]


def read_log(path: Path) -> Log:
    r"""Settings and evaluations of ``log.txt``.

    A trainer prints its settings as an indented list below "** Config **"; an evaluator prints
    "=> result" (or "=> Total samples: ...") and a number a line. Lines of other kinds are passed over.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "log.txt")
        >>> _ = path.write_text("=> result\n* total: 2,465\n* accuracy: 93.9%\nECE: 3.21%\n")
        >>> read_log(path).tests[0].values
        {'total': 2465.0, 'accuracy': 93.9, 'ece': 3.21}
    """
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return Log(_settings(lines), tuple(_tests(path, lines)))


def _settings(lines: Iterable[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    parents: list[tuple[int, str]] = []
    inside = False
    for line in lines:
        if line.strip() == "** Config **":
            inside, found, parents = True, {}, []
            continue
        match = _SETTING.match(line) if inside else None
        if match is None:
            inside = inside and set(line.strip()) <= {"*"}  # the rule of stars below the title
            continue
        depth, name, value = len(match[1]), match[2], match[3]
        parents = [each for each in parents if each[0] < depth]
        if value is None or not value.strip():
            parents.append((depth, name))
        found[".".join([*(parent for _, parent in parents if parent != name), name])] = (
            value or ""
        ).strip()
    return found


def _tests(path: Path, lines: Iterable[str]) -> Iterable[TestLog]:
    values: dict[str, float] = {}
    percent: set[str] = set()
    classes: dict[str, float] = {}
    inside = False
    for line in lines:
        text = line.strip()
        if text.startswith(_STARTS):
            if values and not (text.startswith("=> result") and set(values) <= {"total"}):
                yield TestLog(path, values, frozenset(percent), classes)
                values, percent, classes = {}, set(), {}
            inside = True
        if not inside:
            continue
        if found := _CLASS.match(text):
            classes[found[2]] = float(found[5])
            continue
        found = _MEASURED.match(text)
        name = (
            NAMES.get(found[1].strip().lower().replace("_", " ").replace("-", " "))
            if found
            else None
        )
        if found and name:
            values[name] = float(found[2].replace(",", ""))
            percent |= {name} if found[3] else set()
    if values:
        yield TestLog(path, values, frozenset(percent), classes)
