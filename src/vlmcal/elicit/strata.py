"""Other strata for questions that were asked already, from a table that is joined by id."""

from dataclasses import replace
from pathlib import Path

from vlmcal.data.vqa.fields import text
from vlmcal.elicit.cells import cell, paths, plain_cell, table_rows
from vlmcal.errors import DataError, nearest, require_known
from vlmcal.types.question import QuestionSet


def stratified(questions: QuestionSet, table: Path, column: str, on: str = "id") -> QuestionSet:
    """The questions with a column of another table as their kind.

    Args:
        questions: What was asked.
        table: With a row for each question.
        column: That becomes the kind; empty cells are the kind "none".
        on: Column of the questions' ids.

    Raises:
        DataError: A column is missing, an id stands twice, or a question has no row.
    """
    kinds: dict[str, str] = {}
    for row in table_rows(table):
        for name in (on, column):
            if cell(row.cells, name) is None:
                require_known(name, list(paths(row.cells)), f"{table}: no column", DataError)
        key = text(cell(row.cells, on))
        if key in kinds:
            raise DataError(f'{row.where}: the id "{key}" stands twice')
        kinds[key] = plain_cell(row.cells, column) or "none"
    absent = [question.id for question in questions if question.id not in kinds]
    if absent:
        raise DataError(
            f'{table}: no row for {len(absent):,} questions, such as "{absent[0]}"; '
            f"{nearest(absent[0], kinds)}"
        )
    return questions.keep([replace(q, kind=kinds[q.id]) for q in questions])
