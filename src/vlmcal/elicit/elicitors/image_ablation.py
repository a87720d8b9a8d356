"""Image ablation: how much of a stated confidence is left when the image is taken away."""

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Literal

from vlmcal.elicit.base import ELICITORS, Elicitor, Plan
from vlmcal.elicit.clusters import same_answer
from vlmcal.elicit.elicitors.verbalized import Style, Verbalized
from vlmcal.types.chat import ImageRef
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading, Signal


@ELICITORS.register("image_ablation")
class ImageAblation(Elicitor):
    r"""Ask for answer and confidence with the image, and again with a blank or a wrong one.

    That an answer depends on the image does not make it right, so no confidence is made of it: the
    confidence is the one stated with the image, by the same request as "verbalized". The signals say how much
    of it is visual: ``visual_gain`` = c - c', where c' is the confidence stated without the image for
    the same answer, and 0 where another answer was given; ``answer_changed`` is 1 for another answer.
    Where either side has no answer or no confidence, the signals that need it are left out.

    Attributes:
        image: "blank": the mean colour of the image, in its size. "foil": the image of another patient or
            scene, from the question's ``foil``.
        style: How the confidence is stated, as for "verbalized".

    Source: the counterfactual images of "Beyond Accuracy: Evaluating Visual Grounding in Multimodal Medical
    Reasoning", 2026, arXiv 2603.03437, for single answers.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no", images=("a.png",))
        >>> replies = iter(["Answer: yes\nConfidence: 90%", "Answer: yes\nConfidence: 65%"])
        >>> reading = play(ImageAblation().plan(question), lambda r: Response(text=next(replies)))
        >>> reading.confidence, round(reading.signals["visual_gain"], 4)
        (0.9, 0.25)
    """

    needs_image: ClassVar[bool] = True
    most_calls: ClassVar[int] = 2
    signals: ClassVar[Mapping[str, Signal]] = {
        "visual_gain": Signal("Confidence in the answer that is lost without the image.", low=-1.0),
        "answer_changed": Signal("1 when the answer without the image is another one, else 0."),
    }

    image: Literal["blank", "foil"] = "blank"
    style: Style = "percent"

    def skips(self, question: Question) -> str:
        """Questions without an image to take away, or without another one to show."""
        if question.images and self.image == "foil" and not question.foil:
            return "the question has no foil image"
        return super().skips(question)

    def plan(self, question: Question) -> Plan:
        """Both requests at once."""
        stated = Verbalized(style=self.style)
        other = tuple(ImageRef(path) for path in question.foil)
        if self.image == "blank":
            other = tuple(ImageRef(path, "blank") for path in question.images)
        responses = yield [stated.request(question), stated.request(question, images=other)]
        seen, unseen = (stated.read(response, question) for response in responses)
        signals, note = _compare(seen, unseen, question)
        told = "; ".join(filter(None, (seen.note, note)))
        return replace(seen, signals=signals, note=told)


def _compare(seen: Reading, unseen: Reading, question: Question) -> tuple[dict[str, float], str]:
    if unseen.answer is None:
        return {}, f"no answer without the image ({unseen.status})"
    if seen.answer is None:
        return {}, ""
    same = same_answer(seen.answer, unseen.answer, question)
    signals = {"answer_changed": 0.0 if same else 1.0}
    left = unseen.confidence if same else 0.0
    if seen.confidence is not None and left is not None:
        signals["visual_gain"] = seen.confidence - left
    return signals, ""
