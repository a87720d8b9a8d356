"""Sequence likelihood: how probable the model found the words of its own answer."""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.base import ELICITORS
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.tokens import answer_tokens
from vlmcal.types.chat import Token
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading

Reduce = Literal["mean", "sum", "min"]


def likelihood(tokens: Sequence[Token], reduce: Reduce) -> float:
    """``exp`` of the sum, the mean (length-normalised) or the least of the tokens' log-probabilities.

    Example:
        >>> tokens = [Token("left", math.log(0.8)), Token(" lung", math.log(0.2))]
        >>> [round(likelihood(tokens, reduce), 4) for reduce in ("sum", "mean", "min")]
        [0.16, 0.4, 0.2]
    """
    logprobs = [token.logprob for token in tokens]
    if reduce == "min":
        return math.exp(min(logprobs))
    total = math.fsum(logprobs)
    return math.exp(total / len(logprobs) if reduce == "mean" else total)


@ELICITORS.register("sequence_likelihood")
class SequenceLikelihood(AfterAnswer):
    """Ask for the answer alone and take the likelihood of its tokens as the confidence.

    Only the tokens of the answer count: no label, no special or closing token, nothing said after it; for a
    choice the letter where one was given.

    Attributes:
        reduce: "mean" (geometric mean of the probabilities), "sum" (their product, which falls with the
            answer's length) or "min" (the least sure token).

    Source: Malinin and Gales, "Uncertainty Estimation in Autoregressive Structured Prediction", ICLR 2021,
    arXiv 2002.07650 (length normalisation).

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="What is shown?")
        >>> tokens = (Token("Left", math.log(0.8)), Token(" lung", math.log(0.2)), Token("</s>", -3.0))
        >>> said = Response(text="Left lung", tokens=tokens)
        >>> round(play(SequenceLikelihood().plan(question), lambda request: said).confidence, 4)
        0.4
    """

    needs_logprobs: ClassVar[bool] = True
    spelt: ClassVar[bool] = True

    reduce: Reduce = "mean"

    def after(self, direct: Answered, question: Question) -> Reading:
        """The plain answer with log-probabilities: the same request as for "option_logits"."""
        said = answer_tokens(direct.response, question, direct.answer)
        if not said:
            return conclude(direct.parsed, (None, "unparsed"), note="no tokens of the answer found")
        return conclude(direct.parsed, (likelihood(said, self.reduce), "given"))
