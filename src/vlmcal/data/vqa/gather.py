"""Making a question set of the rows of a layout: all defective rows said at once, splits, provenance."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

from vlmcal.data.rows import Row, WholeFileError, read_rows
from vlmcal.data.splits import known_split
from vlmcal.data.vqa.fields import split_of_name
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, require_known
from vlmcal.types.question import Question, QuestionSet

Defects: TypeAlias = Literal["error", "skip"]
_SHOWN = 5


def rows_of(files: Iterable[Path]) -> Iterator[Row]:
    """The rows of files, in order, each with the split of its file."""
    for file in files:
        split = split_of_name(file.name)
        for row in read_rows(file):
            yield row._replace(split=split)


def gather(
    name: str,
    path: Path,
    rows: Iterable[Row],
    make: Callable[[Row], Question | None],
    define: Callable[[Sequence[Question]], str],
    *,
    pictures: Pictures,
    split: str | None,
    defects: Defects,
    provenance: Mapping[str, Any] | None = None,
) -> QuestionSet:
    """The questions that ``make`` finds in ``rows``.

    Args:
        name: Of the data set.
        path: Where it was read from.
        rows: Its rows.
        make: From a row to its question; None leaves the row out on purpose (another language).
        define: From the questions kept to what their types mean.
        pictures: Where images were looked for.
        split: Keep this split only; None keeps all.
        defects: "error" refuses the set if a row cannot be used, "skip" leaves such rows out and counts
            them in ``provenance["defective_rows"]`` and in the definition.
        provenance: Further facts.

    Raises:
        DataError: Rows cannot be used (the first five are shown), or there is no question of the split.
        SpecError: Unknown split or ``defects``.
    """
    require_known(defects, ("error", "skip"), "unknown defects")
    wanted = None if split is None else known_split(split)
    questions, problems = _collect(rows, make)
    if problems and (defects == "error" or not questions):
        more = f"\n  ... ({len(problems)} in all)" if len(problems) > _SHOWN else ""
        shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        raise DataError(
            f"{name}: {len(problems)} of {len(questions) + len(problems)} rows cannot be used:{shown}{more}"
            '\nmend them, or pass defects="skip" to leave them out (their number is reported)'
        )
    kept = [q for q in questions if wanted in (None, q.split)]
    if not kept:
        counts = dict(Counter(q.split for q in questions))
        raise DataError(f'{path}: no question of the split "{split}"; the splits are {counts}')
    facts: dict[str, Any] = {
        "layout": name,
        "path": str(path),
        "split": wanted or "all",
        "image_folders": [str(folder) for folder in pictures.folders],
        **(provenance or {}),
    }
    definition = define(kept)
    if problems:
        facts["defective_rows"] = len(problems)
        definition += f"; {len(problems)} defective rows were left out"
    return QuestionSet(name=name, questions=tuple(kept), definition=definition, provenance=facts)


def counted(questions: Sequence[Question]) -> str:
    """How many questions have each answer type, and how many no known answer.

    Example:
        >>> counted([Question(id="1", question="Large?", answer_type="yes_no", gold=("no",))])
        '1 yes_no, 0 choice, 0 open'
    """
    types = Counter(q.answer_type for q in questions)
    unknown = sum(not q.gold for q in questions)
    words = [f"{types[kind]} {kind}" for kind in ("yes_no", "choice", "open")]
    return ", ".join(words) + (f"; {unknown} without a known answer" if unknown else "")


def _collect(
    rows: Iterable[Row], make: Callable[[Row], Question | None]
) -> tuple[list[Question], list[str]]:
    questions: list[Question] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for row in rows:
        where = row.where
        try:
            question = make(row)
        except WholeFileError:
            raise
        except DataError as error:
            problems.append(f"{where}: {error}")
            continue
        if question is None:
            continue
        if question.id in seen:
            problems.append(f'{where}: the id "{question.id}" is also that of {seen[question.id]}')
            continue
        seen[question.id] = where.rpartition(": ")[2]
        questions.append(question)
    return questions, problems
