"""Paraphrase: whether the answer survives other wordings of the question."""

import re
from collections.abc import Generator, Sequence
from typing import Literal

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import AGREEMENT, agreement_reading, at_least, conclude
from vlmcal.elicit.parse.thoughts import said
from vlmcal.errors import SpecError
from vlmcal.types.chat import Message, Request, Response
from vlmcal.types.question import Question

# Frames that leave the question's own words alone, so that they cannot change its meaning.
TEMPLATES = {
    "yes_no": ("Is the answer to this yes or no? {}", "Decide whether yes or no is right: {}"),
    "choice": ("Which of the options below fits best? {}", "Choose the right option. {}"),
    "open": ("Answer this in a few words. {}", "What would you reply to this? {}"),
}
COMMON = (
    "Look closely at what is shown. {}",
    "Someone who sees the same asks you: {}",
    "Going only by what can be seen: {}",
)
MOST = len(COMMON) + 2
_NUMBERED = re.compile(r"^\s*\d+\s*[.):]\s*(\S.*?)\s*$", re.MULTILINE)

Wordings = Generator[Sequence[Request], Sequence[Response], list[str]]


def rewrite_request(question: Question, samples: int) -> Request:
    """Asks for other wordings of a question, as a numbered list; no image is shown."""
    text = (
        f"Reword the question below in {samples} different ways. Keep its meaning exactly: the same answer "
        "must be right, and nothing may be added, left out or answered. Reply with a numbered list only.\n\n"
        f"Question: {question.question}"
    )
    return Request(messages=(Message("user", text),), max_tokens=80 * samples)


@ELICITORS.register("paraphrase")
class Paraphrase(AfterAnswer):
    """Share of greedy answers to other wordings that equal the plain answer.

    The data set's own paraphrases come first; what is missing up to ``samples`` is made from frames around
    the question ("Look closely at what is shown. ...") or written by the model itself.

    Attributes:
        samples: Number of wordings, at most 5 with frames.
        source: What comes after the data set's paraphrases: "frames" or "model". With "model" there may be
            fewer wordings than asked for, as ``n_parsed`` says.

    Source: Zhang et al., "VL-Uncertainty", 2024, arXiv 2411.11919 (reworded questions), in spirit: agreement
    of answers in the place of an entropy.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no", paraphrases=("Was it?",))
        >>> replies = iter(["no", "no", "yes", "no", "no"])
        >>> plan = Paraphrase(samples=4).plan(question)
        >>> play(plan, lambda request: Response(text=next(replies))).confidence
        0.75
    """

    signals = AGREEMENT

    samples: int = 3
    source: Literal["frames", "model"] = "frames"

    def __post_init__(self) -> None:
        at_least(1, self.samples, self.name)
        if self.source == "frames" and self.samples > MOST:
            raise SpecError(
                f'elicitor "paraphrase": there are {MOST} frames, got samples={self.samples}; '
                "use source=model for more"
            )

    def calls(self, question: Question) -> int:
        """The plain answer, one for each wording, and one to have them written by the model."""
        return 1 + self.samples + (self.source == "model")

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, the model's wordings where they are needed, then all wordings at once."""
        wordings = yield from self._wordings(question)
        if not wordings:
            note = "the model wrote no other wording"
            return conclude(direct.parsed, signals={"n_parsed": 0.0}, note=note)
        responses = yield [direct_request(question, wording=each) for each in wordings]
        return agreement_reading(direct.parsed, responses, question)

    def _wordings(self, question: Question) -> Wordings:
        own = [text for text in question.paraphrases if text.strip()]
        missing = self.samples - len(_others(own, question))
        if missing > 0 and self.source == "model":
            (response,) = yield [rewrite_request(question, missing)]
            if response.status == "ok":
                own += _NUMBERED.findall(said(response.text).text)
        elif missing > 0:
            frames = (*TEMPLATES[question.answer_type], *COMMON)
            own += [frame.format(question.question) for frame in frames]
        return _others(own, question)[: self.samples]


def _others(wordings: Sequence[str], question: Question) -> list[str]:
    """Each wording once, without the question's own."""
    return [text for text in dict.fromkeys(wordings) if text != question.question]
