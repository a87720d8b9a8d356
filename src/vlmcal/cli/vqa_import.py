"""``vlmcal vqa import``: answers that somebody already has."""

from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line, note
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.errors import require_known, require_none

if TYPE_CHECKING:
    from vlmcal.elicit.imported import Columns


@dataclass
class Where:
    """Which column holds what."""

    confidence: Annotated[
        list[str] | None, arguments.several("Columns with stated confidences.")
    ] = None
    scale: Annotated[
        str | None, opt("Of the confidences: percent, unit (0 to 1) or ten (0 to 10).")
    ] = None
    logprob: Annotated[list[str] | None, arguments.several("Columns with log-probabilities.")] = (
        None
    )
    answer: Annotated[str, opt("Column with the model's answers, or its path: response.text.")] = (
        "answer"
    )
    gold: Annotated[str, opt("Column with accepted answers.")] = "gold"
    correct: Annotated[
        str | None, opt("Column with verdicts (true/false), instead of judging.")
    ] = None
    column: Annotated[
        list[str] | None,
        opt(
            "NAME=COLUMN for id, question, image, group, kind, options (also A,B,C,D), type, split; "
            "may be repeated."
        ),
    ] = None


def import_table(
    table: Annotated[
        Path,
        arg(
            "CSV, TSV, JSONL, JSON, Parquet or .xlsx, a row per question; or a log of lm-eval, "
            "VLMEvalKit, inspect_ai, an OpenAI batch."
        ),
    ],
    output: Annotated[Path, written("Folder of the answers.")],
    place: Where,
    where: Annotated[
        list[str] | None, opt("COLUMN=VALUE, only these rows; may be repeated.")
    ] = None,
    judge: Annotated[
        str, opt("Of open answers: exact, normalised, contained, token_f1 or a model.")
    ] = "normalised",
    judge_name: Annotated[str | None, opt("Name of the judge model.")] = None,
    kind: Annotated[
        str | None, opt("Program that wrote the file; told by itself.", "--format")
    ] = None,
    join: Annotated[Path | None, opt("Another file with more columns, joined by id.")] = None,
    on: Annotated[
        str | None, opt("Columns of the ids here and there: HERE=THERE; default: id.")
    ] = None,
    force: Annotated[
        bool, opt("Replace what an earlier command of another input left there.")
    ] = False,
) -> None:
    """Read answers, gold answers and confidences from a table, and judge the answers."""
    from vlmcal.elicit.bringing import bring
    from vlmcal.report.pages.answer_tables import states_table

    arguments.require_judge(judge, judge_name, "--judge-name")
    if join is None:
        require_none("there is none (--join)", {"--on is for another file": on})
    here, _, there = (on or "id").partition("=")
    made = bring(
        table,
        _columns(table, place),
        folder=output,
        where=arguments.parse_pairs(where, "--where COLUMN=VALUE"),
        judge=judge,
        judge_name=judge_name,
        kind=kind,
        join=join,
        on=(here, there or here),
        replace=force,
        command=command_line(),
        say=note,
    )
    arguments.tell(made.notes)
    typer.echo(states_table(made.answers, made.elicitors).to_text())
    note(f"answers: {output}; next: vlmcal vqa evaluate {quote(str(output))} -o report.html")


def _columns(table: Path, place: Where) -> "Columns":
    from vlmcal.elicit.imported import OPTIONAL, Columns
    from vlmcal.elicit.parse.numbers import Scale

    scale, correct = place.scale, place.correct
    if scale is not None:
        require_known(scale, get_args(Scale), "--scale: unknown scale")
    rest = arguments.parse_pairs(place.column, "--column NAME=COLUMN")
    for name in rest:
        require_known(name, OPTIONAL, "--column: nothing is called")
    return Columns(
        answer=_if_there(table, place.answer, "answer") if correct else place.answer,
        gold=_if_there(table, place.gold, "gold") if correct else place.gold,
        correct=correct,
        confidence=tuple(place.confidence or ()),
        logprob=tuple(place.logprob or ()),
        scale=scale,  # type: ignore[arg-type]
        rest=rest,
    )


def _if_there(table: Path, column: str, default: str) -> str | None:
    """The default column, where the table has it: beside verdicts it is not needed."""
    from vlmcal.elicit.cells import table_rows

    if column != default:
        return column
    first = next(iter(table_rows(table)), None)
    return column if first is not None and column in first.cells else None
