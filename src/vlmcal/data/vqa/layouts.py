"""Which layout a file or folder of questions has, told from the columns of its first record."""

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from vlmcal.data.problems import shown
from vlmcal.data.rows import read_rows, suffix_of, suffixes, text_of
from vlmcal.errors import DataError
from vlmcal.own_code import returns
from vlmcal.registry import Registry
from vlmcal.types.question import QuestionSet

EMBEDDED: Final = "image with its bytes"
PIPES: Final = "cells separated by |"
_DEPTH: Final = 3


VQA_LAYOUTS: Registry[Callable[..., QuestionSet]] = Registry(
    "question layout",
    "vlmcal.data.vqa",
    returns("QuestionSet"),
    "a function that is declared to return a QuestionSet",
)
Loader = TypeVar("Loader", bound=Callable[..., QuestionSet])


class Rule(NamedTuple):
    """A layout and the columns (or other marks) that its first record has and has not."""

    layout: str
    has: frozenset[str]
    has_not: frozenset[str] = frozenset()


def told_by(has: str, has_not: str = "") -> Callable[[Loader], Loader]:
    """Decorator of a layout: the marks of its first record; given twice, either will do.

    Args:
        has: Columns with commas, :data:`EMBEDDED` or :data:`PIPES`.
        has_not: Likewise, which it never has.

    Example:
        >>> @told_by("picture, question", "answer")
        ... def mine(path): ...
        >>> sorted(mine.rules[0].has)
        ['picture', 'question']
    """
    marks = (frozenset(part for part in text.split(", ") if part) for text in (has, has_not))
    rule = Rule("", *marks)

    def mark(loader: Loader) -> Loader:
        loader.rules = (*getattr(loader, "rules", ()), rule)  # type: ignore[attr-defined]
        return loader

    return mark


def rules() -> list[Rule]:
    """The rules of all registered layouts, add-on packages included."""
    return [
        rule._replace(layout=name)
        for name, loader in VQA_LAYOUTS.items()
        for rule in getattr(loader, "rules", ())
    ]


def layout_of(path: Path) -> str:
    """The layout of a file, or of the files in the shallowest folder below ``path`` that have one.

    Raises:
        DataError: Nothing fits, or more than one layout does; lists the layouts and what each needs.
    """
    _require(path)
    if path.is_dir():
        found = {layout for file in _shallowest(path) for layout in _fitting(file)}
        seen = f"in this folder and {_DEPTH} levels below no file"
    else:
        found = _fitting(path)
        seen = f"the first record ({shown(sorted(marks_of(path)), 12)})"
    if len(found) == 1:
        return found.pop()
    options = "".join(f"\n  {rule.layout}: {', '.join(sorted(rule.has))}" for rule in rules())
    problem = f"fits {' and '.join(sorted(found))}" if found else f"{seen} fits none of the layouts"
    if not found and path.is_file():
        problem += _nearest(marks_of(path))
    raise DataError(
        f'{path}: {problem}; name the layout (layout "NAME", or {{"name": NAME, "path": ...}}), or rename '
        f"columns. What each layout has:{options}"
    )


def files_of(path: Path, layout: str) -> list[Path]:
    """The file itself, or the files of ``layout`` in the shallowest folder below ``path`` that has any.

    Raises:
        DataError: No such path, or no file of this layout in the folder.
    """
    _require(path)
    if path.is_file():
        return [path]
    files = _shallowest(path, layout)
    if not files:
        needs = " or ".join(sorted(", ".join(sorted(r.has)) for r in rules() if r.layout == layout))
        raise DataError(f'{path}: no file of the layout "{layout}" in this folder; it has {needs}')
    return files


def marks_of(path: Path) -> frozenset[str]:
    """Columns of the first record, and :data:`EMBEDDED` or :data:`PIPES` where that holds; empty if none."""
    if suffix_of(path) == ".txt":
        return _pipes(path)
    if suffix_of(path) == ".json" and not _is_list(path):
        return frozenset()
    row = next(read_rows(path), None)
    if row is None:
        return frozenset()
    embedded = any(isinstance(cell, dict) and cell.get("bytes") for cell in row.cells.values())
    return frozenset(row.cells) | (frozenset({EMBEDDED}) if embedded else frozenset())


def _nearest(marks: frozenset[str]) -> str:
    close = max(rules(), key=lambda rule: len(rule.has & marks) / len(rule.has))
    lacking = sorted(close.has - marks)
    return f" (the nearest, {close.layout}, also needs {', '.join(lacking)})" if lacking else ""


def _require(path: Path) -> None:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")


def _fitting(path: Path) -> set[str]:
    marks = marks_of(path)
    return {r.layout for r in rules() if r.has <= marks and not r.has_not & marks}


def _shallowest(folder: Path, layout: str | None = None) -> list[Path]:
    """Deeper files are left alone: SLAKE repeats its questions in a folder per image."""
    folders = [folder]
    for _ in range(_DEPTH + 1):
        entries = sorted(entry for place in folders for entry in place.iterdir())
        visible = [entry for entry in entries if not entry.name.startswith(".")]
        known = [f for f in visible if suffix_of(f) in (*suffixes(), ".txt") and f.is_file()]
        found = [f for f in known if _fits(f, layout)]
        if found:
            return found
        folders = [entry for entry in visible if entry.is_dir()]
    return []


def _fits(path: Path, layout: str | None) -> bool:
    layouts = _fitting(path)
    return layout in layouts if layout else bool(layouts)


def _pipes(path: Path) -> frozenset[str]:
    # A README beside the data need not be UTF-8; the loader itself insists on it.
    text = path.read_bytes()[:4096].decode("utf-8", errors="replace")
    first = next((line for line in text.splitlines() if line.strip()), "")
    return frozenset({PIPES}) if "|" in first and " " not in first.split("|")[0] else frozenset()


def _is_list(path: Path) -> bool:
    with text_of(path) as stream:
        return stream.read(1000).lstrip().startswith("[")
