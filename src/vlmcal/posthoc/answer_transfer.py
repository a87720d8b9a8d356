"""What was fitted on one folder of answers, applied to another about other images."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED, Calibrator, make
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.rows import HALLUCINATION, as_stratum, chosen_elicitors, elicitor_rows
from vlmcal.errors import DataError, SplitError
from vlmcal.metrics import evaluate
from vlmcal.posthoc.advice import advised
from vlmcal.posthoc.answer_folders import FIT_RESAMPLES, CalibratedAnswers, Decided, usable_rows
from vlmcal.posthoc.answers import Repaired
from vlmcal.posthoc.decisions import decide
from vlmcal.posthoc.kind_maps import COMMON, KindMaps, cross_fit_kinds
from vlmcal.posthoc.study_options import StudyOptions, with_defaults
from vlmcal.types.confidences import Confidences


def apply_to_answers(
    folder: str | Path,
    test: str | Path,
    method: str | Calibrator,
    elicitor: str | None = None,
    *,
    metrics: str | Sequence[str] = "answers",
    say: Callable[[str], None] = lambda text: None,
    **options: Unpack[StudyOptions],
) -> CalibratedAnswers:
    """Fit a calibrator on all answers of one folder and apply it to another, about other images.

    Args:
        folder: Answers with verdicts.
        test: Other answers; those with a verdict are measured, before and after.
        method: Calibrator, or its name.
        elicitor: Label; None for the first one of ``folder``.
        metrics: Preset or names.
        say: Called with how many questions can be fitted on.
        **options: :class:`~vlmcal.posthoc.study_options.StudyOptions`.

    Raises:
        DataError: Nothing can be used, or the calibrator lacks what it reads.
        SplitError: An image is in both folders.
        SpecError: No such calibrator, metric or stratum.
    """
    settings: dict[str, Any] = {**with_defaults(options)}
    by, folds, target_risk = (settings.pop(name) for name in ("by", "folds", "target_risk"))
    calibrator = make(method)
    questions, answers = AnswerFolder(Path(folder)).load()
    label = chosen_elicitors(answers, None if elicitor is None else [elicitor])[0]
    past = usable_rows(folder, questions, answers, label, by)
    fitting = past.parsed
    assert fitting is not None
    say(f"{label}: {len(fitting):,} of {past.states.asked:,} questions can be used")
    questions, answers = AnswerFolder(Path(test)).load()
    rows = elicitor_rows(
        questions,
        answers,
        label,
        stratum=as_stratum(by),
        # In the order of the rows that are fitted on, whatever the order of the elicitors here.
        signals=fitting.provenance["signals"] if "signals" in calibrator.needs else None,
        verdicts=False,
    )
    before = rows.parsed
    if before is None:
        raise DataError(f'{test}: the elicitor "{label}" has no row that can be used')
    _require_apart(fitting, before, calibrator, test)
    # Answers about other images are other answers, even if both tables count their rows from 1.
    named = replace(before, ids=np.array([f"{test}: {name}" for name in before.ids]))
    after = replace(
        _chosen_maps(fitting, calibrator, folds, settings["seed"]).transform(named), ids=before.ids
    )
    judged = np.array([answer.correct is not None for answer in rows.answers])
    repaired = [
        Repaired(name, part, evaluate(part.subset(judged), metrics, **settings))
        for name, part in ((UNCALIBRATED, before), (calibrator.name, after))
        if judged.any()
    ]
    notes = []
    if not judged.all():
        notes.append(f"{int((~judged).sum()):,} answers have no verdict and are not measured")
    settings |= {"target_risk": target_risk, "folds": folds}
    settings["resamples"] = min(settings["resamples"], FIT_RESAMPLES)
    try:
        new = decide(fitting, calibrator, named, **settings)
    except DataError as error:
        notes.append(f"no advice whom to ask, so every answer is for a human ({error})")
        lines = advised(questions, answers, label, None, after)
        return CalibratedAnswers(label, repaired, lines, None, notes)
    new = replace(new, rows=replace(new.rows, ids=before.ids))
    lines = advised(questions, answers, label, new, after)
    decided = Decided(calibrator.name, new)
    return CalibratedAnswers(label, repaired, lines, decided, [*notes, *new.notes])


def _chosen_maps(fitting: Confidences, calibrator: Calibrator, folds: int, seed: int) -> KindMaps:
    """Fitted on all rows, with maps per kind as far as cross-validation, where possible, speaks for them."""
    if fitting.kinds is None or np.unique(fitting.units).size < folds:
        return KindMaps.fit(calibrator, fitting, COMMON)
    pull = cross_fit_kinds(calibrator, fitting, folds=folds, seed=seed).pull
    return KindMaps.fit(calibrator, fitting, pull)


def _require_apart(
    fitting: Confidences, new: Confidences, calibrator: Calibrator, test: str | Path
) -> None:
    """Refuse other sources of a signal, and images that are fitted on."""
    sources = [each.provenance.get(HALLUCINATION, "none") for each in (fitting, new)]
    if HALLUCINATION in calibrator.needs and sources[0] != sources[1]:
        raise DataError(
            f'the hallucination score comes from "{sources[0]}" in the folder that is fitted on and from '
            f'"{sources[1]}" in {test}; elicit the same for both, with the same options'
        )
    assert fitting.groups is not None
    assert new.groups is not None
    shared = set(fitting.groups.tolist()) & set(new.groups.tolist())
    if shared:
        raise SplitError(
            f"{len(shared):,} images (such as {sorted(shared)[0]}) are in both folders; fitting on an image "
            "that is measured makes every number too good. Leave them out of one, or put both into one "
            "folder and let them be cross-fitted. Where a table names no images, its row numbers stand for "
            "them: name images or groups if these are others"
        )
