"""Perturbation: whether the answer survives mild changes of the image."""

from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.conclude import AGREEMENT, HALLUCINATION, agreement_reading, at_least
from vlmcal.elicit.images import mild_edit
from vlmcal.types.chat import ImageRef
from vlmcal.types.question import Question


def edited_images(question: Question, number: int) -> tuple[ImageRef, ...]:
    """All images of a question under the same mild edit, drawn from its id and ``number``.

    Rotation, shift and zoom are left out where a word of the question speaks of a side or a place; there is
    never a flip.

    Example:
        >>> question = Question(id="1", question="Which side?", images=("a.png",))
        >>> "rotate" in edited_images(question, 0)[0].edit
        False
    """
    edit = mild_edit(question.id, number, geometry=not question.side_matters)
    return tuple(ImageRef(path, edit) for path in question.images)


@ELICITORS.register("perturbation")
class Perturbation(AfterAnswer):
    """Share of greedy answers to mildly edited images that equal the plain answer.

    Edits: rotation up to 10 degrees, shift up to 10 %, zoom 0.9 to 1.1 (none of these where side or place
    matters), brightness and contrast by up to 15 %, Gaussian noise. ``hallucination`` is 1 - agreement,
    higher is worse, as the calibrators "hac_platt" and "hac_gate" take it.

    Attributes:
        samples: Number of edited images.

    Source: Zhang et al., "VL-Uncertainty", 2024, arXiv 2411.11919, and the distortions of HEDGE, in spirit:
    agreement of answers in the place of an entropy.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no", images=("a.png",))
        >>> replies = iter(["no", "no", "yes", "no", "no"])
        >>> plan = Perturbation(samples=4).plan(question)
        >>> reading = play(plan, lambda request: Response(text=next(replies)))
        >>> reading.confidence, reading.signals["hallucination"]
        (0.75, 0.25)
    """

    needs_image: ClassVar[bool] = True
    signals = AGREEMENT | HALLUCINATION

    samples: int = 5

    def __post_init__(self) -> None:
        at_least(1, self.samples, self.name)

    def calls(self, question: Question) -> int:
        """The plain answer and one for each edit."""
        return 1 + self.samples

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then all edits at once."""
        responses = yield [
            direct_request(question, images=edited_images(question, number))
            for number in range(self.samples)
        ]
        return agreement_reading(direct.parsed, responses, question, hallucination=True)
