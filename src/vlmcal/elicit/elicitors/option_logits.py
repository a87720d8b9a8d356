"""Option logits: the probability of the answer's word or letter among those of all options."""

from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.base import ELICITORS
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.tokens import CAPTURED, answer_tokens, word_confidence
from vlmcal.types.question import LETTERS, Question
from vlmcal.types.reading import Reading


@ELICITORS.register("option_logits")
class OptionLogits(AfterAnswer):
    """Ask for the answer alone and read the alternatives of the token that gives it.

    ``p = m(answer) / sum over options of m(option)``, m the probability of yes, no or a letter at that
    token, summed over case, leading blanks and brackets. An option that is not among the alternatives
    counts as 0, so p is an upper bound; ``captured_mass``, the denominator, says how much was seen.

    Not after a chain of thought, where the answer is settled before its token (the share of values above
    0.999 nears one), and not for open questions.

    Attributes:
        normalise: Divide by the mass of all options; False gives m(answer) alone.

    Source: Hendrycks et al., "Measuring Massive Multitask Language Understanding", ICLR 2021, arXiv
    2009.03300 (letters); Kadavath et al. 2022, arXiv 2207.05221 (their calibration).

    Example:
        >>> import math
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Alternative, Response, Token
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> top = [Alternative(text, math.log(p)) for text, p in [("No", 0.5), (" no", 0.1), ("Yes", 0.2)]]
        >>> said = Response(text="No", tokens=(Token("No", math.log(0.5), tuple(top)),))
        >>> reading = play(OptionLogits().plan(question), lambda request: said)
        >>> reading.answer, round(reading.confidence, 4), round(reading.signals["captured_mass"], 4)
        ('no', 0.75, 0.8)
    """

    signals = CAPTURED
    needs_logprobs: ClassVar[bool] = True
    spelt: ClassVar[bool] = True
    needs_options: ClassVar[bool] = True

    normalise: bool = True

    def after(self, direct: Answered, question: Question) -> Reading:
        """The plain answer with log-probabilities."""
        answer, words = direct.answer, question.letters or ("yes", "no")
        word = LETTERS[question.options.index(answer)] if question.options else answer
        said = answer_tokens(direct.response, question, answer)
        stated, signals = word_confidence(
            said[0] if said else None, words, word, normalise=self.normalise
        )
        return conclude(direct.parsed, stated, signals=signals)
