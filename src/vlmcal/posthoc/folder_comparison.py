"""Two folders of answers: two models, or one over time, on the same questions where they match."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import hypot
from pathlib import Path
from typing import Any, NamedTuple, Unpack

import numpy as np

from vlmcal.calibrators.base import Calibrator, make
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.rows import as_stratum, elicitor_labels, elicitor_rows
from vlmcal.elicit.strata import stratified
from vlmcal.errors import DataError, require_known
from vlmcal.metrics import evaluate
from vlmcal.metrics.comparison import compare
from vlmcal.metrics.kit.proportions import critical_value
from vlmcal.posthoc.decisions import decide
from vlmcal.posthoc.study_options import StudyOptions, with_defaults
from vlmcal.types.arrays import FloatArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate, standard_error
from vlmcal.types.question import Question
from vlmcal.types.shown import Shown, plural

METRICS = ("accuracy", "ece", "top_label_brier", "auroc")
CONFIDENCE, DEFERRED = "mean confidence", "left to a human"
FEWEST = 20


class Difference(NamedTuple):
    """One quantity in both folders.

    ``change`` is new - old with its interval: paired on the questions of both, or of independent rows.
    """

    name: str
    old: float
    new: float
    change: Estimate


@dataclass(frozen=True)
class Changed:
    """A question of both folders whose answer or verdict is another one."""

    id: str
    question: str
    gold: str
    old: str | None
    new: str | None
    old_right: bool | None
    new_right: bool | None


@dataclass(frozen=True, repr=False)
class FolderComparison(Shown):
    """What :func:`compare_answers` found.

    Attributes:
        elicitors: Labels in the old and the new folder.
        both: Questions asked in both.
        usable: Of these, with answer, verdict and confidence in both.
        only_old, only_new: Ids of questions of one folder only.
        paired: Whether differences are of the same questions.
        differences: Over all usable rows.
        kinds: The same by kind of question, where it has at least 20 rows in both.
        changed: Questions of both whose answer or verdict is another one.
        notes: What the reader should know.
    """

    elicitors: tuple[str, str]
    both: int
    usable: int
    only_old: tuple[str, ...]
    only_new: tuple[str, ...]
    paired: bool
    differences: tuple[Difference, ...]
    kinds: Mapping[str, tuple[Difference, ...]]
    changed: tuple[Changed, ...]
    notes: tuple[str, ...] = ()

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """Every quantity in both folders."""
        found = [
            (each.name, f"{each.old:.4f}", f"{each.new:.4f}", str(each.change))
            for each in self.differences
        ]
        title = f"FolderComparison: {plural(self.both, 'question')} in both, {self.usable:,} usable"
        return title, [("quantity", "old", "new", "change"), *found]

    def sentences(self) -> list[str]:
        """What changed beyond chance, in words."""
        lines = []
        for each in self.differences:
            low, high = each.change.low, each.change.high
            if low is None or high is None or low <= 0 <= high:
                continue
            way = "rose" if each.change.value > 0 else "fell"
            lines.append(
                f"{each.name} {way} from {100 * each.old:.1f} to {100 * each.new:.1f} % "
                f"(change {100 * each.change.value:+.1f}, {100 * low:+.1f} to {100 * high:+.1f})."
            )
        gone = sum(c.old_right is True and c.new_right is False for c in self.changed)
        won = sum(c.old_right is False and c.new_right is True for c in self.changed)
        lines = lines or ["No difference that chance does not explain."]
        if self.both:
            lines.append(
                f"Of {self.both:,} questions in both, {len(self.changed):,} have another answer or verdict: "
                f"{gone:,} became wrong, {won:,} became right."
            )
        if self.only_old or self.only_new:
            lines.append(
                f"{len(self.only_old):,} questions are in the old folder only, {len(self.only_new):,} in the "
                "new one only."
            )
        return lines

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        plain = asdict(self)
        plain["differences"] = [_plain(each) for each in self.differences]
        plain["kinds"] = {k: [_plain(each) for each in found] for k, found in self.kinds.items()}
        return plain


def _plain(found: Difference) -> dict[str, Any]:
    change = found.change
    ends = {"change": change.value, "low": change.low, "high": change.high, "n": change.n}
    return {**found._asdict(), **ends}


def compare_answers(
    old: str | Path,
    new: str | Path,
    elicitor: str | None = None,
    *,
    strata: str | Path | None = None,
    calibrator: str | Calibrator = "platt",
    **options: Unpack[StudyOptions],
) -> FolderComparison:
    """Accuracy, calibration, confidence and deferral in two folders of answers, and every changed answer.

    A question is the same if its id and its text are. Where at least 20 are usable in both, differences are
    paired on these, with intervals by image; else they are of all usable rows of either folder, as
    independent samples (MOVER: Zou and Donner, Statistics in Medicine 2008). The share left to a human is
    that of each folder's own calibration and threshold.

    Args:
        old: Folder of :func:`vlmcal.elicit.ask` or :func:`vlmcal.elicit.bring`.
        new: The other.
        elicitor: Label; None for the first one of each folder.
        strata: Table that is joined by its column "id".
        calibrator: Makes the probabilities that decide what is left to a human.
        **options: :class:`~vlmcal.posthoc.study_options.StudyOptions`.

    Raises:
        DataError: No such elicitor, or no row that can be used in one of the folders.
    """
    settings: dict[str, Any] = {**with_defaults(options)}
    by = settings.pop("by")
    limit = {name: settings.pop(name) for name in ("folds", "target_risk")}
    limit |= {name: settings[name] for name in ("seed", "level")}
    sides = [_side(path, elicitor, by, strata) for path in (old, new)]
    asked = [side.answers for side in sides]
    same = [
        name
        for name in asked[0]
        if name in asked[1]
        and sides[0].questions[name].question == sides[1].questions[name].question
    ]
    notes = []
    renamed = sum(name in asked[1] for name in asked[0]) - len(same)
    if renamed:
        notes.append(
            f"{renamed:,} ids stand for another question in the new folder, so these are not compared"
        )
    usable = [[name for name in same if name in side.place] for side in sides]
    shared = [name for name in usable[0] if name in set(usable[1])]
    paired = len(shared) >= FEWEST
    parts = [side.of(shared) if paired else side.rows for side in sides]
    left = [_left(side, make(calibrator), limit, notes) for side in sides]
    if not paired:
        notes.append(
            "the folders share too few questions, so their rows are compared as independent"
        )
    known = [
        None if each is None else np.array([each[name] for name in part.ids.tolist()])
        for each, part in zip(left, parts, strict=True)
    ]
    differences = _differences(parts, known, paired, settings)
    kinds = {}
    for kind in _kinds(parts):
        places = [np.flatnonzero(part.kinds == kind) for part in parts]
        if min(p.size for p in places) >= FEWEST:
            own = [part.subset(p) for part, p in zip(parts, places, strict=True)]
            their = [None if k is None else k[p] for k, p in zip(known, places, strict=True)]
            kinds[kind] = _differences(own, their, paired, settings)
    return FolderComparison(
        elicitors=(sides[0].label, sides[1].label),
        both=len(same),
        usable=len(shared),
        only_old=tuple(name for name in asked[0] if name not in asked[1]),
        only_new=tuple(name for name in asked[1] if name not in asked[0]),
        paired=paired,
        differences=differences,
        kinds=kinds,
        changed=tuple(_changed(same, sides)),
        notes=tuple(dict.fromkeys(notes)),
    )


@dataclass(frozen=True)
class _Side:
    label: str
    questions: dict[str, Question]
    answers: dict[str, Answer]
    rows: Confidences
    place: dict[str, int]

    def of(self, names: Sequence[str]) -> Confidences:
        return self.rows.subset(np.array([self.place[name] for name in names]))


def _side(path: str | Path, elicitor: str | None, by: str, strata: str | Path | None) -> _Side:
    questions, answers = AnswerFolder(Path(path)).load()
    if strata is not None:
        questions, by = stratified(questions, Path(strata), by), "kind"
    labels = elicitor_labels(answers)
    label = elicitor or labels[0]
    require_known(label, labels, f"{path}: no answers of the elicitor", DataError)
    rows = elicitor_rows(questions, answers, label, stratum=as_stratum(by)).parsed
    if rows is None:
        raise DataError(f'{path}: the elicitor "{label}" has no row that can be used')
    return _Side(
        label,
        {question.id: question for question in questions},
        {a.question: a for a in answers if a.elicitor == label},
        rows,
        {name: i for i, name in enumerate(rows.ids.tolist())},
    )


def _left(
    side: _Side, calibrator: Calibrator, limit: dict[str, Any], notes: list[str]
) -> dict[str, float] | None:
    """1 for every answer that is left to a human, by id."""
    try:
        found = decide(side.rows, calibrator, resamples=0, **limit)
    except DataError as error:
        notes.append(f"who is asked is not compared ({error})")
        return None
    return dict(zip(found.rows.ids.tolist(), (~found.accepted).astype(float).tolist(), strict=True))


def _kinds(parts: Sequence[Confidences]) -> list[str]:
    found = [[] if part.kinds is None else part.kinds.tolist() for part in parts]
    return [str(kind) for kind in dict.fromkeys(found[0]) if kind in set(found[1])]


def _differences(
    parts: Sequence[Confidences],
    left: Sequence[FloatArray | None],
    paired: bool,
    settings: dict[str, Any],
) -> tuple[Difference, ...]:
    old, new = parts
    found = []
    for name in METRICS:
        both_ways = all(0 < part.correct.mean() < 1 for part in parts)
        if name == "auroc" and not both_ways:
            continue
        if paired:
            result = compare(new, old, name, **settings)
            found.append(Difference(name, result.second, result.first, result.difference))
        else:
            was, now = (
                evaluate(p, [name], by_group=False, **settings).estimates[name] for p in parts
            )
            found.append(Difference(name, was.value, now.value, _mover(was, now)))
    means: list[tuple[str, Callable[[int], FloatArray | None]]] = [
        (CONFIDENCE, lambda i: parts[i].confidence),
        (DEFERRED, lambda i: left[i]),
    ]
    for title, values in means:
        was_values, now_values = values(0), values(1)
        if was_values is not None and now_values is not None:
            found.append(
                _mean_difference(title, was_values, now_values, parts, paired, settings["level"])
            )
    return tuple(found)


def _mean_difference(
    name: str,
    was: FloatArray,
    now: FloatArray,
    parts: Sequence[Confidences],
    paired: bool,
    level: float,
) -> Difference:
    units = [part.units for part in parts]
    if paired:
        error, count = standard_error(now - was, units[0]), np.unique(units[0]).size
    else:
        error = hypot(standard_error(was, units[0]), standard_error(now, units[1]))
        count = min(np.unique(u).size for u in units)
    gap, reach = float(now.mean() - was.mean()), critical_value(level, count) * error
    return Difference(
        name,
        float(was.mean()),
        float(now.mean()),
        Estimate(gap, gap - reach, gap + reach, n=now.size),
    )


def _mover(old: Estimate, new: Estimate) -> Estimate:
    """Interval of the difference of two independent estimates from their own intervals."""
    gap = new.value - old.value
    if old.low is None or old.high is None or new.low is None or new.high is None:
        return Estimate(gap, n=new.n)
    low = gap - hypot(new.value - new.low, old.high - old.value)
    high = gap + hypot(new.high - new.value, old.value - old.low)
    return Estimate(gap, low, high, n=new.n, method="MOVER")


def _changed(same: Sequence[str], sides: Sequence[_Side]) -> list[Changed]:
    found = []
    for name in same:
        old, new = (side.answers[name] for side in sides)
        texts = [normalise(a.reading.answer or "") for a in (old, new)]
        if texts[0] == texts[1] and old.correct == new.correct:
            continue
        question = sides[1].questions[name]
        found.append(
            Changed(
                name,
                question.question,
                "|".join(question.gold),
                old.reading.answer,
                new.reading.answer,
                old.correct,
                new.correct,
            )
        )
    return found
