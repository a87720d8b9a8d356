"""One row per question and elicitor: what was read, and the verdict on it."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmcal.errors import DataError
from vlmcal.io.json_text import parse_json
from vlmcal.types.reading import Reading


@dataclass(frozen=True)
class Answer:
    """What one elicitor got out of one question.

    Attributes:
        question: Id of the question.
        elicitor: Label of the elicitor.
        reading: Answer, confidence, or why not.
        correct: Verdict on the answer; None without an answer or without a gold answer.
        judge: Who said so ("exact", "token_f1(0.5)", "model:..."), or "".
        requests: Keys of the requests it was read from.
    """

    question: str
    elicitor: str
    reading: Reading
    correct: bool | None = None
    judge: str = ""
    requests: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data."""
        plain: dict[str, Any] = {"question": self.question, "elicitor": self.elicitor}
        plain |= self.reading.to_dict()
        if self.correct is not None:
            plain |= {"correct": self.correct, "judge": self.judge}
        return plain | ({"requests": list(self.requests)} if self.requests else {})

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "Answer":
        """Back from :meth:`to_dict`."""
        return cls(
            question=plain["question"],
            elicitor=plain["elicitor"],
            reading=Reading.from_dict(plain),
            correct=plain.get("correct"),
            judge=plain.get("judge", ""),
            requests=tuple(plain.get("requests", ())),
        )


def as_lines(answers: Iterable[Answer]) -> str:
    """Answers as :func:`save_answers` writes them."""
    lines = (json.dumps(answer.to_dict(), ensure_ascii=False) for answer in answers)
    return "".join(f"{line}\n" for line in lines)


def load_answers(path: Path) -> list[Answer]:
    """Read what :func:`save_answers` wrote.

    Raises:
        DataError: No such file, or a line that is no answer.
    """
    return list(_lines(path))


def _lines(path: Path) -> Iterator[Answer]:
    if not path.is_file():
        raise DataError(
            f"{path}: no answers here; expected a folder written by `vlmcal vqa elicit` or "
            "`vlmcal vqa import`; after an interruption repeat the elicit command, nothing is asked twice"
        )
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                yield Answer.from_dict(parse_json(line.decode()))
            except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
                raise DataError(f"{path}, line {number}: not an answer ({error})") from error
