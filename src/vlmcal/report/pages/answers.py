"""The page on a multimodal LLM's answers, for the people who decide whether to rely on them."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vlmcal.elicit.costs import from_plain
from vlmcal.elicit.images import upright
from vlmcal.elicit.rows import ALL_ROWS, PARSED_ROWS
from vlmcal.io.shown import DAMAGED
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.posthoc.answer_folders import AnswerStudy, Decided
from vlmcal.posthoc.answers import Measured, Repaired
from vlmcal.posthoc.decisions import Decisions
from vlmcal.report.cells import Column, words
from vlmcal.report.display import named_definitions
from vlmcal.report.formats import number, percent_range, plural
from vlmcal.report.html import Case, Report, Section, present
from vlmcal.report.pages.answer_tables import (
    confidence_table,
    costs_table,
    kind_table,
    repair_table,
    states_table,
)
from vlmcal.report.pages.evaluation_pictures import pictures
from vlmcal.report.pages.verdict import calibration_verdict
from vlmcal.report.tables import Table
from vlmcal.types.question import Question, QuestionSet

CASES = 12
THUMBNAIL = 224
# Of a question on a card, and of an answer.
LETTERS = 300
ASK = "ask a human"
RELY = "may be relied on"
ADVICE = (
    "What is said about an answer was learned from other images. The probability is the calibrated "
    "confidence, kept inside the interval of its similar past answers, which are those to the same kind of "
    "question with the nearest probability. Its own interval speaks of how well the share of right answers "
    "of this kind and confidence is known, not of this one answer. An answer below the threshold, one for "
    "all and chosen on all, goes to a human."
)
WRONG_FIRST = (
    "Wrong answers given with the highest stated confidence. Look here for label errors and for questions "
    "that this model should never be asked."
)


def answers_report(study: AnswerStudy, *, command: str = "", title: str | None = None) -> Report:
    """A page on the answers of one model; the first elicitor is the one that is looked at closely.

    Args:
        study: Of :func:`vlmcal.posthoc.evaluate_answers`.
        command: The command that made the page.
        title: Title of the page; None names the questions.
    """
    questions, measured, decided = study.questions, study.measured, study.decided
    first = measured[0]
    by_id = {question.id: question for question in questions}
    sections = present(
        _wrong_section(first, by_id, decided),
        _advice_section(first, by_id, decided),
        Section(
            heading="How the questions ended",
            prose=["What could not be read is counted here and never guessed."],
            tables=[states_table(study.answers, study.labels), *_cost_tables(study.about)],
            notes=[*capability_notes(study.about), *_absent_images(questions)],
        ),
        _left_section(study),
        _measure_section(measured, questions),
        _kind_section(first),
        _picture_section(first),
        _repair_section(first, study.repaired),
    )
    definitions = first.parsed.definitions if first.parsed is not None else {}
    return Report(
        title=title or f"Confidence of answers: {questions.name}",
        lead=f"{questions.name}, {plural(len(questions), 'question')}. {questions.definition}".strip(),
        sections=sections,
        summary=_summary(study),
        definitions=named_definitions(definitions),
        provenance={**questions.provenance, **study.about},
        command=command,
    )


def study_text(study: AnswerStudy) -> str:
    """The tables and the advice in plain text, for a terminal.

    Args:
        study: Of :func:`vlmcal.posthoc.evaluate_answers`.
    """
    first, decided = study.measured[0], study.decided
    parts = [states_table(study.answers, study.labels).to_text()]
    for parsed, name in ((True, "parsed rows"), (False, "all rows")):
        parts.append(f"{name}\n{confidence_table(study.measured, parsed=parsed).to_text()}")
        kinds = kind_table(first, parsed=parsed)
        if len(kinds.rows) > 1:
            parts.append(f"{first.rows.elicitor}, {name}\n{kinds.to_text()}")
    if decided is not None:
        parts += decision_sentences(decided.decisions, decided.calibrator)
    if study.choice is not None:
        parts += study.choice.sentences()
    parts += [f"to do: {each.sentence()}" for each in study.left]
    return "\n\n".join(parts)


def _summary(study: AnswerStudy) -> list[str]:
    first, decided = study.measured[0], study.decided
    rows = first.rows.parsed
    if rows is None or first.parsed is None:
        return [f"“{first.rows.elicitor}” gave no answer with a confidence that can be measured."]
    verdict = calibration_verdict(rows, first.parsed.estimates.get("ece"))
    lines = [*verdict.sentences]
    states = first.rows.states
    share = number(len(rows) / states.asked, percent=True, digits=1)
    lines.append(
        f"Measured on “{first.rows.elicitor}”: {len(rows):,} of {plural(states.asked, 'question')} "
        f"({share} %) have an answer, a verdict and a confidence; {plural(_groups(rows), 'image group')}."
    )
    if decided is not None:
        lines += decision_sentences(decided.decisions, decided.calibrator)
    if len(rows) < states.asked:
        missing = plural(states.asked - len(rows), "question")
        lines.append(
            f"Without an answer, a verdict or a confidence, and so for a human: {missing}."
        )
    if study.choice is not None:
        lines += study.choice.sentences()
    return lines


def decision_sentences(decisions: Decisions, calibrator: str) -> list[str]:
    """What the threshold achieves, and how many images would allow to rely on more.

    Args:
        decisions: The advice.
        calibrator: Name of what made the probabilities.
    """
    rows, accepted = decisions.rows, decisions.accepted
    target = number(decisions.target_risk, percent=True, digits=0)
    outlook = decisions.outlook
    more = []
    if outlook is not None:
        reach = number(outlook.share, percent=True, digits=0)
        more = [
            f"To rely on {reach} % instead, about {outlook.images:,} images in all would be needed (now "
            f"{_groups(rows):,}), if they are answered as these are."
        ]
    if not accepted.any():
        return [
            f"No threshold on the confidence (calibrated by “{calibrator}”) is shown to keep the share "
            f"of wrong answers at {target} % or less with these rows: every answer is for a human.",
            *more,
        ]
    share = number(float(accepted.mean()), percent=True, digits=0)
    groups = rows.groups[accepted] if rows.groups is not None else None
    wrong = infer_proportion(~rows.correct[accepted], level=0.95, groups=groups)
    edge = number(float(decisions.thresholds.min()), percent=True, digits=0)
    return [
        f"With at most {target} % wrong answers as the target, {share} % of the answers may be relied on "
        f"(calibrated probability of {edge} % or more); of these {percent_range(wrong)} were wrong. The "
        "others are for a human.",
        *more,
    ]


def _groups(rows: Any) -> int:
    return len(rows) if rows.groups is None else int(np.unique(rows.groups).size)


def _wrong_section(
    first: Measured, by_id: dict[str, Question], decided: Decided | None
) -> Section | None:
    rows = first.rows.parsed
    if rows is None or rows.correct.all():
        return None
    wrong = np.flatnonzero(~rows.correct)
    order = wrong[np.argsort(-rows.confidence[wrong], kind="stable")]
    sure = int((rows.confidence[wrong] >= 0.9).sum())
    return Section(
        heading="Confidently wrong",
        prose=[
            f"{WRONG_FIRST} {sure:,} of {plural(wrong.size, 'wrong answer')} were given with 90 % "
            "or more."
        ],
        cases=[_case(i, first, by_id, decided) for i in order[:CASES].tolist()],
    )


def _advice_section(
    first: Measured, by_id: dict[str, Question], decided: Decided | None
) -> Section | None:
    if decided is None or first.rows.parsed is None:
        return None
    probability = decided.decisions.rows.confidence
    # From the surest to the least sure, evenly spaced, so that the page shows what the scale looks like.
    order = np.argsort(-probability, kind="stable")
    places = np.unique(np.linspace(0, order.size - 1, min(CASES, order.size)).round().astype(int))
    return Section(
        heading="Answers as they would be shown",
        prose=[ADVICE],
        cases=[_case(int(i), first, by_id, decided, verdict=False) for i in order[places]],
        notes=list(decided.decisions.notes),
    )


def _case(
    place: int,
    first: Measured,
    by_id: dict[str, Question],
    decided: Decided | None,
    *,
    verdict: bool = True,
) -> Case:
    rows = first.rows.parsed
    assert rows is not None
    answer = first.rows.answers[place]
    question = by_id[answer.question]
    lines = [("answer", _brief(answer.reading.answer or ""))]
    if verdict:
        lines.append(("truth", _brief(" or ".join(question.gold)) or "judged wrong"))
    lines.append(("stated", f"{number(float(rows.confidence[place]), percent=True, digits=0)} %"))
    badge, alarm = "", False
    if decided is not None:
        advice = decided.decisions
        lines += _advice_lines(advice, place)
        alarm = not bool(advice.accepted[place])
        badge = ASK if alarm else RELY
    return Case(
        heading=_brief(question.question),
        lines=lines,
        badge=badge,
        alarm=alarm,
        image=thumbnail(question.images[0]) if question.images else None,
    )


def _brief(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[:LETTERS].rstrip()} ..."


def _advice_lines(advice: Decisions, place: int) -> list[tuple[str, str]]:
    value = float(advice.rows.confidence[place])
    shown = f"{number(value, percent=True, digits=0)} %"
    low, high = float(advice.low[place]), float(advice.high[place])
    if np.isfinite(low) and np.isfinite(high):
        ends = [number(v, percent=True, digits=0) for v in (low, high)]
        shown += f" ({ends[0]} to {ends[1]})"
    similar = advice.similar[place]
    lines = [("probability", shown)]
    if np.isfinite(similar.value):
        lines.append(("similar", f"{percent_range(similar, digits=0)} of {similar.n:,} were right"))
    return lines


def thumbnail(path: str) -> bytes | None:
    """A small JPEG of an image file, or None where it cannot be read (any more)."""
    try:
        with Image.open(Path(path)) as image:
            small = upright(image)
            small.thumbnail((THUMBNAIL, THUMBNAIL))
    except DAMAGED:
        return None
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _cost_tables(about: Mapping[str, Any]) -> list[Table]:
    costs = from_plain(about.get("costs"))
    return [costs_table(costs)] if costs else []


def capability_notes(about: Mapping[str, Any]) -> list[str]:
    """What the models' servers lack, in sentences.

    Args:
        about: Contents of ``run.json``.

    Example:
        >>> capability_notes({"capabilities": {"subject": {"notes": ["it refuses images"]}}})
        ['subject model: it refuses images']
    """
    notes = []
    for who, found in dict(about.get("capabilities", {})).items():
        if who != "judge" and found.get("logprobs") is False:
            notes.append(
                f"The {who} model's server gives no log-probabilities, so confidences that need them are "
                "missing."
            )
        notes += [f"{who} model: {text}" for text in found.get("notes", [])]
    if about.get("complete") is False:
        notes.append("The run was interrupted: not every question is answered yet.")
    return notes


def _absent_images(questions: QuestionSet) -> list[str]:
    absent = questions.missing_images()
    if not absent:
        return []
    told = "1 image is" if len(absent) == 1 else f"{len(absent):,} images are"
    return [f"{told} not there (any more) and cannot be shown, such as {absent[0]}."]


def _left_section(study: AnswerStudy) -> Section | None:
    if not study.left:
        return None
    table = Table(
        columns=[words("what"), Column("how many"), words("what to do")],
        rows=[[each.what, each.count, each.command or each.hint] for each in study.left],
    )
    return Section(heading="What remains to do", tables=[table])


def _measure_section(measured: Sequence[Measured], questions: QuestionSet) -> Section:
    judges = dict.fromkeys(judge for m in measured for judge in m.rows.states.judges)
    notes = [note for m in measured for note in m.rows.notes]
    if judges:
        notes.append(f"Answers were judged by: {', '.join(judges)}.")
    if questions.definition:
        notes.append(questions.definition)
    parsed, everything = (confidence_table(measured, parsed=p) for p in (True, False))
    return Section(
        heading="Confidence of every elicitor",
        prose=[PARSED_ROWS, ALL_ROWS],
        tables=[
            t for t in (_captioned(parsed, "Parsed rows"), _captioned(everything, "All rows")) if t
        ],
        notes=list(dict.fromkeys(notes)),
    )


def _captioned(table: Any, caption: str) -> Any:
    return replace(table, caption=caption) if table.rows else None


def _kind_section(first: Measured) -> Section | None:
    tables = [
        _captioned(kind_table(first, parsed=parsed), caption)
        for parsed, caption in ((True, "Parsed rows"), (False, "All rows"))
    ]
    shown = [table for table in tables if table and len(table.rows) > 1]
    return Section(heading="Kinds of question", tables=shown) if shown else None


def _picture_section(first: Measured) -> Section | None:
    if first.rows.parsed is None or first.parsed is None:
        return None
    heading = f"Pictures of “{first.rows.elicitor}”"
    return Section(
        heading=heading,
        warnings=first.parsed.notes,
        pictures=pictures(first.rows.parsed, first.parsed),
    )


def _repair_section(first: Measured, repaired: Sequence[Repaired]) -> Section | None:
    if not repaired:
        return None
    left_out = [f"{r.name}: {r.notes}" for r in repaired if r.evaluation is None]
    return Section(
        heading="After calibration",
        prose=[
            f"Calibrators on “{first.rows.elicitor}”, cross-fitted: no row was calibrated by a map "
            "that has seen its image. Strictly increasing maps leave AUROC and AURC as they are within a "
            "fold."
        ],
        tables=[repair_table(repaired)],
        notes=[f"Left out: {text}" for text in left_out],
    )
