"""Pointwise mutual information: how much likelier the image makes the answer than the words alone."""

import math
from collections.abc import Mapping
from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request, read_answer
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import conclude
from vlmcal.elicit.tokens import TOP, Mass, answer_tokens, word_mass
from vlmcal.types.chat import ImageRef, Response
from vlmcal.types.question import LETTERS, Question
from vlmcal.types.reading import Signal


def corrected(
    seen: Mapping[str, float], unseen: Mapping[str, float], least: float
) -> dict[str, float]:
    """Shares ``p(w) / q(w)``, normalised to sum to 1; a word that q does not list counts as ``least``.

    Example:
        >>> corrected({"yes": 0.6, "no": 0.4}, {"yes": 0.9, "no": 0.1}, least=0.01)
        {'yes': 0.14285714285714285, 'no': 0.8571428571428571}
    """
    lift = {word: chance / max(unseen[word], least) for word, chance in seen.items()}
    total = math.fsum(lift.values())
    return {word: value / total for word, value in lift.items()}


@ELICITORS.register("pmi")
class PMI(AfterAnswer):
    r"""Ask with the image and with a blank one, and divide the option probabilities of both.

    .. math:: c = \frac{m(a \mid x) / m(a)}{\sum_o m(o \mid x) / m(o)}, \qquad
              pmi = \log \frac{m(a \mid x)}{m(a)}

    with m the mass of an option's letter (or of yes and no) at the token that answers, x the image. What a
    model says anyway, whatever is shown, is divided out; the answer stays the plain one. An option that is
    not listed with the blank image counts as its least likely alternative, so ``pmi`` is then a lower bound.

    Source: Holtzman et al., "Surface form competition", EMNLP 2021, arXiv 2104.08315 (PMI_DC), with the
    image as what is left out. Oracle: lm-polygraph's ``PointwiseMutualInformation``, for whole texts.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Alternative, Token
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no", images=("a.png",))
        >>> def said(yes, no):
        ...     top = (Alternative("Yes", math.log(yes)), Alternative("No", math.log(no)))
        ...     return Response(text="Yes", tokens=(Token("Yes", math.log(yes), top),))
        >>> replies = iter([said(0.6, 0.4), said(0.9, 0.1)])
        >>> reading = play(PMI().plan(question), lambda request: next(replies))
        >>> round(reading.confidence, 4), round(reading.signals["pmi"], 4)
        (0.1429, -0.4055)
    """

    needs_image: ClassVar[bool] = True
    needs_logprobs: ClassVar[bool] = True
    spelt: ClassVar[bool] = True
    needs_options: ClassVar[bool] = True
    most_calls: ClassVar[int] = 2
    signals: ClassVar[Mapping[str, Signal]] = {
        "pmi": Signal(
            "Log of how much likelier the image makes the answer, in nats.", low=None, high=None
        )
    }

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer with log-probabilities, then the same about a blank image."""
        blank = tuple(ImageRef(path, "blank") for path in question.images)
        (other,) = yield [direct_request(question, logprobs=TOP, images=blank)]
        seen, unseen = _masses(direct.response, question), _masses(other, question)
        if seen is None or unseen is None:
            missing = "with the image" if seen is None else "with a blank image"
            note = f"no probabilities of the options {missing}"
            return conclude(direct.parsed, (None, "unparsed"), note=note)
        word = LETTERS[question.options.index(direct.answer)] if question.options else direct.answer
        if seen[0].words[word] == 0:
            return conclude(direct.parsed, (None, "unparsed"))
        least = unseen[1]
        pmi = math.log(seen[0].words[word] / max(unseen[0].words[word], least))
        share = corrected(seen[0].words, unseen[0].words, least)[word]
        return conclude(direct.parsed, (share, "given"), signals={"pmi": pmi})


def _masses(response: Response, question: Question) -> tuple[Mass, float] | None:
    """Masses of the options at the token of the answer, and the least likely alternative there."""
    answer = read_answer(response, question).answer
    said = answer_tokens(response, question, answer) if answer is not None else ()
    mass = word_mass(said[0], question.letters or ("yes", "no")) if said else None
    if mass is None or mass.captured == 0:
        return None
    positive = [math.exp(a.logprob) for a in said[0].top if a.logprob > -math.inf]
    return mass, min(positive, default=1e-12)
