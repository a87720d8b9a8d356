"""Verdicts on answers that are there already: judged anew without asking the model under study again."""

import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmcal.data.rows import read_rows
from vlmcal.data.vqa.fields import text
from vlmcal.elicit.answers import Answer
from vlmcal.elicit.asking import Asked, Limits, finished
from vlmcal.elicit.desk import Desk, Stopped
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.judge_errors import CorrectedError, corrected_ece
from vlmcal.elicit.judges.base import judge_answer
from vlmcal.elicit.models.base import ChatModel
from vlmcal.elicit.models.load import load_chat_model
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.elicit.rows import elicitor_labels
from vlmcal.elicit.run import model_verdict
from vlmcal.elicit.sentences import long_answers
from vlmcal.elicit.synonyms import load_synonyms, with_synonyms
from vlmcal.errors import DataError, StoreError, VlmcalError
from vlmcal.types.question import Question, QuestionSet


@dataclass(frozen=True)
class Corrected:
    """The accuracy of answers, corrected for the errors of their judge by a sample that a person labelled.

    Attributes:
        elicitor: Whose answers.
        judged: Share that the judge calls right, of all answers.
        accuracy: Estimate of the share that is right.
        low, high: Its 95 % interval.
        labelled: Number of labelled answers.
        agreement: Share of these on which the judge says what the person says.
        sensitivity: Share of the answers that the person calls right that the judge does, too.
        specificity: Share of those that the person calls wrong that the judge does, too.
        ece: Corrected calibration error of the answers that have a confidence; None without.
    """

    elicitor: str
    judged: float
    accuracy: float
    low: float
    high: float
    labelled: int
    agreement: float
    sensitivity: float | None = None
    specificity: float | None = None
    ece: CorrectedError | None = None


def corrected_accuracy(
    verdicts: Sequence[bool], labelled: Sequence[tuple[bool, bool]]
) -> Corrected:
    """Accuracy from the judge's verdicts on all answers and a person's on a random sample of them.

    With j the verdicts and h the labels, the estimate is ``mean(j) + mean(h - j)``, the second mean over the
    sample; its variance ``var(j) / N + var(h - j) / n``. It is unbiased whatever the judge does, as long as
    the sample was drawn at random.

    Args:
        verdicts: The judge's on all N answers.
        labelled: (judge, person) of the n answers of the sample.

    Raises:
        DataError: Fewer than two labelled answers.

    Source: Angelopoulos et al., "Prediction-powered inference", Science 2023, arXiv 2301.09633.

    Example:
        >>> found = corrected_accuracy([True] * 30 + [False] * 70, [(True, True)] * 5 + [(False, True)] * 5)
        >>> round(found.accuracy, 3), round(found.low, 3), round(found.high, 3), found.agreement
        (0.8, 0.461, 1.0, 0.5)
    """
    if len(labelled) < 2:
        raise DataError(f"expected two labelled answers or more, got {len(labelled)}")
    judged = [float(verdict) for verdict in verdicts]
    wrong = [float(person) - float(judge) for judge, person in labelled]
    accuracy = statistics.fmean(judged) + statistics.fmean(wrong)
    spread = statistics.variance(wrong) / len(wrong)
    spread += statistics.variance(judged) / len(judged) if len(judged) > 1 else 0.0
    half = 1.959964 * math.sqrt(spread)
    best, low, high = (
        min(1.0, max(0.0, value)) for value in (accuracy, accuracy - half, accuracy + half)
    )
    same = sum(judge == person for judge, person in labelled) / len(labelled)
    return Corrected("", statistics.fmean(judged), best, low, high, len(labelled), same)


def judge(
    folder: str | Path,
    judge: str | ChatModel = "contained",
    *,
    name: str | None = None,
    labels: str | Path | None = None,
    synonyms: str | Path | None = None,
    limits: Limits | None = None,
    loading: Mapping[str, Any] | None = None,
    parallel: int = 8,
    say: Callable[[str], None] = lambda text: None,
) -> tuple[Asked, list[Corrected]]:
    """Judge the open answers of a folder anew; the model under study is not asked.

    Args:
        folder: Of ``vlmcal vqa elicit`` or ``import``; replies of a judge model are kept there.
        judge: A registered judge ("contained", "token_f1(0.8)", ...), or a model (``http://...``).
        name: Name of the judge model on its server.
        labels: A table with columns "id", "correct" and perhaps "elicitor", labelled by a person for a random
            sample of the answers.
        synonyms: A table of words that mean the same; see :func:`vlmcal.elicit.synonyms.load_synonyms`.
        limits: Rates, budgets and attempts of a judge model.
        loading: Further arguments of :func:`vlmcal.elicit.models.load.load_chat_model`.
        parallel: Calls at the same time.
        say: Called with what a person should know while it runs.

    Returns:
        The answers with their new verdicts, and for each elicitor with labels its corrected accuracy.

    Raises:
        DataError: No such folder, or labels that fit no answer.
        SpecError: No such judge.
        BackboneError: The judge model cannot be used.
    """
    place = AnswerFolder(Path(folder))
    questions, before = place.load()
    same = [] if synonyms is None else load_synonyms(synonyms)
    accepting = questions.keep([with_synonyms(question, same) for question in questions])
    after = rejudged(
        accepting, before, judge,
        folder=place, name=name, loading=loading, limits=limits, parallel=parallel, say=say,
    )  # fmt: skip
    if same:
        # Who reads the verdicts must see that they rest on a table.
        kinds = {question.id: question.answer_type for question in questions}
        after = [
            replace(a, judge=f"{a.judge}+synonyms")
            if kinds[a.question] == "open" and a.correct is not None
            else a
            for a in after
        ]
        place.with_verdicts(after, f"{place.about().get('judge', '')}+synonyms")
    found = corrected(after, Path(labels)) if labels is not None else []
    asked = Asked(
        questions=questions,
        answers=tuple(after),
        elicitors=tuple(elicitor_labels(after)),
        folder=place.root,
        notes=tuple(long_answers(questions, after)),
        about=place.about(),
    )
    return asked, found


