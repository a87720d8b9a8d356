"""Answers that somebody already has: a table of answers, gold answers and confidences."""

import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmcal.data.rows import Row
from vlmcal.data.vqa.fields import Answer as Accepted
from vlmcal.data.vqa.fields import by_gold, by_options, listed, text
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.cells import JOINED, cell, joined, letter_columns, paths, plain_cell, table_rows
from vlmcal.elicit.judges.base import Verdict, judge_answer
from vlmcal.elicit.parse.answers import ParsedAnswer, parse_answer
from vlmcal.elicit.parse.numbers import TOPS, Scale, parse_confidence
from vlmcal.elicit.recordings import FAILED, decoded_images, recording
from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.io.json_text import parse_json
from vlmcal.types.question import Question, QuestionSet
from vlmcal.types.reading import ConfidenceStatus, Reading

# Words for "nothing here" in the tables that people have; a confidence of one of them is missing.
_MISSING = frozenset(
    {
        "",
        "na",
        "n/a",
        "nan",
        "none",
        "null",
        "-",
        "--",
        "?",
        "cell_empty",
        "no_confidence",
        "missing",
    }
)
_RIGHT = {"true": True, "1": True, "yes": True, "correct": True, "1.0": True}
_WRONG = {"false": False, "0": False, "no": False, "incorrect": False, "0.0": False, "wrong": False}
# A longer cell is an image itself, not the name of one.
_LONGEST_NAME = 1024
OPTIONAL = ("id", "question", "image", "group", "kind", "options", "type", "split")


@dataclass(frozen=True)
class Columns:
    """Which column of a table holds what.

    Attributes:
        answer: The model's answer, as it came; None where there is only a verdict.
        gold: Accepted answer, or a list of them.
        correct: Verdict (true/false, 1/0), instead of judging answer against gold.
        confidence: Columns with stated confidences; each becomes an elicitor of that name.
        logprob: Columns with log-probabilities: a number, or a list of those of the tokens, whose mean is
            taken (length-normalised likelihood); each becomes an elicitor of that name.
        scale: Of the confidences: "percent" (0 to 100), "unit" (0 to 1) or "ten" (0 to 10); never guessed.
        rest: Where id, question, image, group, kind, options, type and split are, if not in columns of
            these names.
    """

    answer: str | None = "answer"
    gold: str | None = "gold"
    correct: str | None = None
    confidence: tuple[str, ...] = ()
    logprob: tuple[str, ...] = ()
    scale: Scale | None = None
    rest: Mapping[str, str] = None  # type: ignore[assignment]

    def of(self, name: str) -> str:
        """Column of an optional piece."""
        return dict(self.rest or {}).get(name, name)


def import_answers(
    path: Path,
    columns: Columns,
    *,
    where: Mapping[str, str] | None = None,
    judge: str = "normalised",
    name: str | None = None,
    kind: str | None = None,
    join: Path | None = None,
    on: tuple[str, str] = ("id", "id"),
    images: Path | None = None,
) -> tuple[QuestionSet, list[Answer]]:
    r"""Questions and answers of a table, one row per question.

    Files of lm-evaluation-harness, VLMEvalKit, inspect_ai and OpenAI batches are known by their records where
    ``columns`` names neither answers nor gold answers of the file (:mod:`vlmcal.elicit.recordings`). With
    ``join``, the column of the gold answers is that of the other file where it has one of this name.

    Args:
        path: CSV, TSV, JSONL, JSON (each also .gz), Parquet or .xlsx.
        columns: Which column holds what.
        where: Only rows with these values, such as ``{"model": "gpt-4o"}``.
        judge: Of open answers.
        name: Of the set; default the name of the file.
        kind: Program that wrote the file; "table" for none.
        join: Another file with more columns, such as the gold answers, joined by id.
        on: Columns of the ids here and there; the first is the id of the questions.
        images: Folder that images in base64 are written to; None leaves them out.

    Raises:
        DataError: A column is missing, no row is left, ids repeat, or a value cannot be used.
        SpecError: Confidences without a scale, or neither answers with gold nor verdicts.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = table.write_text("answer,gold,stated\nYes.,yes,90\nNo,yes,60\n")
        >>> _, found = import_answers(table, Columns(confidence=("stated",), scale="percent"))
        >>> [(a.reading.confidence, a.correct) for a in found]
        [(0.9, True), (0.6, False)]
    """
    if columns.confidence and columns.scale is None:
        raise SpecError(
            "say on which scale the confidences are with --scale: percent (0 to 100), unit (0 to 1) or ten "
            "(0 to 10); it is never guessed from the values"
        )
    if columns.correct is None and (columns.answer is None or columns.gold is None):
        raise SpecError("give the columns of answers and gold answers, or a column of verdicts")
    rows, columns = _rows(path, columns, kind, join, on)
    questions: list[Question] = []
    answers: list[Answer] = []
    seen: dict[str, dict[str, None]] = {key: {} for key in where or {}}
    if rows:
        _require_columns(path, rows[0], columns, where or {})
    pictures = _pictures(rows, columns, images)
    whole = {
        name for name in columns.confidence if not any(_is_fraction(row, name) for row in rows)
    }
    for row in rows:
        if any(plain_cell(row.cells, key) != value for key, value in (where or {}).items()):
            for key in seen:
                seen[key][plain_cell(row.cells, key)] = None
            continue
        try:
            question = _question(row, columns, path.parent, pictures)
            answers += _answers(row, question, columns, judge, whole)
        except DataError as error:
            raise DataError(f"{row.where}: {error}") from error
        questions.append(question)
    if not questions:
        told = [
            f'no row with {key}="{value}"; {nearest(value, seen[key])}'
            for key, value in (where or {}).items()
            if value not in seen[key]
        ]
        raise DataError(f"{path}: {'; '.join(told) or 'no row is left'}")
    return (
        QuestionSet(
            name=name or path.name.split(".")[0],
            questions=tuple(questions),
            definition=_definition(questions),
            provenance={"imported": path.name, **(where or {})},
        ),
        answers,
    )


