"""Answers that are made again from the log of responses, where their file is damaged."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

from vlmcal.elicit.answers import Answer
from vlmcal.elicit.asking import finished, ways_of
from vlmcal.elicit.base import Elicitor
from vlmcal.elicit.desk import Desk, Stopped
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.elicit.run import answer_one
from vlmcal.errors import DataError, VlmcalError
from vlmcal.io.json_text import parse_json
from vlmcal.types.chat import Request, Response
from vlmcal.types.question import QuestionSet


@dataclass
class _LogOnly(Desk):
    """Answers from the log, and asks nobody."""

    paces: Any = field(default_factory=dict)

    async def ask(self, request: Request, room: int = 1) -> Response:
        known = self.log.get(self.key(request))
        if known is None:
            raise Stopped
        return known


def restored(
    folder: AnswerFolder, questions: QuestionSet, *, whole_lines: bool = True
) -> list[Answer]:
    """The answers of a folder whose ``answers.jsonl`` is damaged: its whole lines, the others from the log.

    The file stays as it is. What the log does not hold is left out, as if it had not been asked.

    Args:
        folder: Written by ``vlmcal vqa elicit``.
        questions: Its questions.
        whole_lines: Believe the lines that can be read; else all are made again.

    Raises:
        DataError: It has no log, its ``run.json`` does not say how it was asked, or lines that are not
            believed are not in the log.
    """
    path = folder.root / "answers.jsonl"
    about = folder.about()
    if not folder.responses.is_file() or not isinstance(about.get("elicitors"), list):
        raise DataError(f"{path} is damaged, and no log of responses is beside it")
    readable = {(a.question, a.elicitor): a for a in readable_answers(path.read_bytes())}
    kept = dict(readable) if whole_lines else {}
    names = about.get("models") or {"subject": about.get("model")}
    models: Any = {who: SimpleNamespace(identity=str(name)) for who, name in names.items()}
    judge = str(about.get("judge") or "normalised").partition("+")[0]
    pairs = [
        (q, e)
        for q in questions
        for e in ways_of(cast("list[str | Elicitor]", about["elicitors"]), None)
    ]
    found: list[Answer] = []
    again = 0

    async def replay(desk: Desk) -> None:
        nonlocal again
        for question, elicitor in pairs:
            known = kept.pop((question.id, elicitor.label), None)
            if known is None and not elicitor.skips(question):
                try:
                    known = await answer_one(question, elicitor, desk, judge)
                    again += 1
                except (Stopped, VlmcalError):
                    continue  # not in the log, or a judge that is no longer there
            if known is not None:
                found.append(known)

    with ResponseLog(folder.responses) as log:
        finished(replay(_LogOnly(models=models, log=log)))
    if not whole_lines and len(found) < len(readable):
        raise DataError(f"{path} was changed, and the log of responses does not hold all of it")
    warnings.warn(
        f"{path} is damaged: {again:,} answers were read again from the log of responses. The command "
        "that made the folder writes the file anew and asks for nothing twice",
        stacklevel=2,
    )
    return [*found, *kept.values()]


def readable_answers(content: bytes) -> Iterator[Answer]:
    """The answers in those lines of ``answers.jsonl`` that can be read."""
    for line in content.splitlines():
        try:
            yield Answer.from_dict(parse_json(line))
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError):
            continue
