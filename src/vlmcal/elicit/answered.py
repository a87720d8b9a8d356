"""Ways of asking that begin with the plain answer, and end there where none could be read."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from vlmcal.elicit.ask import direct_request, read_answer
from vlmcal.elicit.base import Elicitor, Plan
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.parse.answers import ParsedAnswer
from vlmcal.elicit.tokens import TOP
from vlmcal.types.chat import Response
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading


class Answered(NamedTuple):
    """A plain answer that was read, and the response that it was read from."""

    parsed: ParsedAnswer
    response: Response
    answer: str


@dataclass(frozen=True)
class AfterAnswer(Elicitor):
    """Asks for the answer alone, greedily: the answer that most confidences are about.

    Attributes:
        spelt: Whether with log-probabilities of its tokens, without which it has no confidence.
    """

    spelt: ClassVar[bool] = False

    def plan(self, question: Question) -> Plan:
        """The plain answer, then what :meth:`after` asks."""
        (response,) = yield [direct_request(question, logprobs=TOP if self.spelt else None)]
        parsed = read_answer(response, question)
        if parsed.answer is None:
            return conclude(parsed)
        if self.spelt and not response.tokens:
            return conclude(parsed, (None, "unsupported"))
        made = self.after(Answered(parsed, response, parsed.answer), question)
        return made if isinstance(made, Reading) else (yield from made)

    @abstractmethod
    def after(self, direct: Answered, question: Question) -> Plan | Reading:
        """What else is asked, or the reading at once."""
