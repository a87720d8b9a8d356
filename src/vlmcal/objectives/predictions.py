"""Quantities of one batch that many objectives share: margins, confidence, correctness."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, one_hot

from vlmcal.types.outputs import Outputs

HELD_OUT = ("logits", "labels", "validation_logits", "validation_labels")
"""What an objective needs that looks at held-out rows after each epoch."""
Reduction = Literal["mean", "sum"]


def logits_and_labels(outputs: Outputs, by: str) -> tuple[Tensor, Tensor]:
    """Scaled logits (B, K) and labels (B,) of the step."""
    return outputs.require("logits", by=by), outputs.require("labels", by=by)


def true_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Log p of the true class, (B,), in nats."""
    return log_softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1)


def indicator(labels: Tensor, like: Tensor) -> Tensor:
    """One-hot labels (B, K) in the type of ``like`` (B, K)."""
    return one_hot(labels, like.shape[1]).to(like.dtype)


def confidence_and_correctness(probabilities: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Largest probability (B,) in [0, 1] and whether that class is right (B,), 0 or 1.

    Of tied classes the first is the prediction.

    Example:
        >>> confidence_and_correctness(torch.tensor([[0.2, 0.8]]), torch.tensor([1]))
        (tensor([0.8000]), tensor([1.]))
    """
    predicted = probabilities.argmax(dim=1, keepdim=True)
    confidence = probabilities.gather(1, predicted).squeeze(1)
    return confidence, (predicted.squeeze(1) == labels).to(probabilities.dtype)


def margins(logits: Tensor, labels: Tensor) -> Tensor:
    """True-class logit minus the largest other logit, (B,); negative where the prediction is wrong.

    Example:
        >>> margins(torch.tensor([[3.0, 1.0, 0.0], [0.0, 2.0, 5.0]]), torch.tensor([0, 1]))
        tensor([ 2., -3.])
    """
    true = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf)
    return (true - others.max(dim=1, keepdim=True).values).squeeze(1)


def off_diagonal_mean(matrices: Tensor) -> Tensor:
    """Mean over matrices (..., N, N) of the mean of their entries i, j with i != j."""
    count = matrices.shape[-1]
    diagonals = matrices.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return ((matrices.sum(dim=(-2, -1)) - diagonals) / (count * (count - 1))).mean()


def reduced(values: Tensor, reduction: Reduction) -> Tensor:
    """Mean or sum over the batch."""
    return values.mean() if reduction == "mean" else values.sum()


def lengths(vectors: Tensor, *, keepdim: bool = False) -> Tensor:
    """L2 norm along the last axis, with gradient 0 at the zero vector."""
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1, keepdim=keepdim)
    return norm
