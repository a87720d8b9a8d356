"""Question sets as JSONL: a header line, then one question a line."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vlmcal.errors import DataError, require_known
from vlmcal.io.atomic import atomic_write
from vlmcal.io.json_text import parse_json
from vlmcal.io.unicode_text import not_utf8
from vlmcal.types.question import Question, QuestionSet

FORMAT: Final = "vlmcal.questions"
VERSION: Final = 1
_FIELDS: Final = {field.name: field for field in dataclasses.fields(Question)}
_LISTS: Final = frozenset({"images", "gold", "options", "paraphrases", "foil", "form"})


def save_questions(path: str | Path, questions: QuestionSet) -> None:
    """Write a set in one step: a header with name, definition and provenance, then its questions.

    Args:
        path: A .jsonl file.
        questions: The set; image paths are kept as they are.

    Raises:
        DataError: Another file name ending, or a provenance that is no plain data.
        StoreError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "mine.jsonl")
        >>> asked = Question(id="1", question="Is it large?", answer_type="yes_no", gold=("no",))
        >>> save_questions(file, QuestionSet(name="mine", questions=(asked,)))
        >>> read_questions(file).questions == (asked,)
        True
    """
    file = Path(path)
    if file.suffix.lower() != ".jsonl":
        raise DataError(f'{file}: questions are saved as .jsonl, got "{file.suffix}"')
    header = {
        "format": FORMAT,
        "version": VERSION,
        "name": questions.name,
        "definition": questions.definition,
        "provenance": dict(questions.provenance),
        "questions": len(questions),
    }
    try:
        first = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{file}: the provenance must be plain JSON data (texts, numbers, lists): {error}"
        ) from error
    lines = [first, *(json.dumps(_plain(question)) for question in questions)]
    atomic_write(file, "\n".join(lines) + "\n")


def read_questions(path: str | Path) -> QuestionSet:
    """A set that :func:`save_questions` wrote, equal to it field by field.

    Raises:
        DataError: No such file, another format or version, a line that is no question, or lines missing.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        first, *lines = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: {not_utf8(error)}") from error
    header = _object(file, 1, first)
    if header.get("format") != FORMAT:
        raise DataError(
            f'{file}: not a file of saved questions ("format" is not "{FORMAT}"); a table of your own is '
            "read with load_questions"
        )
    if header.get("version") != VERSION:
        raise DataError(
            f"{file}: version {header.get('version')} of the format, this program reads version {VERSION}; "
            "update vlmcal"
        )
    if header.get("questions") != len(lines):
        raise DataError(
            f"{file}: {header.get('questions')} questions were saved, {len(lines)} lines are left; the file "
            "was cut or edited"
        )
    questions = tuple(_question(file, number, line) for number, line in enumerate(lines, 2))
    return QuestionSet(
        name=str(header.get("name", "")),
        questions=questions,
        definition=str(header.get("definition", "")),
        provenance=header.get("provenance", {}),
    )


def _plain(question: Question) -> dict[str, Any]:
    return {
        name: value
        for name, field in _FIELDS.items()
        if (value := getattr(question, name)) != field.default
    }


def _object(file: Path, number: int, line: str) -> Mapping[str, Any]:
    try:
        record = parse_json(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: line {number} is not JSON ({error.msg})") from error
    if not isinstance(record, dict):
        raise DataError(f"{file}: line {number}: expected an object, got {line[:60]}")
    return record


def _question(file: Path, number: int, line: str) -> Question:
    record = _object(file, number, line)
    cells: dict[str, Any] = {}
    for name, value in record.items():
        require_known(name, _FIELDS, f"{file}: line {number}: unknown", DataError)
        texts = value if name in _LISTS else [value]
        if not isinstance(texts, list) or not all(isinstance(entry, str) for entry in texts):
            what = "a list of texts" if name in _LISTS else "a text"
            raise DataError(f'{file}: line {number}: "{name}" must be {what}, got {value!r}')
        cells[name] = tuple(texts) if name in _LISTS else value
    missing = [name for name in ("id", "question") if name not in cells]
    if missing:
        raise DataError(f'{file}: line {number}: no "{missing[0]}"')
    try:
        return Question(**cells)
    except DataError as error:
        raise DataError(f"{file}: line {number}: {error}") from error