def rejudged(
    questions: QuestionSet,
    answers: Sequence[Answer],
    judge: str | ChatModel,
    *,
    folder: AnswerFolder | None = None,
    name: str | None = None,
    loading: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    parallel: int = 8,
    say: Callable[[str], None] = lambda text: None,
) -> list[Answer]:
    """The answers with new verdicts, which the folder holds afterwards; closed ones are judged by equality.

    Args:
        questions: What was asked.
        answers: To it.
        judge: A registered judge, or a model.
        folder: Where replies of the judge and the verdicts are kept; None keeps nothing.
        name: As for :func:`judge`.
        loading: As there.
        limits: As there.
        parallel: As there.
        say: As there.
    """
    by_id = {question.id: question for question in questions}
    if isinstance(judge, str) and ":" not in judge:
        made = [_judged(answer, by_id[answer.question], judge) for answer in answers]
        told = judge
    else:
        model = (
            load_chat_model(judge, name=name, **(loading or {}))
            if isinstance(judge, str)
            else judge
        )
        with tempfile.TemporaryDirectory() as nowhere:
            log = ResponseLog(folder.responses if folder else Path(nowhere, "responses.jsonl"))
            desk = Desk(
                models={"judge": model},
                log=log,
                paces={"judge": (limits or Limits()).pace()},
                parallel=min(parallel, model.parallel),
            )
            made = finished(_ask_judge(by_id, answers, desk, say))
        told = f"model:{model.identity}"
    if folder is not None:
        folder.with_verdicts(made, told)
    return made


def _judged(answer: Answer, question: Question, judge: str) -> Answer:
    if answer.reading.answer is None or not question.gold:
        return answer
    verdict = judge_answer(question, answer.reading.answer, judge)
    return replace(answer, correct=verdict.correct, judge=verdict.judge)


async def _ask_judge(
    by_id: Mapping[str, Question], answers: Sequence[Answer], desk: Desk, say: Callable[[str], None]
) -> list[Answer]:
    made = []
    with ExitStack() as held:
        try:
            await desk.models["judge"].probe()
            log = held.enter_context(desk.log)
            if len(log):
                say(f"{len(log):,} responses are there already and are not asked for again")
            for answer in answers:
                question = by_id[answer.question]
                if answer.reading.answer is None or not question.gold:
                    made.append(answer)
                    continue
                keys: dict[str, None] = {}
                verdict = await model_verdict(question, answer.reading.answer, desk, keys)
                made.append(
                    replace(
                        answer,
                        correct=verdict.correct,
                        judge=verdict.judge if verdict.correct is not None else "",
                        requests=tuple(dict.fromkeys([*answer.requests, *keys])),
                    )
                )
        except Stopped as error:
            raise StoreError("interrupted; the same command goes on from there") from error
        except VlmcalError:
            await desk.settle()
            raise
        finally:
            await desk.models["judge"].close()
    return made


def _beside(
    own: Sequence[Answer], people: Sequence[bool | None], pairs: Sequence[tuple[bool, bool]]
) -> dict[str, Any]:
    """The judge's own errors, and the calibration error that they leave."""
    right = [judge for judge, person in pairs if person]
    wrong = [not judge for judge, person in pairs if not person]
    rows = [
        (a.reading.confidence, bool(a.correct), person)
        for a, person in zip(own, people, strict=True)
        if a.reading.confidence is not None
    ]
    confidence, verdicts, labels = zip(*rows, strict=True) if rows else ((), (), ())
    return {
        "sensitivity": statistics.fmean(right) if right else None,
        "specificity": statistics.fmean(wrong) if wrong else None,
        "ece": corrected_ece(confidence, verdicts, labels)
        if sum(label is not None for label in labels) > 1
        else None,
    }


def corrected(answers: Sequence[Answer], labels: Path) -> list[Corrected]:
    """The corrected accuracy of each elicitor that a table of labels speaks of.

    Raises:
        DataError: A column is missing, a label is none, or no label fits an answer.
    """
    verdicts = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
    told: dict[tuple[str, str], bool] = {}
    for row in read_rows(labels):
        written = text(row.cells.get("correct")).lower()
        if "id" not in row.cells or written not in verdicts:
            raise DataError(
                f'{row.where}: expected "id" and "correct" (true or false), got {dict(row.cells)}'
            )
        told[(text(row.cells["id"]), text(row.cells.get("elicitor")))] = verdicts[written]
    found = []
    for label in elicitor_labels(answers):
        own = [a for a in answers if a.elicitor == label and a.correct is not None]
        people = [told.get((a.question, label), told.get((a.question, ""))) for a in own]
        pairs = [(bool(a.correct), h) for a, h in zip(own, people, strict=True) if h is not None]
        if len(pairs) > 1:
            made = corrected_accuracy([bool(a.correct) for a in own], pairs)
            found.append(replace(made, elicitor=label, **_beside(own, people, pairs)))
    if not found:
        raise DataError(
            f"{labels}: no two labels fit answers with a verdict; ids are those of questions.jsonl"
        )
    return found