def _rows(
    path: Path,
    columns: Columns,
    kind: str | None,
    join: Path | None,
    on: tuple[str, str],
) -> tuple[list[Row], Columns]:
    wanted = columns.gold if join is not None else None
    named = columns.answer != "answer" or columns.correct is not None
    named = named or (wanted is None and columns.gold != "gold")
    found = None if kind == "table" or (kind is None and named) else recording(path, kind)
    if found is not None:
        columns = replace(columns, answer="answer", gold="gold", correct=found.correct)
        if found.confidence and not columns.confidence:
            columns = replace(columns, confidence=found.confidence, scale="unit")
    rows = list(table_rows(path)) if found is None else found.rows
    if join is not None:
        rows = joined(rows, join, on, wanted)
        columns = replace(columns, rest={"id": on[0], **(columns.rest or {})})
        if rows and JOINED in rows[0].cells:
            columns = replace(columns, gold=JOINED)
    if columns.answer is not None and columns.answer == columns.gold:
        raise SpecError(
            f'the column "{columns.answer}" cannot hold both the answers and the gold answers; name the '
            "other one with --answer or --gold"
        )
    return rows, columns


def _pictures(rows: Sequence[Row], columns: Columns, images: Path | None) -> dict[str, str]:
    """Paths of images that stand in the table itself, by the row's index or number."""
    column = columns.of("image")
    encoded = any(len(text(cell(row.cells, column))) > _LONGEST_NAME for row in rows)
    return decoded_images(rows, column, images) if encoded and images is not None else {}


def _require_columns(path: Path, row: Row, columns: Columns, where: Mapping[str, str]) -> None:
    rest = dict(columns.rest or {})
    wanted = [*columns.confidence, *columns.logprob, *where]
    wanted += [
        n for key, name in rest.items() for n in (name.split(",") if key == "options" else [name])
    ]
    if columns.correct is not None:
        wanted.append(columns.correct)
    else:
        wanted += [c for c in (columns.answer, columns.gold) if c]
    for column in wanted:
        if cell(row.cells, column) is None and column not in row.cells:
            hint = nearest(column, list(paths(row.cells)))
            if column in (columns.answer, columns.gold):
                hint += f"; name it with --{'answer' if column == columns.answer else 'gold'}"
            raise DataError(f'{path}: no column "{column}"; {hint}')


def _options(row: Row, columns: Columns) -> list[str]:
    """Options in one cell, in the columns named "A,B,C", or in columns A, B, ..."""
    name = columns.of("options")
    if name in row.cells or "," not in name:
        given = cell(row.cells, name)
        if given is not None or name != "options":
            return listed(given)
        letters = letter_columns(row.cells)
    else:
        letters = [part.strip() for part in name.split(",")]
    found = [plain_cell(row.cells, letter) for letter in letters]
    while found and found[-1].casefold() in ("", "nan"):
        found.pop()
    return found if len(found) > 1 else []


