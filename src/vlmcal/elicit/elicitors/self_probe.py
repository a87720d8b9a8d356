"""Self-probing: the model's own plain answer is shown to it, and it says how likely it is to be right."""

from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.elicitors.verbalized import Style, read_stated
from vlmcal.elicit.probe import number_request
from vlmcal.types.question import Question


@ELICITORS.register("self_probe")
class SelfProbe(AfterAnswer):
    """Ask for the answer, then, in another conversation, for the probability that this answer is right.

    Attributes:
        style: How the confidence is stated, as for "verbalized".

    Source: Xiong et al., ICLR 2024, arXiv 2306.13063 (self-probing); Tian et al., EMNLP 2023, arXiv
    2305.14975 (two stages).

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> replies = iter([Response(text="Yes"), Response(text="Confidence: 65%")])
        >>> reading = play(SelfProbe().plan(question), lambda request: next(replies))
        >>> reading.answer, reading.confidence
        ('yes', 0.65)
    """

    most_calls: ClassVar[int] = 2

    style: Style = "percent"

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then a number about it."""
        (response,) = yield [number_request(question, direct.answer, self.style)]
        return conclude(direct.parsed, read_stated(response, self.style))
