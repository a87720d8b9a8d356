"""``vlmcal vqa calibrate``: repair stated confidences, without ever fitting on the image measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.option_groups import opt, written
from vlmcal.cli.vqa_evaluate import Elicitors, Folder, Study
from vlmcal.errors import SpecError

if TYPE_CHECKING:
    from vlmcal.posthoc.answer_folders import CalibratedAnswers


PerKind = Annotated[
    bool | None,
    opt(
        "A map for each kind of question, or one for all; chosen by cross-validation if not said.",
        "--per-kind/--one-map",
    ),
]


def calibrate(
    answers: Folder,
    method: arguments.Methods = None,
    elicitor: Elicitors = None,
    test: Annotated[
        Path | None,
        opt("Other answers, verdicts not needed: fit on ANSWERS, apply to these (one method)."),
    ] = None,
    option: arguments.Options = None,
    per_kind: PerKind = None,
    metrics: arguments.Metrics = None,
    *,
    study: Study,
    output: Annotated[
        Path | None,
        written("Calibrated answers (one method): .csv, .jsonl, ...; - is standard output."),
    ] = None,
) -> None:
    """Before and after of calibrators on the same answers, cross-fitted by image."""
    from vlmcal.calibrators.base import CALIBRATORS
    from vlmcal.posthoc import apply_to_answers, calibrate_answers

    options = study.options()
    if test is not None and per_kind:
        raise SpecError(
            "--test: maps are chosen by cross-validation on ANSWERS; leave out --per-kind"
        )
    names = arguments.known(method, CALIBRATORS)
    _require_one(names, elicitor, output, test, option)
    chosen: Any = [arguments.made(CALIBRATORS, names[0], option)] if names and option else names
    options |= {"metrics": arguments.chosen_metrics(metrics, "answers"), "say": note}
    with arguments.notes():
        if test is not None:
            found = [apply_to_answers(answers, test, chosen[0], *(elicitor or ()), **options)]
        else:
            options |= {"per_kind": per_kind, "advise": output is not None}
            found = calibrate_answers(answers, chosen, elicitor, **options)
    for each in found:
        if len(found) > 1:
            typer.echo(f"\n{each.elicitor}")
        _show(each, new=test is not None)
        if output is not None:
            each.save(output)
            note(f"calibrated answers: {output}")


def _require_one(
    methods: list[str] | None,
    elicitors: list[str] | None,
    output: Path | None,
    test: Path | None,
    option: list[str] | None,
) -> None:
    """Refuse several methods or elicitors where the result is of one; and a name that no CSV has."""
    single = output is not None or test is not None
    if (single or option) and len(methods or ()) != 1:
        raise SpecError("--output, --test and --option need exactly one --method")
    if single and len(elicitors or ()) > 1:
        raise SpecError("--output and --test need one --elicitor")
    if output is not None:
        arguments.require_output(output, arguments.TABLES)


def _show(found: "CalibratedAnswers", *, new: bool) -> None:
    from vlmcal.report.pages.answer_tables import repair_table

    if found.repaired:
        typer.echo(repair_table(found.repaired).to_text())
    arguments.tell(found.notes)
    if not new or found.decided is None:
        return
    accepted, thresholds = found.decided.decisions.accepted, found.decided.decisions.thresholds
    typer.echo(
        f"{int(accepted.sum()):,} of {len(accepted):,} answers may be relied on (probability of "
        f"{thresholds.min():.2f} or more), the others are for a human"
        if thresholds.size and thresholds.min() < float("inf")
        else f"all {len(accepted):,} answers are for a human"
    )
