"""Kernel calibration: predicted and true labels should be indistinguishable to a kernel test."""

from math import exp
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import (
    confidence_and_correctness,
    indicator,
    logits_and_labels,
    off_diagonal_mean,
)
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("kernel_mmd")
class KernelMMD(Objective):
    r"""Unbiased squared MMD between (x, predicted label) and (x, true label).

    With kernels k on x and K_y on one-hot labels, both exp(-||a - b||^2 / h), predictions q (B, K) and
    one-hot labels e,

    .. math::
        L = \frac{1}{B(B-1)} \sum_{i \ne j} k(x_i, x_j)\, (q_i - e_{y_i})^\top K_y\, (q_j - e_{y_j})

    which expands into the three off-diagonal means of the paper. Its expectation is 0 for a calibrated
    model, so single values may be negative. What x is decides which calibration is tested; for
    ``confidence`` the label is whether the predicted class is right. Gradient flows through x where x is
    computed by tuned parameters. A remainder batch of one sample has no pair and contributes 0.

    Attributes:
        weight: Published 0.2 beside a likelihood of weight 1 (``classification_mixed``).
        on: x is the image features, the prediction q (``probabilities``), its largest entry
            (``confidence``), or the one-hot predicted class (``class``).
        bandwidth_x: h of k; published 10 (mixed configuration; the class default is 0.01).
        bandwidth_y: h of K_y; published 0.01 (mixed configuration; the class default is 1).

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.75, 0.25], [0.75, 0.25]])),
        ...               labels=torch.tensor([0, 1]))
        >>> round(float(KernelMMD(on="confidence").loss(out)), 4)
        -0.375
    """

    weight: float = 0.2
    on: Literal["features", "probabilities", "confidence", "class"] = "features"
    bandwidth_x: Annotated[float, Field(ge=1e-9)] = 10.0
    bandwidth_y: Annotated[float, Field(ge=1e-9)] = 0.01

    needs: ClassVar[tuple[str, ...]] = ("logits", "labels", "image_features")
    minimum_batch: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Marx, Zalouk, Ermon, Calibration by distribution matching: trainable kernel calibration "
        "metrics, NeurIPS 2023, arXiv 2310.20211; code kernel-calibration/kernel-calibration."
    )

    @property
    def required(self) -> tuple[str, ...]:
        """Image features only where x is the image features."""
        return self.needs if self.on == "features" else self.needs[:2]

    def compute(self, outputs: Outputs) -> Tensor:
        """Mean over ordered pairs of different samples."""
        logits, labels = logits_and_labels(outputs, self.name)
        if len(labels) < self.minimum_batch:
            return 0.0 * logits.sum()
        predicted = softmax(logits, dim=1)
        error = predicted - indicator(labels, logits)
        if self.on == "confidence":
            x, correct = confidence_and_correctness(predicted, labels)
            x = x[:, None]
            error = torch.cat([x - correct[:, None], correct[:, None] - x], dim=1)
        else:
            x = self._conditions(outputs, predicted)
        similar = torch.exp(-squared_distances(x) / self.bandwidth_x)
        # One-hot labels are sqrt(2) apart, so K_y is 1 on the diagonal and constant elsewhere.
        apart = exp(-2 / self.bandwidth_y)
        totals = error.sum(dim=1)
        witness = (1 - apart) * error @ error.T + apart * totals[:, None] * totals
        return off_diagonal_mean(similar * witness)

    def _conditions(self, outputs: Outputs, predicted: Tensor) -> Tensor:
        if self.on == "features":
            return outputs.require("image_features", by=self.name)
        if self.on == "probabilities":
            return predicted
        return indicator(predicted.argmax(dim=1), predicted)


def squared_distances(x: Tensor) -> Tensor:
    """||x_i - x_j||^2, (B, B), from the Gram matrix.

    Example:
        >>> squared_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
        tensor([[ 0., 25.],
                [25.,  0.]])
    """
    gram = x @ x.T
    norms = gram.diagonal()
    return (norms[:, None] + norms - 2 * gram).clamp_min(0)
