"""``vlmcal vqa calibrate``: repair stated confidences, without ever fitting on the image measured."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.vqa_evaluate import (
    FIT_RESAMPLES,
    By,
    Elicitors,
    Folder,
    Folds,
    advice,
    check_options,
    order,
)

if TYPE_CHECKING:
    from vlmcal.calibrators.base import Calibrator
    from vlmcal.posthoc.advice import Advised
    from vlmcal.posthoc.decisions import Decisions
    from vlmcal.types.confidences import Confidences


def calibrate(
    answers: Folder,
    method: arguments.Methods = None,
    elicitor: Elicitors = None,
    test: Annotated[
        Path | None,
        typer.Option(
            help="Other answers, verdicts not needed: fit on ANSWERS, apply to these (one method)."
        ),
    ] = None,
    option: arguments.Options = None,
    per_kind: Annotated[
        bool, typer.Option("--per-kind", help="A map for each kind of question.")
    ] = False,
    by: By = "answer_type",
    folds: Folds = 5,
    metrics: arguments.Metrics = None,
    level: Annotated[float, typer.Option(help="Confidence level of intervals.")] = 0.95,
    resamples: Annotated[
        int, typer.Option(help="Bootstrap resamples of images; 0 for none.")
    ] = 1000,
    target_risk: Annotated[
        float, typer.Option(help="Share of wrong answers among those that are relied on.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of folds and draws.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV of calibrated answers (one method).")
    ] = None,
) -> None:
    """Before and after of calibrators on the same answers, cross-fitted by image."""
    from vlmcal.calibrators.base import CALIBRATORS, make
    from vlmcal.cli.console import note
    from vlmcal.elicit.folder import AnswerFolder
    from vlmcal.elicit.rows import elicitor_labels, elicitor_rows
    from vlmcal.errors import DataError, SpecError
    from vlmcal.options import pairs
    from vlmcal.posthoc.advice import advised
    from vlmcal.posthoc.answers import repair_answers
    from vlmcal.report.pages.answer_tables import repair_table

    check_options(by, level, target_risk, resamples)
    if test is not None and per_kind:
        raise SpecError("--test: one map is fitted on all of ANSWERS; leave out --per-kind")
    if (output is not None or test is not None or option) and len(method or ()) != 1:
        raise SpecError("--output, --test and --option need exactly one --method")
    if (output is not None or test is not None) and len(elicitor or ()) > 1:
        raise SpecError("--output and --test need one --elicitor")
    if output is not None:
        arguments.require_output(output, (), (".csv",))
    arguments.known(method, CALIBRATORS)
    given: dict[str, object] = dict(pairs(option or (), "--option KEY=VALUE"))
    parameters = dict.fromkeys(method or (), given)
    questions, found = AnswerFolder(answers).load()
    labels = order(elicitor_labels(found), elicitor)
    for label in labels if elicitor else labels[:1]:
        rows = elicitor_rows(questions, found, label, stratum=by)  # type: ignore[arg-type]
        if rows.parsed is None:
            raise DataError(
                f'{answers}: the elicitor "{label}" has no row with an answer, a verdict and a confidence'
            )
        note(f"{label}: {len(rows.parsed):,} of {rows.states.asked:,} questions can be used")
        if test is not None:
            assert method is not None
            options: dict[str, Any] = {
                "metrics": arguments.chosen_metrics(metrics, "answers"),
                "level": level,
                "resamples": resamples,
                "seed": seed,
            }
            made = make(method[0], parameters[method[0]])
            limit = {"target_risk": target_risk, "folds": folds, "seed": seed, "level": level}
            limit["resamples"] = min(resamples, FIT_RESAMPLES)
            _apply(rows.parsed, made, test, label, by, options, limit, output)
            continue
        repaired = repair_answers(
            rows.parsed,
            method,
            parameters=parameters,
            per_kind=per_kind,
            metrics=arguments.chosen_metrics(metrics, "answers"),
            folds=folds,
            level=level,
            resamples=resamples,
            seed=seed,
        )
        if len(elicitor or ()) > 1:
            typer.echo(f"\n{label}")
        typer.echo(repair_table(repaired).to_text())
        for each in repaired:
            if each.notes:
                note(f"note: {each.name}: {each.notes}")
        if output is not None and method is not None:
            decided = advice(
                rows.parsed,
                method[0],
                parameters=parameters[method[0]],
                folds=folds,
                per_kind=per_kind,
                target_risk=target_risk,
                resamples=resamples,
                level=level,
                seed=seed,
            )
            after = next(each.rows for each in repaired if each.name == method[0])
            assert after is not None
            decisions = None if decided is None else decided.decisions
            _write(output, advised(questions, found, label, decisions, after))
            note(f"calibrated answers: {output}")


def _apply(
    fitting: "Confidences",
    calibrator: "Calibrator",
    test: Path,
    label: str,
    by: str,
    options: dict[str, Any],
    limit: dict[str, Any],
    output: Path | None,
) -> None:
    """Fit on all rows, apply to other answers, which must be about other images.

    Those with a verdict are measured, before and after.
    """
    from dataclasses import replace

    import numpy as np

    from vlmcal.calibrators.base import UNCALIBRATED
    from vlmcal.cli.console import note
    from vlmcal.elicit.folder import AnswerFolder
    from vlmcal.elicit.rows import HALLUCINATION, elicitor_labels, elicitor_rows
    from vlmcal.errors import DataError, SplitError
    from vlmcal.metrics import evaluate
    from vlmcal.posthoc.advice import advised
    from vlmcal.posthoc.answers import Repaired
    from vlmcal.report.pages.answer_tables import repair_table

    questions, found = AnswerFolder(test).load()
    order(elicitor_labels(found), [label])
    rows = elicitor_rows(
        questions,
        found,
        label,
        stratum=by,  # type: ignore[arg-type]
        # In the order of the rows that are fitted on, whatever the order of the elicitors here.
        signals=fitting.provenance["signals"] if "signals" in calibrator.needs else None,
        verdicts=False,
    )
    if rows.parsed is None:
        raise DataError(f'{test}: the elicitor "{label}" has no row that can be used')
    sources = [each.provenance.get(HALLUCINATION, "none") for each in (fitting, rows.parsed)]
    if HALLUCINATION in calibrator.needs and sources[0] != sources[1]:
        raise DataError(
            f'the hallucination score comes from "{sources[0]}" in the folder that is fitted on and from '
            f'"{sources[1]}" in {test}; elicit the same for both, with the same options'
        )
    assert fitting.groups is not None
    assert rows.parsed.groups is not None
    shared = set(fitting.groups.tolist()) & set(rows.parsed.groups.tolist())
    if shared:
        raise SplitError(
            f"{len(shared):,} images (such as {sorted(shared)[0]}) are in both folders; fitting on an image "
            "that is measured makes every number too good. Leave them out of one, or put both into one "
            "folder and let them be cross-fitted. Where a table names no images, its row numbers stand for "
            "them: name images or groups if these are others"
        )
    with arguments.notes():
        # Answers about other images are other answers, even if both tables count their rows from 1.
        names = np.array([f"{test}: {name}" for name in rows.parsed.ids])
        after = calibrator.fit(fitting).transform(replace(rows.parsed, ids=names))
        after = replace(after, ids=rows.parsed.ids)
    judged = np.array([answer.correct is not None for answer in rows.answers])
    if judged.any():
        results = [
            Repaired(name, part, evaluate(part.subset(judged), **options))
            for name, part in ((UNCALIBRATED, rows.parsed), (calibrator.name, after))
        ]
        typer.echo(repair_table(results).to_text())
    if not judged.all():
        note(f"note: {int((~judged).sum()):,} answers have no verdict and are not measured")
    decided = _decided(fitting, calibrator, replace(rows.parsed, ids=names), limit)
    if decided is not None:
        decided = replace(decided, rows=replace(decided.rows, ids=rows.parsed.ids))
    if output is not None:
        _write(output, advised(questions, found, label, decided, after))
        note(f"calibrated answers: {output}")


def _decided(
    fitting: "Confidences", calibrator: "Calibrator", rows: "Confidences", limit: dict[str, Any]
) -> "Decisions | None":
    """Advice on new answers; None with a note where too few groups were fitted on."""
    from vlmcal.cli.console import note
    from vlmcal.errors import DataError
    from vlmcal.posthoc.decisions import decide_new

    try:
        decided = decide_new(fitting, calibrator, rows, **limit)
    except DataError as error:
        note(f"note: no advice whom to ask, so every answer is for a human ({error})")
        return None
    for each in decided.notes:
        note(f"note: {each}")
    relied = int(decided.accepted.sum())
    typer.echo(
        f"{relied:,} of {len(rows):,} answers may be relied on (probability of "
        f"{decided.thresholds.min():.2f} or more), the others are for a human"
        if decided.thresholds.size and decided.thresholds.min() < float("inf")
        else f"all {len(rows):,} answers are for a human"
    )
    return decided


def _write(path: Path, lines: "list[Advised]") -> None:
    from vlmcal.io.atomic import atomic_write
    from vlmcal.posthoc.advice import to_csv

    atomic_write(path, to_csv(lines))
