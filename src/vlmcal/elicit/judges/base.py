"""What a judge is, and which one judges what."""

import re
from dataclasses import replace
from typing import NamedTuple, Protocol

from vlmcal.options import check, read
from vlmcal.registry import Registry
from vlmcal.types.question import Question


class Verdict(NamedTuple):
    """Whether an answer is right, and who says so.

    Attributes:
        correct: None where the question has no accepted answer.
        judge: Name of the judge with its threshold, for every table made from the verdict.
        score: Likeness to the nearest accepted answer in [0, 1]; 0 where there is none.
    """

    correct: bool | None
    judge: str
    score: float


class Judge(Protocol):
    """Compares an answer with the accepted ones, without asking a model."""

    @property
    def name(self) -> str:
        """Name in every verdict, with the options that matter."""
        ...

    def judge(self, question: Question, answer: str) -> Verdict:
        """The verdict on one answer that was read."""
        ...


JUDGES: Registry[Judge] = Registry(
    "judge",
    "vlmcal.elicit.judges",
    lambda entry: isinstance(getattr(entry, "name", None), str) and hasattr(entry, "judge"),
    "an object with name and judge",
)


def find_judge(name: str) -> Judge:
    """The judge called ``name``; its threshold may follow in parentheses.

    Raises:
        SpecError: No such judge, or it has no threshold.

    Example:
        >>> find_judge("token_f1(0.8)").name, find_judge("token_f1(threshold=0.8)").name
        ('token_f1(0.8)', 'token_f1(0.8)')
    """
    short = re.fullmatch(r"(\w+)\(([^=]+)\)", name)
    named = read(f"{short[1]}(threshold={short[2]})" if short else name, JUDGES.kind)
    judge = JUDGES.get(named.name)
    if not named.options:
        return judge
    who = f'judge "{named.name}"'
    return replace(judge, **check(type(judge), named.options, who))  # type: ignore[type-var]


def judge_answer(question: Question, answer: str, open_judge: str = "normalised") -> Verdict:
    """The verdict on an answer: closed questions by "exact", open ones by the judge named.

    Args:
        question: With its accepted answers.
        answer: As it was read: "yes", "no", the text of an option, or free text.
        open_judge: Judge of open questions, as for :func:`find_judge`.

    Raises:
        SpecError: No such judge.

    Example:
        >>> question = Question(id="1", question="Organ?", gold=("the left lung",))
        >>> judge_answer(question, "Left lung.")
        Verdict(correct=True, judge='normalised', score=1.0)
    """
    judge = find_judge(open_judge)  # also for closed questions, so that a wrong name never passes
    if question.answer_type != "open":
        judge = JUDGES.get("exact")
    return judge.judge(question, answer)
