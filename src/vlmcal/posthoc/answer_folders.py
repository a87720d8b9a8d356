"""A folder of answers: measured, repaired, and what to do with each answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from vlmcal.calibrators.base import Calibrator, make
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.rows import ElicitorRows, as_stratum, chosen_elicitors, elicitor_rows
from vlmcal.elicit.strata import stratified
from vlmcal.errors import DataError
from vlmcal.io.table_output import write_table
from vlmcal.posthoc.advice import Advised, advised, to_columns
from vlmcal.posthoc.answers import Measured, Repaired, measure_answers, repair_answers
from vlmcal.posthoc.decisions import Decisions, decide
from vlmcal.posthoc.elicitor_choice import ElicitorChoice, choose_elicitor
from vlmcal.posthoc.remaining import Remaining, remaining
from vlmcal.posthoc.study_options import StudyOptions, with_defaults
from vlmcal.types.confidences import Confidences
from vlmcal.types.question import QuestionSet
from vlmcal.types.shown import Shown, plural

# Of the interval around each probability, and of the table of all calibrators: what is shown there does
# not need the last digit.
FIT_RESAMPLES, TABLE_RESAMPLES = 100, 200


@dataclass(frozen=True)
class Decided:
    """Advice on the answers of one elicitor.

    Attributes:
        calibrator: Name of what made the probabilities.
        decisions: The advice.
    """

    calibrator: str
    decisions: Decisions


@dataclass(frozen=True, eq=False, repr=False)
class AnswerStudy(Shown):
    """What :func:`evaluate_answers` measured; :func:`vlmcal.report.answers_report` makes the page of it.

    Attributes:
        questions: What was asked.
        answers: Of all elicitors.
        measured: The elicitors that were asked for; the first one is looked at closely.
        decided: Advice on the answers of the first one; None where its rows do not suffice.
        choice: All elicitors and fusion, compared; None where there is only one candidate.
        about: What the answers were made with.
        left: What remains to be done with the folder.
        notes: What the reader should know.
        options: Of :func:`~vlmcal.posthoc.answers.repair_answers`, for :attr:`repaired`.
    """

    questions: QuestionSet
    answers: Sequence[Answer]
    measured: Sequence[Measured]
    decided: Decided | None = None
    choice: ElicitorChoice | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    left: Sequence[Remaining] = ()
    notes: Sequence[str] = ()
    options: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """How the questions put to each elicitor ended, and the ECE of what it stated."""
        found = []
        for each in self.measured:
            states, measured = each.rows.states, each.parsed
            ece = None if measured is None else measured.estimates.get("ece")
            counts = (str(n) for n in (states.asked, states.judged, states.right))
            found.append((each.rows.elicitor, *counts, "" if ece is None else f"{ece.value:.4f}"))
        return f"AnswerStudy: {plural(len(self.questions), 'question')}", [
            ("elicitor", "asked", "judged", "right", "ece"),
            *found,
        ]

    @property
    def labels(self) -> list[str]:
        """Labels of the elicitors."""
        return [each.rows.elicitor for each in self.measured]

    @cached_property
    def lines(self) -> list[Advised]:
        """A line for every question put to the first elicitor."""
        decisions = None if self.decided is None else self.decided.decisions
        return advised(self.questions, self.answers, self.labels[0], decisions)

    @cached_property
    def repaired(self) -> list[Repaired]:
        """All calibrators on the answers of the first elicitor, where there is advice on them."""
        rows = self.measured[0].rows.parsed
        if self.decided is None or rows is None:
            return []
        return repair_answers(rows, **self.options)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data by elicitor; the first one with a line for each of its questions."""
        numbers: dict[str, Any] = {}
        for each in self.measured:
            states = each.rows.states
            numbers[each.rows.elicitor] = {
                "asked": states.asked,
                "answers": dict(states.answers),
                "confidences": dict(states.confidences),
                "judged": states.judged,
                "right": states.right,
                "judges": list(states.judges),
                "parsed": None if each.parsed is None else each.parsed.to_dict(),
                "all": None if each.everything is None else each.everything.to_dict(),
            }
        numbers[self.labels[0]]["questions"] = [dict(vars(line)) for line in self.lines]
        return numbers


@dataclass(frozen=True, eq=False, repr=False)
class CalibratedAnswers(Shown):
    """Calibrators on the answers of one elicitor, before and after.

    Attributes:
        elicitor: Its label.
        repaired: No calibration and each calibrator, measured; empty where no answer has a verdict.
        lines: One for every question, where a single calibrator was asked for advice; else empty.
        decided: The advice; None where none was asked for or the rows do not suffice.
        notes: What the reader should know.
    """

    elicitor: str
    repaired: Sequence[Repaired]
    lines: Sequence[Advised] = ()
    decided: Decided | None = None
    notes: Sequence[str] = ()

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """The metrics of each calibrator; of one that was left out none."""
        measured = [(each.name, each.evaluation) for each in self.repaired]
        names = list(dict.fromkeys(n for _, e in measured if e is not None for n in e.estimates))
        found = [
            (name, *("" if e is None else f"{e[metric].value:.4f}" for metric in names))
            for name, e in measured
        ]
        title = f'CalibratedAnswers: elicitor "{self.elicitor}", {plural(len(found), "calibrator")}'
        return title, [("calibrator", *names), *found]

    def save(self, path: str | Path) -> None:
        """Write the lines as a table, in the form that the ending of the name says (CSV, Parquet, ...)."""
        write_table(to_columns(self.lines), Path(path))


