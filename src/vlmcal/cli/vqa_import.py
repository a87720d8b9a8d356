"""``vlmcal vqa import``: answers that somebody already has."""

from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments

# A column in [0, 1] that is read as 0 to 10, or one in [0, 10] that is read as percent, has none above this.
SUSPICIOUS = 0.1


def import_table(
    table: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSONL, JSON or Parquet, a row per question.")
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the answers.")],
    confidence: Annotated[
        list[str] | None,
        arguments.several("--confidence", help="Columns with stated confidences."),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="Of the confidences: percent, unit (0 to 1) or ten (0 to 10)."),
    ] = None,
    logprob: Annotated[
        list[str] | None,
        arguments.several("--logprob", help="Columns with log-probabilities."),
    ] = None,
    answer: Annotated[str, typer.Option(help="Column with the model's answers.")] = "answer",
    gold: Annotated[str, typer.Option(help="Column with accepted answers.")] = "gold",
    correct: Annotated[
        str | None, typer.Option(help="Column with verdicts (true/false), instead of judging.")
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            help="NAME=COLUMN for id, question, image, group, kind, options, type, split; may be repeated.",
        ),
    ] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="COLUMN=VALUE, only these rows; may be repeated."),
    ] = None,
    judge: Annotated[str, typer.Option(help="Of open answers: exact, normalised, token_f1.")] = (
        "normalised"
    ),
) -> None:
    """Read answers, gold answers and confidences from a table, and judge the answers."""
    from typing import get_args

    from vlmcal.cli.console import command_line, note
    from vlmcal.elicit.folder import AnswerFolder
    from vlmcal.elicit.imported import OPTIONAL, Columns, import_answers
    from vlmcal.elicit.parse.numbers import Scale
    from vlmcal.elicit.rows import elicitor_labels
    from vlmcal.errors import SpecError, nearest
    from vlmcal.report.pages.answer_tables import states_table

    if scale is not None and scale not in get_args(Scale):
        raise SpecError(f'--scale: unknown scale "{scale}"; {nearest(scale, get_args(Scale))}')
    rest = arguments.parse_pairs(column, "--column NAME=COLUMN")
    for name in rest:
        if name not in OPTIONAL:
            raise SpecError(f'--column: nothing is called "{name}"; {nearest(name, OPTIONAL)}')
    columns = Columns(
        answer=answer if correct is None or answer != "answer" else _if_there(table, answer),
        gold=gold if correct is None or gold != "gold" else _if_there(table, gold),
        correct=correct,
        confidence=tuple(confidence or ()),
        logprob=tuple(logprob or ()),
        scale=scale,  # type: ignore[arg-type]
        rest=rest,
    )
    rows = arguments.parse_pairs(where, "--where COLUMN=VALUE")
    questions, answers = import_answers(table, columns, where=rows, judge=judge)
    about = {
        "model": ", ".join([f"import:{table.name}", *(f"{k}={v}" for k, v in rows.items())]),
        "questions": questions.name,
        "definition": questions.definition,
        "judge": judge if correct is None else "given",
        "complete": True,
        "command": command_line(),
    }
    for label in confidence or ():
        given = [a.reading.confidence for a in answers if a.elicitor == label]
        largest = max((c for c in given if c is not None), default=1.0)
        if largest <= SUSPICIOUS:
            note(
                f'note: no confidence in "{label}" is above {100 * largest:g} % as --scale {scale} reads '
                "them; check that this is the scale of the column"
            )
    if AnswerFolder(output).rewrite(questions, answers, about):
        note(f"what {output} held of this table before is replaced")
    typer.echo(states_table(answers, elicitor_labels(answers)).to_text())
    note(f"answers: {output}; next: vlmcal vqa evaluate {output} -o report.html")


def _if_there(table: Path, column: str) -> str | None:
    """The default column, where the table has it: beside verdicts it is not needed."""
    from vlmcal.data.rows import read_rows

    first = next(iter(read_rows(table)), None)
    return column if first is not None and column in first.cells else None
