"""Expert: a second model sees the question and the first one's answer, and says how likely it is right."""

from typing import ClassVar, Literal

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.elicitors.verbalized import Style, read_stated
from vlmcal.elicit.probe import number_request, read_truth, truth_request
from vlmcal.elicit.tokens import CAPTURED
from vlmcal.types.chat import Speaker
from vlmcal.types.question import Question


@ELICITORS.register("expert")
class Expert(AfterAnswer):
    """A second model's confidence in the first one's plain answer; the expert sees the images, too.

    It is as good as the expert is independent of the first model: both may share an error.

    Attributes:
        mode: "verbal" for a stated number, "logprob" for the probability of "True" as in "p_true".
        style: How a stated number is given, as for "verbalized".

    Source: the auxiliary expert of Du et al., MICCAI 2025, arXiv 2606.19950, in spirit: its prompts are not
    published.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> texts = {"subject": "Yes", "expert": "Confidence: 20%"}
        >>> reading = play(Expert().plan(question), lambda r: Response(text=texts[r.speaker]))
        >>> reading.answer, reading.confidence
        ('yes', 0.2)
    """

    signals = CAPTURED
    speakers: ClassVar[tuple[Speaker, ...]] = ("subject", "expert")
    most_calls: ClassVar[int] = 2

    mode: Literal["verbal", "logprob"] = "verbal"
    style: Style = "percent"

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then the expert's word on it."""
        if self.mode == "logprob":
            (response,) = yield [truth_request(question, direct.answer, "expert")]
            stated, signals = read_truth(response)
            return conclude(direct.parsed, stated, signals=signals)
        (response,) = yield [number_request(question, direct.answer, self.style, "expert")]
        return conclude(direct.parsed, read_stated(response, self.style))
