"""What is left to do with a folder of answers, and the command that does it."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from vlmcal.elicit.answers import Answer
from vlmcal.types.question import QuestionSet

_AGAIN = ("failed", "empty", "cut")


@dataclass(frozen=True)
class Remaining:
    """Questions of one elicitor that nobody can use yet.

    Attributes:
        what: Why.
        count: How many.
        command: What to run, or "" where no command helps.
        hint: What to do instead.
    """

    what: str
    count: int
    command: str = ""
    hint: str = ""

    def sentence(self) -> str:
        """In words, with the command."""
        told = f"{self.count:,} {self.what}"
        return f"{told}: {self.command or self.hint}"


def remaining(
    folder: str | Path, questions: QuestionSet, answers: Sequence[Answer], about: Mapping[str, Any]
) -> list[Remaining]:
    """Failed, empty, cut, unread, refused and unjudged answers, each with what to run.

    Args:
        folder: Where the answers are.
        questions: What was asked.
        answers: Of all elicitors.
        about: Of the folder; its ``command`` asked the questions, if any did.

    Example:
        >>> from vlmcal.types.reading import Reading
        >>> from vlmcal.types.question import Question
        >>> asked = QuestionSet(name="q", questions=(Question(id="1", question="Is it?"),))
        >>> failed = Answer("1", "verbalized", Reading(status="failed"))
        >>> left = remaining("answers", asked, [failed], {"command": "vlmcal vqa elicit q.csv -o answers"})
        >>> left[0].sentence()
        '1 answers failed: vlmcal vqa elicit q.csv -o answers --again failed'
    """
    command = _asking(str(about.get("command") or ""))
    found = []
    for status in _AGAIN:
        count = sum(a.reading.status == status for a in answers)
        words = "answers failed" if status == "failed" else f"replies are {status}"
        if count:
            again = f"{command} --again {status}" if command else ""
            found.append(Remaining(words, count, again, "bring them again in another table"))
    unread = sum(a.reading.status == "unparsed" for a in answers)
    if unread:
        hint = "read them by hand, or ask so that the answer is a word or an option"
        found.append(Remaining("answers cannot be read", unread, hint=hint))
    gold = {question.id for question in questions if question.gold}
    answered = [a for a in answers if a.reading.status == "answered" and a.correct is None]
    unjudged = sum(a.question in gold for a in answered)
    if unjudged:
        judge = shlex.join(["vlmcal", "vqa", "judge", str(folder), "--judge", "contained"])
        found.append(Remaining("answers are not judged", unjudged, judge))
    if len(answered) > unjudged:
        hint = "give gold answers for some of them, without which nothing can be measured"
        found.append(Remaining("answers have no gold answer", len(answered) - unjudged, hint=hint))
    silent = sum(a.reading.status == "answered" and a.reading.confidence is None for a in answers)
    if silent:
        hint = "ask in another way (vlmcal vqa elicit --ways), such as p_true or self_consistency"
        found.append(Remaining("answers have no confidence", silent, hint=hint))
    return found


def _asking(command: str) -> str:
    """The command that asked the questions, without what it asked again for; "" if none did."""
    words = shlex.split(command)
    if words[1:3] != ["vqa", "elicit"]:
        return ""
    kept = ["vlmcal"]
    for before, word in pairwise(words):
        if "--again" not in (before, word) and not word.startswith("--again="):
            kept.append(word)
    return shlex.join(kept)
