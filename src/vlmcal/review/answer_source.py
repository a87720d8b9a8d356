"""A folder of answers as what is reviewed: a case for each question that was put to an elicitor."""

from dataclasses import replace
from os.path import commonpath
from pathlib import Path

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED, Calibrator, make
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.rows import chosen_elicitors, elicitor_rows
from vlmcal.hashing import digest
from vlmcal.posthoc.cross_fit import cross_fit
from vlmcal.review.case import Case
from vlmcal.review.evidence import Evidence
from vlmcal.review.image_files import image_references
from vlmcal.review.policy import Policy
from vlmcal.review.triage import FOLDS, Source, check_classes, judged, thresholds
from vlmcal.types.confidences import Confidences
from vlmcal.types.question import Question, QuestionSet


def answer_source(
    folder: Path,
    policy: Policy,
    calibrator: str | Path | None,
    elicitor: str | None,
    images: Path | None,
) -> Source:
    """Cases of an answers folder; options as of :func:`vlmcal.review.sources.read_source`."""
    place = AnswerFolder(folder)
    questions, answers = place.load()
    label = chosen_elicitors(answers, None if elicitor is None else [elicitor])[0]
    check_classes(policy, ())
    known = elicitor_rows(questions, answers, label, stratum="answer_type").parsed
    everything = elicitor_rows(questions, answers, label, verdicts=False).parsed
    notes: list[str] = []
    name = calibrator if calibrator is not None else "platt"
    shown, checked, calibrator_id = everything, known, UNCALIBRATED
    if everything is not None and name != UNCALIBRATED:
        shown, checked, calibrator_id = _mapped(str(name), everything, known, notes)
    evidence = Evidence() if checked is None else Evidence.of(checked, checked.kinds)
    limits = thresholds(policy, checked, None)
    value = {} if shown is None else dict(zip(shown.ids.tolist(), shown.confidence, strict=True))
    root = images if images is not None else _root_of(questions)
    by_id = {question.id: question for question in questions}
    cases = [
        judged(_asked(by_id[a.question], a, value.get(a.question), root), policy, limits, evidence)
        for a in answers
        if a.elicitor == label
    ]
    about = place.about()
    model = f"{about.get('model', 'a model')}, asked by {label}"
    return Source(
        cases, (), root, model, calibrator_id, evidence, limits, questions.name, tuple(notes)
    )


def _mapped(
    name: str, everything: Confidences, known: Confidences | None, notes: list[str]
) -> tuple[Confidences, Confidences | None, str]:
    """Answers without a verdict by a map of all that have one; these by maps of other images."""
    if known is None or np.unique(np.asarray(known.groups)).size < FOLDS:
        notes.append("too few answers with a verdict to calibrate on: confidences are as stated")
        return everything, known, UNCALIBRATED
    fitted = Calibrator.load(name) if Path(name).suffix == ".json" else make(name)
    checked = cross_fit(fitted, known, folds=FOLDS) if fitted.fitted_on_ is None else None
    if checked is None:
        checked = fitted.transform(known)
    else:
        fitted.fit(known, identify=False)
    made = fitted.transform(everything)
    place = {each: i for i, each in enumerate(checked.ids.tolist())}
    value = [
        checked.confidence[place[each]] if each in place else made.confidence[i]
        for i, each in enumerate(made.ids.tolist())
    ]
    shown = replace(made, confidence=np.array(value))
    return shown, checked, f"{fitted.name} ({digest(fitted.to_dict())[:12]})"


def _asked(question: Question, answer: Answer, confidence: float | None, root: Path | None) -> Case:
    classes = question.options or (("yes", "no") if question.answer_type == "yes_no" else ())
    reading = answer.reading
    stated = {} if reading.confidence is None else {"confidence": float(reading.confidence)}
    shown = None if confidence is None else round(float(confidence), 6)
    return Case(
        id=question.id,
        group=question.group,
        image=tuple(
            ref for path in question.images for ref in image_references(path, root, named=True)
        ),
        question=question.question,
        classes=classes,
        predicted=reading.answer,
        confidence=shown,
        need=1.0 if shown is None else 1 - shown,
        raw={"text": reading.answer or "", "status": reading.status, **stated},
        site=question.answer_type,
        reference=question.gold[0] if question.gold else None,
    )


def _root_of(questions: QuestionSet) -> Path | None:
    paths = [path for question in questions for path in question.images if Path(path).is_absolute()]
    return Path(commonpath([str(Path(path).parent) for path in paths])) if paths else None
