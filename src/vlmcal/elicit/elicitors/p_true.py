"""P(True): the probability of the token that calls the model's own answer true."""

from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.probe import read_truth, truth_request
from vlmcal.elicit.tokens import CAPTURED
from vlmcal.types.question import Question


@ELICITORS.register("p_true")
class PTrue(AfterAnswer):
    """Ask for the answer, then whether this answer is true or false.

    ``p = m(True) / (m(True) + m(False))``, m the probability at the first token that says either word, summed
    over case and leading blanks. Where the server lists only one of the words the other counts as 0, and the
    reading notes that p, then 0 or 1, is a bound. The number stated in words is another elicitor,
    "self_probe".

    Attributes:
        normalise: Divide by the mass of both words; False gives m(True) alone.

    Source: Kadavath et al., "Language Models (Mostly) Know What They Know", 2022, arXiv 2207.05221.

    Example:
        >>> import math
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Alternative, Response, Token
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> top = (Alternative("True", math.log(0.72)), Alternative("False", math.log(0.18)))
        >>> said = Response(text="True", tokens=(Token("True", math.log(0.72), top),))
        >>> replies = iter([Response(text="Yes"), said])
        >>> reading = play(PTrue().plan(question), lambda request: next(replies))
        >>> round(reading.confidence, 4), round(reading.signals["captured_mass"], 4)
        (0.8, 0.9)
    """

    signals = CAPTURED
    needs_logprobs: ClassVar[bool] = True
    most_calls: ClassVar[int] = 2

    normalise: bool = True

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then True or False."""
        (response,) = yield [truth_request(question, direct.answer)]
        stated, signals = read_truth(response, normalise=self.normalise)
        note = ""
        if self.normalise and stated.confidence in (0.0, 1.0):
            absent, bound = ("False", "at most") if stated.confidence else ("True", "at least")
            note = f'"{absent}" is not among the alternatives of the token: P(True) is {bound} this'
        return conclude(direct.parsed, stated, signals=signals, note=note)
