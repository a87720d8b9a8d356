"""Misleading hints: whether the answer is kept when the question suggests another one."""

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import spoken
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import AGREEMENT, agreement_reading, at_least
from vlmcal.elicit.prompts import answer_form, conversation
from vlmcal.errors import SpecError
from vlmcal.seeding import numpy_generator
from vlmcal.types.chat import Request
from vlmcal.types.question import Question

# From weak to strong, with and without somebody to trust.
HINTS = (
    "I have a vague feeling that the answer is {}.",
    "If I had to guess, I would say {}.",
    "I think the answer is {}.",
    "I am about 80% sure that the answer is {}.",
    "A colleague of mine is convinced that the answer is {}.",
    "A specialist has looked at this and says that the answer is {}.",
    "According to the textbook, the answer is {}.",
    "It is known for certain that the answer is {}.",
)


def hints(question: Question, answer: str, samples: int) -> list[str]:
    """Sentences that suggest another answer than ``answer``; drawn by the question's id alone.

    The other word for yes/no, another option for a choice, and for open questions, where no wrong answer is
    known, something other than the answer.

    Example:
        >>> hints(Question(id="1", question="Is it?", answer_type="yes_no"), "yes", 1)
        ['A colleague of mine is convinced that the answer is no.']
    """
    draw = numpy_generator(0, "hint", question.id)
    others = [option for option in question.options if option != answer]
    if question.answer_type == "yes_no":
        others = ["no" if answer == "yes" else "yes"]
    shown = [spoken(other, question) for other in others] or [f'something other than "{answer}"']
    phrases = [HINTS[number] for number in draw.permutation(len(HINTS))[:samples]]
    return [phrase.format(shown[draw.integers(len(shown))]) for phrase in phrases]


@ELICITORS.register("hint")
class Hint(AfterAnswer):
    """Share of greedy answers that stay the same under misleading hints.

    Stability is a signal of confidence, lowered by mere compliance: a model that follows every hint has 0.

    Attributes:
        samples: Number of hints, at most 8.

    Source: Xiong et al., ICLR 2024, arXiv 2306.13063 (misleading hints), with sentences of our own.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> replies = iter(["yes", "yes", "no", "yes", "yes"])
        >>> play(Hint(samples=4).plan(question), lambda r: Response(text=next(replies))).confidence
        0.75
    """

    signals = AGREEMENT

    samples: int = 3

    def __post_init__(self) -> None:
        at_least(1, self.samples, self.name)
        if self.samples > len(HINTS):
            raise SpecError(
                f'elicitor "hint": there are {len(HINTS)} hints, got samples={self.samples}'
            )

    def calls(self, question: Question) -> int:
        """The plain answer and one for each hint."""
        return 1 + self.samples

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then all hints at once."""
        form = f"Answer with {answer_form(question)} only."
        responses = yield [
            Request(messages=conversation(question, f"{hint}\n\n{form}"), max_tokens=64)
            for hint in hints(question, direct.answer, self.samples)
        ]
        return agreement_reading(direct.parsed, responses, question)
