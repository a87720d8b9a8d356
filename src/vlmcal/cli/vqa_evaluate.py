"""``vlmcal vqa evaluate``: how far the confidences of answers can be trusted."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results

if TYPE_CHECKING:
    from vlmcal.posthoc.answers import Measured
    from vlmcal.report.html import Report
    from vlmcal.report.pages.answers import Decided
    from vlmcal.types.confidences import Confidences

# Of the interval around each probability, and of the table of all calibrators: what is shown there does
# not need the last digit.
FIT_RESAMPLES, TABLE_RESAMPLES = 100, 200
Folder = Annotated[Path, typer.Argument(help="Folder of `vqa elicit` or `vqa import`.")]
Elicitors = Annotated[
    list[str] | None,
    arguments.several("--elicitor", "-e", help="Labels; the first is looked at closely."),
]
Folds = Annotated[int, typer.Option(help="Folds of the cross-fitting; images stay whole.")]
By = Annotated[str, typer.Option(help="Divide by answer_type or by the data's own kind.")]


@with_option_groups
def evaluate(
    answers: Folder,
    elicitor: Elicitors = None,
    by: By = "answer_type",
    strata: Annotated[
        Path | None,
        typer.Option("--table", help="Table with the column of --by, joined by its column id."),
    ] = None,
    metrics: arguments.Metrics = None,
    level: Annotated[float, typer.Option(help="Confidence level of intervals.")] = 0.95,
    resamples: Annotated[
        int, typer.Option(help="Bootstrap resamples of images; 0 for none.")
    ] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of every draw.")] = 0,
    calibrator: Annotated[
        str, typer.Option(help="Makes the probabilities of the report, cross-fitted by image.")
    ] = "platt",
    folds: Folds = 5,
    target_risk: Annotated[
        float, typer.Option(help="Share of wrong answers among those that are relied on.")
    ] = 0.1,
    *,
    results: Results,
) -> None:
    """Measure the confidences over parsed and over all rows, by kind of question, and advise."""
    from dataclasses import asdict

    from vlmcal.cli.console import command_line, note
    from vlmcal.elicit.folder import AnswerFolder
    from vlmcal.elicit.rows import elicitor_labels
    from vlmcal.elicit.strata import stratified
    from vlmcal.posthoc.advice import advised
    from vlmcal.posthoc.answers import measure_answers, repair_answers
    from vlmcal.report.pages.answer_tables import confidence_table, kind_table, states_table
    from vlmcal.report.pages.answers import answers_report, decision_sentences

    column, by = by, by if strata is None else "kind"
    check_options(by, level, target_risk, resamples)
    results.require(())
    folder = AnswerFolder(answers)
    questions, found = folder.load()
    if strata is not None:
        questions = stratified(questions, strata, column)
    labels = order(elicitor_labels(found), elicitor)
    measured = measure_answers(
        questions,
        found,
        labels,
        metrics=arguments.chosen_metrics(metrics, "answers"),
        stratum=by,  # type: ignore[arg-type]
        level=level,
        resamples=resamples,
        seed=seed,
    )
    results.show(states_table(found, labels).to_text())
    for parsed, name in ((True, "parsed rows"), (False, "all rows")):
        results.show(f"\n{name}\n{confidence_table(measured, parsed=parsed).to_text()}")
        kinds = kind_table(measured[0], parsed=parsed)
        if len(kinds.rows) > 1:
            results.show(f"\n{labels[0]}, {name}\n{kinds.to_text()}")
    for text in dict.fromkeys(text for m in measured for text in m.rows.notes):
        note(f"note: {text}")
    rows = measured[0].rows.parsed
    decided = advice(
        rows,
        calibrator,
        folds=folds,
        target_risk=target_risk,
        resamples=resamples,
        level=level,
        seed=seed,
    )
    if decided is not None:
        for line in decision_sentences(decided.decisions, decided.calibrator):
            results.show(f"\n{line}")

    def page() -> "Report":
        with arguments.notes():
            repaired = (
                []
                if decided is None or rows is None
                else repair_answers(
                    rows,
                    folds=folds,
                    level=level,
                    resamples=min(resamples, TABLE_RESAMPLES),
                    seed=seed,
                )
            )
        return answers_report(
            questions,
            found,
            measured,
            decided=decided,
            repaired=repaired,
            about=folder.about(),
            command=command_line(),
            title=f"Confidence of answers: {questions.name}",
        )

    table = confidence_table(measured, parsed=False)
    numbers = _numbers(measured)
    decisions = None if decided is None else decided.decisions
    lines = advised(questions, found, labels[0], decisions)
    numbers[labels[0]]["questions"] = [asdict(line) for line in lines]
    results.write(table, page, numbers)


def check_options(by: str, level: float, target_risk: float, resamples: int) -> None:
    """Refuse values that no later step could use, before anything is computed.

    Raises:
        SpecError: A share outside (0, 1), fewer than no resamples, or an unknown stratum.
    """
    from typing import get_args

    from vlmcal.elicit.rows import Stratum
    from vlmcal.errors import SpecError, nearest

    for option, value in (("--level", level), ("--target-risk", target_risk)):
        if not 0 < value < 1:
            raise SpecError(f"{option}: expected a number between 0 and 1, got {value}")
    if resamples < 0:
        raise SpecError(f"--resamples: expected 0 (no intervals) or more, got {resamples}")
    if by not in get_args(Stratum):
        raise SpecError(f'--by: unknown stratum "{by}"; {nearest(by, get_args(Stratum))}')


def order(labels: list[str], wanted: list[str] | None) -> list[str]:
    """The wanted labels, or all of them.

    Raises:
        DataError: No answers of such an elicitor.
    """
    from vlmcal.errors import DataError, nearest

    for label in wanted or ():
        if label not in labels:
            raise DataError(f'no answers of the elicitor "{label}"; {nearest(label, labels)}')
    return list(wanted or labels)


def advice(
    rows: "Confidences | None",
    calibrator: str,
    *,
    parameters: dict[str, object] | None = None,
    resamples: int,
    **options: Any,
) -> "Decided | None":
    """Advice on the answers of one elicitor, or None with a note where the rows do not suffice.

    Args:
        rows: The answers; None where there is none.
        calibrator: Registry name.
        parameters: Of the calibrator.
        resamples: For the intervals.
        **options: Of :func:`vlmcal.posthoc.decisions.decide`.
    """
    from vlmcal.calibrators.base import make
    from vlmcal.cli.console import note
    from vlmcal.errors import DataError
    from vlmcal.posthoc.decisions import decide
    from vlmcal.report.pages.answers import Decided

    made = make(calibrator, parameters)
    if rows is None:
        return None
    try:
        decisions = decide(rows, made, resamples=min(resamples, FIT_RESAMPLES), **options)
    except DataError as error:
        note(f"note: no calibrated probabilities ({error})")
        return None
    return Decided(calibrator, decisions)


def _numbers(measured: "list[Measured]") -> dict[str, dict[str, object]]:
    numbers: dict[str, dict[str, object]] = {}
    for m in measured:
        states = m.rows.states
        numbers[m.rows.elicitor] = {
            "asked": states.asked,
            "answers": dict(states.answers),
            "confidences": dict(states.confidences),
            "judged": states.judged,
            "right": states.right,
            "judges": list(states.judges),
            "parsed": None if m.parsed is None else m.parsed.to_dict(),
            "all": None if m.everything is None else m.everything.to_dict(),
        }
    return numbers
