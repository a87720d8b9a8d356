"""AvUC: right predictions should be certain, wrong ones uncertain."""

from collections.abc import MutableMapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import HELD_OUT, confidence_and_correctness, logits_and_labels
from vlmcal.types.limits import NotNegative, Whole
from vlmcal.types.outputs import Outputs

THRESHOLD = "avuc.threshold"


class Counts(NamedTuple):
    """Soft numbers of right/wrong and certain/uncertain samples, each a scalar."""

    right_certain: Tensor
    right_uncertain: Tensor
    wrong_certain: Tensor
    wrong_uncertain: Tensor


@OBJECTIVES.register("avuc")
class AvUC(Objective):
    r"""Accuracy versus uncertainty calibration with a hard threshold on entropy.

    With confidence c, entropy e (nats) and threshold t, soft counts over the batch:

    .. math::
        n_{AC} = \sum_{right,\, certain} c (1 - \tanh e), \qquad
        n_{AU} = \sum_{right,\, uncertain} c \tanh e

    .. math::
        n_{IC} = \sum_{wrong,\, certain} (1 - c)(1 - \tanh e), \qquad
        n_{IU} = \sum_{wrong,\, uncertain} (1 - c) \tanh e

    .. math::
        \text{intel:}\; L = -\beta \log \frac{n_{AC} + n_{IU}}{n_{AC} + n_{AU} + n_{IC} + n_{IU}}, \qquad
        \text{google:}\; L = \log\Bigl(1 + \frac{n_{AU} + n_{IC}}{\max(n_{AC} + n_{IU}, 10^{-5})}\Bigr)

    ``intel`` counts e = t as certain, ``google`` as uncertain. The loss jumps where a sample crosses the
    threshold.

    Attributes:
        form: Which released loss.
        beta: Factor of ``intel``; published 3.
        threshold: t in nats at the start; published 1 (intel).
        adapt_epochs: For this many epochs, after each, t becomes the midpoint between the mean
            entropies of right and wrong validation predictions, and is kept from then on. Published 5;
            0 here, which keeps t fixed and needs no validation split.
        stop_confidence_gradient: Treat the confidence as a constant (an option of ``google``).

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.9, 0.1], [0.9, 0.1]])),
        ...               labels=torch.tensor([0, 1]))
        >>> round(float(AvUC(form="google").loss(out)), 4)
        0.1054
    """

    form: Literal["intel", "google"] = "intel"
    beta: NotNegative = 3.0
    threshold: NotNegative = 1.0
    adapt_epochs: Whole = 0
    stop_confidence_gradient: bool = False

    needs: ClassVar[tuple[str, ...]] = HELD_OUT
    stateful: ClassVar[bool] = True
    source: ClassVar[str] = (
        "Krishnan and Tickoo, Improving model calibration with accuracy versus uncertainty "
        "optimization, NeurIPS 2020, arXiv 2012.07923; code IntelLabs/AVUC, src/avuc_loss.py, and "
        "google/uncertainty-baselines, caltrain/secondary_losses.py."
    )

    @property
    def required(self) -> tuple[str, ...]:
        """The validation split only where the threshold adapts."""
        return self.needs if self.adapt_epochs else self.needs[:2]

    @property
    def stops_gradient(self) -> bool:
        """With a confidence taken as a constant."""
        return self.stop_confidence_gradient

    def compute(self, outputs: Outputs) -> Tensor:
        """The loss of the chosen form."""
        logits, labels = logits_and_labels(outputs, self.name)
        threshold: Tensor | float = self.threshold
        if self.adapt_epochs:
            threshold = outputs.memory.get(THRESHOLD, torch.tensor(self.threshold)).to(logits)
        probabilities = softmax(logits, dim=1)
        if self.form == "google":
            return google_avuc(probabilities, labels, threshold, self.stop_confidence_gradient)
        confidence, correct = confidence_and_correctness(probabilities, labels)
        if self.stop_confidence_gradient:
            confidence = confidence.detach()
        uncertainty = entropy(probabilities)
        counts = soft_counts(confidence, correct, uncertainty, uncertainty <= threshold)
        good = counts.right_certain + counts.wrong_uncertain
        bad = counts.right_uncertain + counts.wrong_certain
        return -self.beta * torch.log(good / (good + bad + 1e-10) + 1e-10)

    def on_epoch_end(self, outputs: Outputs, memory: MutableMapping[str, Tensor]) -> None:
        """Move the threshold in the first epochs; one-sided validation predictions leave it."""
        if outputs.epoch >= self.adapt_epochs:
            return
        logits = outputs.require("validation_logits", by=self.name).detach()
        labels = outputs.require("validation_labels", by=self.name)
        probabilities = softmax(logits.to(torch.promote_types(logits.dtype, torch.float32)), dim=1)
        right = probabilities.argmax(dim=1) == labels
        uncertainty = entropy(probabilities)
        if right.any() and not right.all():
            memory[THRESHOLD] = (uncertainty[right].mean() + uncertainty[~right].mean()) / 2


def entropy(probabilities: Tensor) -> Tensor:
    """Entropy (B,) in nats, with 1e-10 inside the logarithm as in the reference."""
    return -(probabilities * torch.log(probabilities + 1e-10)).sum(dim=1)


def soft_counts(
    confidence: Tensor, correct: Tensor, uncertainty: Tensor, certain: Tensor
) -> Counts:
    """The four soft counts from (B,) confidence, correctness, entropy and certainty (bool)."""
    doubt = torch.tanh(uncertainty)
    sure = certain.to(confidence.dtype)
    right, wrong = correct * confidence, (1 - correct) * (1 - confidence)
    return Counts(
        (right * sure * (1 - doubt)).sum(),
        (right * (1 - sure) * doubt).sum(),
        (wrong * sure * (1 - doubt)).sum(),
        (wrong * (1 - sure) * doubt).sum(),
    )


def google_avuc(
    probabilities: Tensor, labels: Tensor, threshold: Tensor | float, stop_gradient: bool = False
) -> Tensor:
    """Google's form from probabilities (B, K) and labels (B,); entropies are of (1-e)p + e/K, e = 1e-5."""
    confidence, correct = confidence_and_correctness(probabilities, labels)
    if stop_gradient:
        confidence = confidence.detach()
    uncertainty = smoothed_entropy(probabilities)
    counts = soft_counts(confidence, correct, uncertainty, uncertainty < threshold)
    bad = counts.right_uncertain + counts.wrong_certain
    good = counts.right_certain + counts.wrong_uncertain
    return torch.log1p(bad / good.clamp_min(1e-5))


def smoothed_entropy(probabilities: Tensor) -> Tensor:
    """Entropy (B,) in nats of probabilities mixed with 1e-5 of the uniform distribution."""
    mixed = (1 - 1e-5) * probabilities + 1e-5 / probabilities.shape[1]
    return -(mixed * torch.log(mixed)).sum(dim=1)