def evaluate_answers(
    folder: str | Path,
    elicitors: Sequence[str] | None = None,
    *,
    strata: str | Path | None = None,
    metrics: str | Sequence[str] = "answers",
    calibrator: str | Calibrator = "platt",
    **options: Unpack[StudyOptions],
) -> AnswerStudy:
    """Measure the confidences over parsed and over all rows, by kind of question, and advise.

    Args:
        folder: Of :func:`vlmcal.elicit.ask` or :func:`vlmcal.elicit.bring`.
        elicitors: Labels, the one to look at closely first; None for all.
        strata: Table that is joined by its column "id".
        metrics: Preset or names.
        calibrator: Makes the probabilities of the advice, cross-fitted by image.
        **options: :class:`~vlmcal.posthoc.study_options.StudyOptions`.

    Raises:
        DataError: The folder holds no answers, or none of such an elicitor.
        SpecError: No such metric, calibrator or stratum.
    """
    given, place = with_defaults(options), AnswerFolder(Path(folder))
    questions, answers = place.load()
    by, resamples = given["by"], given["resamples"]
    if strata is not None:
        questions, by = stratified(questions, Path(strata), by), "kind"
    drawing: dict[str, Any] = {"level": given["level"], "seed": given["seed"]}
    common = {**drawing, "folds": given["folds"]}
    measured = measure_answers(
        questions,
        answers,
        chosen_elicitors(answers, elicitors),
        metrics=metrics,
        stratum=as_stratum(by),
        resamples=resamples,
        **drawing,
    )
    notes = list(dict.fromkeys(text for each in measured for text in each.rows.notes))
    limit = {**common, "target_risk": given["target_risk"], "resamples": resamples}
    decided = _decided(measured[0].rows.parsed, make(calibrator), notes, **limit)
    compared = [each.rows for each in measured]
    choice = choose_elicitor(compared, make(calibrator), **common)
    return AnswerStudy(
        questions=questions,
        answers=answers,
        measured=measured,
        decided=decided,
        choice=None if choice is None or len(choice.candidates) < 2 else choice,
        about=place.about(),
        left=remaining(folder, questions, answers, place.about()),
        notes=notes,
        options={**common, "resamples": min(resamples, TABLE_RESAMPLES)},
    )


def _decided(
    rows: Confidences | None, calibrator: Calibrator, notes: list[str], **limit: Any
) -> Decided | None:
    """Advice on these rows, or None with a note where they do not suffice."""
    if rows is None:
        return None
    limit["resamples"] = min(limit["resamples"], FIT_RESAMPLES)
    try:
        return Decided(calibrator.name, decide(rows, calibrator, **limit))
    except DataError as error:
        notes.append(f"no calibrated probabilities ({error})")
        return None


def calibrate_answers(
    folder: str | Path,
    methods: str | Calibrator | Sequence[str | Calibrator] | None = None,
    elicitors: Sequence[str] | None = None,
    *,
    per_kind: bool | None = None,
    advise: bool = True,
    metrics: str | Sequence[str] = "answers",
    say: Callable[[str], None] = lambda text: None,
    **options: Unpack[StudyOptions],
) -> list[CalibratedAnswers]:
    """Before and after of calibrators on the same answers, cross-fitted by image.

    Args:
        folder: Of :func:`vlmcal.elicit.ask` or :func:`vlmcal.elicit.bring`.
        methods: Calibrators, or their names, also with options ("histogram(bins=10)"); None for all that
            take one confidence per row.
        elicitors: Labels; None for the first one of the folder.
        per_kind: None lets cross-validation choose, True fits a map for each kind of question, False one for
            all.
        advise: With one method, also say for each answer whether to rely on it.
        metrics: Preset or names.
        say: Called with how many questions of each elicitor can be used.
        **options: :class:`~vlmcal.posthoc.study_options.StudyOptions`.

    Returns:
        One for each elicitor.

    Raises:
        DataError: Nothing can be used, a named method lacks what it reads, or fewer images than folds.
        SpecError: No such calibrator, metric or stratum.
    """
    given: dict[str, Any] = {**with_defaults(options)}
    by, target_risk = given.pop("by"), given.pop("target_risk")
    questions, answers = AnswerFolder(Path(folder)).load()
    labels = chosen_elicitors(answers, elicitors)
    named = [methods] if isinstance(methods, str | Calibrator) else methods
    alone = make(named[0]) if advise and named is not None and len(named) == 1 else None
    results = []
    for label in labels if elicitors else labels[:1]:
        rows = usable_rows(folder, questions, answers, label, by)
        assert rows.parsed is not None
        say(f"{label}: {len(rows.parsed):,} of {rows.states.asked:,} questions can be used")
        common = {**given, "per_kind": per_kind}
        repaired = repair_answers(rows.parsed, named, metrics=metrics, **common)
        notes = [f"{each.name}: {each.notes}" for each in repaired if each.notes]
        found = CalibratedAnswers(label, repaired)
        if alone is not None:
            decided = _decided(rows.parsed, alone, notes, target_risk=target_risk, **common)
            lines = advised(
                questions,
                answers,
                label,
                None if decided is None else decided.decisions,
                repaired[-1].rows,
            )
            found = replace(found, decided=decided, lines=lines)
        results.append(replace(found, notes=notes))
    return results


def usable_rows(
    folder: str | Path, questions: QuestionSet, answers: Sequence[Answer], label: str, by: str
) -> ElicitorRows:
    """Rows of an elicitor, refused where none can be used."""
    rows = elicitor_rows(questions, answers, label, stratum=as_stratum(by))
    if rows.parsed is None:
        raise DataError(
            f'{folder}: the elicitor "{label}" has no row with an answer, a verdict and a confidence'
        )
    return rows
