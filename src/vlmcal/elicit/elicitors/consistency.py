"""Self-consistency: how many answers drawn at a temperature equal the plain one."""

import math
from collections.abc import Sequence
from typing import Literal

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.clusters import same_answer
from vlmcal.elicit.conclude import AGREEMENT, agreement_reading, check_draws, conclude
from vlmcal.elicit.elicitors.verbalized import Verbalized
from vlmcal.types.chat import Response
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading


@ELICITORS.register("consistency")
class Consistency(AfterAnswer):
    """Ask for the answer, then draw ``samples`` further ones; only those that could be read count.

    "share": number of draws equal to the plain answer / number of readable draws. "avg_conf": every draw
    states a confidence c, and the confidence is the sum of c over equal draws / the sum of c over all.

    The agreement is what some tools report as the RadFlag score: higher is better, also where it is listed
    among the scores of hallucination.

    Attributes:
        samples: Number of draws.
        temperature: Of the draws.
        aggregate: "share" or "avg_conf".

    Source: Wang et al., "Self-Consistency", ICLR 2023, arXiv 2203.11171; Xiong et al., ICLR 2024, arXiv
    2306.13063 (Consistency and Avg-Conf); Zhang, Sambara et al., "RadFlag", ML4H 2024, arXiv 2411.00299.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> replies = iter(["yes", "yes", "no", "yes", "", "yes"])
        >>> plan = Consistency().plan(question)
        >>> reading = play(plan, lambda request: Response(text=next(replies)))
        >>> reading.confidence, reading.signals["n_parsed"]
        (0.75, 4.0)
    """

    signals = AGREEMENT

    samples: int = 5
    temperature: float = 0.7
    aggregate: Literal["share", "avg_conf"] = "share"

    def __post_init__(self) -> None:
        check_draws(1, self.samples, self.temperature, self.name)

    def calls(self, question: Question) -> int:
        """The plain answer and the draws."""
        return 1 + self.samples

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then all draws at once."""
        draws = range(1, self.samples + 1)
        if self.aggregate == "share":
            responses = yield [
                direct_request(question, temperature=self.temperature, sample=n) for n in draws
            ]
            return agreement_reading(direct.parsed, responses, question)
        responses = yield [
            Verbalized().request(question, temperature=self.temperature, sample=n) for n in draws
        ]
        return _avg_conf(direct, responses, question)


def _avg_conf(direct: Answered, responses: Sequence[Response], question: Question) -> Reading:
    counted = agreement_reading(direct.parsed, responses, question)
    equal, every = [], []
    for reading in (Verbalized().read(response, question) for response in responses):
        if reading.answer is not None and reading.confidence is not None:
            every.append(reading.confidence)
            if same_answer(direct.answer, reading.answer, question):
                equal.append(reading.confidence)
    if not every:
        return conclude(direct.parsed, (None, "missing"), signals=counted.signals)
    total = math.fsum(every)
    if total == 0:
        note = "every draw states a confidence of 0"
        return conclude(direct.parsed, (None, "missing"), signals=counted.signals, note=note)
    return conclude(direct.parsed, (math.fsum(equal) / total, "given"), signals=counted.signals)
