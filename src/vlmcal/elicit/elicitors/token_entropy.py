"""Token entropy: how many ways to go on the model saw at each token of its own answer."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.base import ELICITORS
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.tokens import answer_tokens
from vlmcal.types.chat import Token
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading, Signal


def entropy(token: Token) -> float | None:
    """Entropy in nats of a token's alternatives and the rest of the vocabulary, taken as one further word.

    That is the least that the whole distribution can have; None where the server gave no alternatives.

    Example:
        >>> from vlmcal.types.chat import Alternative
        >>> top = (Alternative("left", math.log(0.5)), Alternative("right", math.log(0.25)))
        >>> round(entropy(Token("left", math.log(0.5), top)), 4)      # of (1/2, 1/4, 1/4): 1.5 ln 2
        1.0397
    """
    if not token.top:
        return None
    chances = {each.text: math.exp(each.logprob) for each in token.top}
    chances.setdefault(token.text, math.exp(token.logprob))
    rest = 1.0 - math.fsum(chances.values())
    return math.fsum(-p * math.log(p) for p in (*chances.values(), rest) if p > 1e-12)


@ELICITORS.register("token_entropy")
class TokenEntropy(AfterAnswer):
    """Ask for the answer alone; the confidence is ``exp(-H)``, H the entropy of the answer's tokens.

    exp(H) is the number of equally likely words that would leave as much open, so 1 is a model that saw one
    way only. Only the tokens of the answer count, as for "sequence_likelihood", whose stored answers are
    used: both ask the same.

    Attributes:
        reduce: "mean" over the tokens, or "max", the token that leaves most open.

    Source: Fomicheva et al., "Unsupervised quality estimation for neural machine translation", TACL 2020,
    arXiv 2005.10608. Oracle: lm-polygraph's ``MeanTokenEntropy``, which sees the whole vocabulary.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Alternative, Response
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no")
        >>> top = (Alternative("No", math.log(0.5)), Alternative("Yes", math.log(0.5)))
        >>> said = Response(text="No", tokens=(Token("No", math.log(0.5), top),))
        >>> round(play(TokenEntropy().plan(question), lambda request: said).confidence, 4)
        0.5
    """

    needs_logprobs: ClassVar[bool] = True
    spelt: ClassVar[bool] = True
    signals: ClassVar[Mapping[str, Signal]] = {
        "token_entropy": Signal(
            "Entropy of the answer's tokens, in nats, from the alternatives that were given.",
            high=None,
            higher_is_better=False,
        )
    }

    reduce: Literal["mean", "max"] = "mean"

    def after(self, direct: Answered, question: Question) -> Reading:
        """The plain answer with log-probabilities."""
        said = answer_tokens(direct.response, question, direct.answer)
        if not said:
            return conclude(direct.parsed, (None, "unparsed"), note="no tokens of the answer found")
        each = [value for token in said if (value := entropy(token)) is not None]
        if len(each) < len(said):
            return conclude(direct.parsed, (None, "unsupported"))
        open_ = max(each) if self.reduce == "max" else math.fsum(each) / len(each)
        signals = {"token_entropy": max(0.0, open_)}
        return conclude(direct.parsed, (math.exp(-open_), "given"), signals=signals)
