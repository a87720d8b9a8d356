"""VASE: entropy of the meanings of draws, with what the image contributes made larger."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request, read_answer
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.clusters import entropy, match_clusters
from vlmcal.elicit.conclude import check_draws, conclude, unread
from vlmcal.elicit.elicitors.perturbation import edited_images
from vlmcal.types.question import Question
from vlmcal.types.reading import Signal


def amplified_entropy(clean: Sequence[float], noisy: Sequence[float], alpha: float) -> float:
    """``H(softmax(p + alpha (p - q)))`` in nats, p and q the masses of the same K clusters.

    The softmax is taken of probabilities, so H is 0 for one cluster only and never near it for more: with
    two clusters, alpha = 1, p = (1, 0) and q = (0, 1) it is 0.19, with p = q = (1, 0) it is 0.58.

    Args:
        clean: Masses of the draws about the image.
        noisy: Masses of the draws about the edited image.
        alpha: How much the difference counts.

    Source: Liao et al., "Vision-Amplified Semantic Entropy", MICCAI 2025, arXiv 2503.20504.

    Example:
        >>> round(amplified_entropy([1.0, 0.0], [0.0, 1.0], 1.0), 4)
        0.1909
    """
    scores = [p + alpha * (p - q) for p, q in zip(clean, noisy, strict=True)]
    powers = [math.exp(score - max(scores)) for score in scores]
    return entropy([power / math.fsum(powers) for power in powers])


@ELICITORS.register("vase")
class Vase(AfterAnswer):
    """Draw answers about the image and about mildly edited ones, and compare their clusters.

    ``vase`` = :func:`amplified_entropy`: higher is worse, from 0 (one cluster) to log K for K clusters;
    values with different K do not compare well, as that function says. ``hallucination`` is vase / log(n), n
    the number of readable draws of both kinds, and the confidence is 1 - hallucination; it rates the question
    rather than the plain answer that it is reported with.

    Attributes:
        samples: Draws about the image (the requests of "consistency"), and as many about edited ones (each
            with an edit of its own, as for "perturbation").
        temperature: Of the draws.
        alpha: How much the difference counts.

    Source: Liao et al., "Vision-Amplified Semantic Entropy for Hallucination Detection in Medical Visual
    Question Answering", MICCAI 2025, arXiv 2503.20504; clusters are answers that match.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is it?", answer_type="yes_no", images=("a.png",))
        >>> replies = iter(["yes", "yes", "yes", "no", "no"])
        >>> reading = play(Vase(samples=2).plan(question), lambda r: Response(text=next(replies)))
        >>> round(reading.signals["vase"], 4), round(reading.confidence, 4)
        (0.1909, 0.8623)
    """

    needs_image: ClassVar[bool] = True
    signals: ClassVar[Mapping[str, Signal]] = {
        "vase": Signal("Amplified entropy in nats.", high=None, higher_is_better=False),
        "n_clusters": Signal("Number of clusters.", low=1.0, high=None, higher_is_better=False),
        "n_parsed": Signal("Number of draws that could be read.", high=None, higher_is_better=None),
        "hallucination": Signal("vase / log of the number of draws.", higher_is_better=False),
    }

    samples: int = 5
    temperature: float = 0.7
    alpha: float = 1.0

    def __post_init__(self) -> None:
        check_draws(1, self.samples, self.temperature, self.name)

    def calls(self, question: Question) -> int:
        """The plain answer and both kinds of draws."""
        return 1 + 2 * self.samples

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, then all draws at once."""
        draws = range(1, self.samples + 1)
        shown = [None] * self.samples + [edited_images(question, n - 1) for n in draws]
        responses = yield [
            direct_request(question, temperature=self.temperature, sample=n, images=images)
            for n, images in zip([*draws, *draws], shown, strict=True)
        ]
        parsed = [read_answer(response, question) for response in responses]
        clean = [each.answer for each in parsed[: self.samples] if each.answer is not None]
        noisy = [each.answer for each in parsed[self.samples :] if each.answer is not None]
        signals = {"n_parsed": float(len(clean) + len(noisy))}
        if not clean or not noisy:
            note = "no draw about the image, or none about the edited one, could be read"
            return conclude(direct.parsed, (None, unread(parsed)), signals=signals, note=note)
        clusters = match_clusters([*clean, *noisy], question)
        count = 1 + max(clusters)
        spread = amplified_entropy(
            _shares(clusters[: len(clean)], count),
            _shares(clusters[len(clean) :], count),
            self.alpha,
        )
        share = min(1.0, spread / math.log(len(clusters)))
        signals |= {"vase": spread, "n_clusters": float(count), "hallucination": share}
        return conclude(direct.parsed, (1.0 - share, "given"), signals=signals)


def _shares(clusters: list[int], count: int) -> list[float]:
    return [clusters.count(number) / len(clusters) for number in range(count)]