def _question(row: Row, columns: Columns, folder: Path, pictures: Mapping[str, str]) -> Question:
    def told(name: str) -> str:
        return plain_cell(row.cells, columns.of(name))

    options = _options(row, columns)
    gold: list[str] = []
    if columns.gold:
        plain_cell(row.cells, columns.gold)  # an object is no gold answer
        gold = listed(cell(row.cells, columns.gold))
    accepted = by_options(options, gold) if options else by_gold(gold)
    asked = told("type")
    if asked == "open" and accepted.answer_type == "yes_no":
        accepted = Accepted("open", tuple(gold))
    elif asked and asked != accepted.answer_type:
        raise DataError(
            f'the type is "{asked}", but the gold answer and the options make it "{accepted.answer_type}"'
        )
    image = name = told("image")
    if len(name) > _LONGEST_NAME or pictures:
        image = name = pictures.get(text(row.cells.get("index")) or str(row.number), "")
    if image and os.path.isfile(folder / image):
        image = str(folder / image)
    return Question(
        id=told("id") or str(row.number),
        question=told("question") or "(not recorded)",
        images=(image,) if image else (),
        answer_type=accepted.answer_type,
        gold=accepted.gold,
        options=accepted.options,
        kind=told("kind"),
        # The name in the table, so that the same image is the same group wherever its file lies.
        group=told("group") or name,
        split=told("split") or "unknown",
    )


def _answers(
    row: Row, question: Question, columns: Columns, judge: str, whole: Collection[str]
) -> Iterator[Answer]:
    said = plain_cell(row.cells, columns.answer) if columns.answer else ""
    parsed = parse_answer(said, question)
    if failed := text(row.cells.get(FAILED)):
        parsed = ParsedAnswer("failed", None, failed)
    verdict = Verdict(None, "", 0.0)
    status, answer, note = parsed
    if columns.correct is not None:
        given = _verdict(cell(row.cells, columns.correct))
        verdict = Verdict(given, "given", 0.0)
        if given is not None and answer is None and status != "failed":
            # A verdict on an answer that is not in the table, or that only its judge could read.
            status, answer, note = "answered", said or "(not recorded)", ""
    elif answer is not None and question.gold:
        verdict = judge_answer(question, answer, judge)
    sources: list[tuple[str, tuple[float | None, ConfidenceStatus]]] = [
        (name, _stated(_without_zeros(row, name, whole), columns.scale))
        for name in columns.confidence
    ]
    sources += [(name, _likelihood(cell(row.cells, name))) for name in columns.logprob]
    for name, (confidence, state) in sources or [("imported", (None, "missing"))]:
        if status != "answered":
            # As when a model is asked: there is no confidence without an answer.
            confidence, state = None, "missing"
        yield Answer(
            question=question.id,
            elicitor=name,
            reading=Reading(
                status=status,
                answer=answer,
                confidence=confidence,
                confidence_status=state,
                note=note,
            ),
            correct=verdict.correct,
            judge=verdict.judge if verdict.correct is not None else "",
        )


def _is_fraction(row: Row, column: str) -> bool:
    """Whether a cell is a number between 0 and 1, as in a column that is on another scale in places."""
    try:
        return 0 < float(plain_cell(row.cells, column)) < 1
    except ValueError:
        return False


def _without_zeros(row: Row, column: str, whole: Collection[str]) -> str:
    """A confidence as written; "1.0" is "1" in a column of numbers that are all written with such zeros."""
    written = plain_cell(row.cells, column)
    return re.sub(r"^(\d+)\.0+$", r"\1", written) if column in whole else written


def _verdict(given: Any) -> bool | None:
    written = text(given).casefold()
    if written in _MISSING:
        return None
    found = {**_RIGHT, **_WRONG}.get(written)
    if found is None:
        raise DataError(f'expected a verdict true/false or 1/0, got "{written}"')
    return found


def _stated(written: str, scale: Scale | None) -> tuple[float | None, ConfidenceStatus]:
    """A confidence by the rule of the readers: "0.9" on a scale to 100 may be 90 % or 0.9 %."""
    if written.casefold() in _MISSING:
        return None, "missing"
    assert scale is not None
    found = parse_confidence(written, scale)
    if found is not None:
        return found, "given"
    try:
        off = not 0 <= float(written) <= TOPS[scale]
    except ValueError:
        off = False
    if off:
        raise DataError(
            f'the confidence "{written}" is not on the scale "{scale}"; give the scale of the column with '
            "--scale, or correct the cell"
        )
    return None, "unparsed"


def _likelihood(given: Any) -> tuple[float | None, ConfidenceStatus]:
    if not isinstance(given, list | tuple):
        written = text(given)
        if written.casefold() in _MISSING:
            return None, "missing"
        try:
            given = parse_json(written)
        except ValueError:
            return None, "unparsed"
    values = [given] if isinstance(given, int | float) else list(given)
    if not values or not all(isinstance(v, int | float) for v in values):
        return None, "unparsed"
    mean = sum(values) / len(values)
    if not mean <= 0:
        raise DataError(f"expected log-probabilities of at most 0, got {values[:5]}")
    return math.exp(mean), "given"


def _definition(questions: Sequence[Question]) -> str:
    counts = {
        kind: sum(q.answer_type == kind for q in questions) for kind in ("yes_no", "choice", "open")
    }
    told = ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)
    return f"Type by the gold answers and options: {told}."
