"""Top-k: several guesses with a probability each, in one reply."""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from vlmcal.elicit.ask import read_answer
from vlmcal.elicit.base import ELICITORS, Elicitor, Plan
from vlmcal.elicit.conclude import at_least, conclude
from vlmcal.elicit.elicitors.verbalized import stated_form
from vlmcal.elicit.parse.answers import ParsedAnswer
from vlmcal.elicit.parse.guesses import parse_guesses
from vlmcal.elicit.parse.numbers import Scale
from vlmcal.elicit.prompts import answer_form, conversation
from vlmcal.types.chat import Request, Response
from vlmcal.types.question import Question
from vlmcal.types.reading import Signal


class Ranked(NamedTuple):
    """Guesses and their probabilities as stated, the most probable first; none unless answered."""

    parsed: ParsedAnswer
    guesses: list[tuple[str, float]]


@ELICITORS.register("top_k")
class TopK(Elicitor):
    r"""Ask for the k best guesses and the probability of each; the answer is the most probable guess.

    Of guesses with the same probability the first listed is the answer. The confidence is its probability as
    stated, or divided by the sum over the guesses with ``normalise``. That sum, ``raw_sum``, need not be 1.

    Attributes:
        k: Number of guesses; no more than there are possible answers.
        style: How a probability is stated: "percent" (0 to 100), "unit" (0 to 1) or "ten" (0 to 10).
        normalise: Whether the probabilities are made to sum to 1.

    Source: Tian et al., "Just Ask for Calibration", EMNLP 2023, arXiv 2305.14975 (verbalised top-k).

    Example:
        >>> from vlmcal.elicit.base import play
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> reply = Response(text="G1: no\nP1: 60%\nG2: yes\nP2: 20%")
        >>> for normalise in (False, True):
        ...     reading = play(TopK(normalise=normalise).plan(question), lambda request: reply)
        ...     reading.answer, round(reading.confidence, 4), round(reading.signals["raw_sum"], 4)
        ('no', 0.6, 0.8)
        ('no', 0.75, 0.8)
    """

    signals: ClassVar[Mapping[str, Signal]] = {
        "raw_sum": Signal(
            "Sum of the probabilities stated for all guesses.", high=None, higher_is_better=None
        )
    }

    k: int = 4
    style: Scale = "percent"
    normalise: bool = False

    def __post_init__(self) -> None:
        at_least(1, self.k, self.name, "k")

    def plan(self, question: Question) -> Plan:
        """One request for two lines per guess."""
        (response,) = yield [self.request(question)]
        parsed, guesses = self.ranked(response, question)
        if not guesses:
            return conclude(parsed)
        total = math.fsum(probability for _, probability in guesses)
        if self.normalise and total == 0:
            return conclude(parsed, signals={"raw_sum": total}, note="all probabilities are 0")
        share = guesses[0][1] / (total if self.normalise else 1.0)
        return conclude(parsed, (share, "given"), signals={"raw_sum": total})

    def request(self, question: Question, *, temperature: float = 0.0, sample: int = 0) -> Request:
        """The request; for draws at a temperature."""
        possible = {"yes_no": 2, "choice": len(question.options), "open": self.k}
        k = min(self.k, possible[question.answer_type])
        lines = [
            f"G{n}: {answer_form(question)}\nP{n}: {stated_form(self.style, 'this guess')}"
            for n in range(1, k + 1)
        ]
        instruction = (
            f"Give your {k} best guesses, all different, the best first, and how sure you are of each. Reply "
            f"with exactly these {2 * k} lines:\n" + "\n".join(lines)
        )
        return Request(
            messages=conversation(question, instruction),
            temperature=temperature,
            max_tokens=48 * k + 32,
            sample=sample,
        )

    def ranked(self, response: Response, question: Question) -> Ranked:
        """The best guess in a response to :meth:`request`, and all of them, the most probable first."""
        guesses = parse_guesses(response.text, question, self.style, cut=response.cut)
        if response.status == "ok" and guesses:
            guesses.sort(key=lambda guess: -guess[1])
            return Ranked(ParsedAnswer("answered", guesses[0][0], ""), guesses)
        parsed = read_answer(response, question)
        if parsed.status == "answered":
            parsed = ParsedAnswer("unparsed", None, "no guesses with probabilities were found")
        return Ranked(parsed, [])
