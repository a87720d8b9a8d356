"""ECE-KDE: calibration error with Dirichlet kernels on the simplex, differentiable everywhere."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import softmax

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.predictions import confidence_and_correctness, indicator, logits_and_labels
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs

CANDIDATES: tuple[float, ...] = (
    *(10 ** (-5 + 4 * step / 14) for step in range(15)),
    *(0.2, 0.4, 0.6, 0.8, 1.0),
)


@OBJECTIVES.register("kde_ece")
class KDEECE(Objective):
    r"""Kernel estimate of the L_p calibration error of a batch.

    .. math::
        L = \frac{1}{B} \sum_i \Bigl\lVert
        \frac{\sum_{j \ne i} k_h(p_i; p_j)\, y_j}{\sum_{j \ne i} k_h(p_i; p_j)} - p_i \Bigr\rVert_p^p

    over softmax probabilities p (B, K) and one-hot labels y; k_h(.; q) is the Dirichlet density with
    parameters q / h + 1 (a Beta density on (c, 1 - c) for ``marginal``, summed over classes, and for
    ``top_label``). Densities are handled as logarithms in 64 bits. A remainder batch of one sample
    has no other sample to compare with and contributes 0.

    Attributes:
        kind: Which calibration: of the whole vector, of each class, or of the predicted class.
        power: p of the norm; 2 here, 1 is the usual reported error.
        bandwidth: h; null chooses, for each batch, the best leave-one-out likelihood of the whole vectors
            among 15 values from 1e-5 to 0.1 and 5 from 0.2 to 1.
        density_floor: Smallest density that is divided by, for ``canonical``. The released code has
            1e-10 up to 60 classes, which sets the estimate of isolated samples to 0; 0 here.
        released_bandwidth: Choose h as released, with log h subtracted from every log-likelihood, which
            favours small bandwidths: a Dirichlet density is normalised without it.

    Example:
        >>> out = Outputs(logits=torch.log(torch.tensor([[0.75, 0.25], [0.75, 0.25]])),
        ...               labels=torch.tensor([0, 1]))
        >>> round(float(KDEECE(kind="top_label", power=1, bandwidth=0.1).loss(out)), 4)
        0.5
    """

    kind: Literal["canonical", "marginal", "top_label"] = "canonical"
    power: Annotated[float, Field(ge=1)] = 2.0
    bandwidth: Annotated[float, Field(ge=1e-9)] | None = None
    density_floor: NotNegative = 0.0
    released_bandwidth: bool = False

    minimum_batch: ClassVar[int] = 2
    minimum_classes: ClassVar[int] = 2
    source: ClassVar[str] = (
        "Popordanoska, Sayer, Blaschko, A consistent and differentiable Lp canonical calibration error "
        "estimator, NeurIPS 2022, arXiv 2210.07810; code tpopordanoska/ece-kde."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """The estimate for this batch."""
        logits, labels = logits_and_labels(outputs, self.name)
        if len(labels) < self.minimum_batch:
            return 0.0 * logits.sum()
        exact = logits if logits.device.type == "mps" else logits.double()
        p = softmax(exact, dim=1)
        h = self.bandwidth or best_bandwidth(p, released=self.released_bandwidth)
        return self._error(p, labels, h).to(logits.dtype)

    def _error(self, p: Tensor, labels: Tensor, h: float) -> Tensor:
        target = indicator(labels, p)
        if self.kind == "canonical":
            error = self._ratio(p, target, h) - p
            return error.abs().pow(self.power).sum(dim=1).mean()
        if self.kind == "top_label":
            confidence, correct = confidence_and_correctness(p, labels)
            return self._binary(confidence, correct, h)
        columns = zip(p.unbind(1), target.unbind(1), strict=True)
        return torch.stack([self._binary(column, y, h) for column, y in columns]).sum()

    def _binary(self, p: Tensor, y: Tensor, h: float) -> Tensor:
        share = softmax(log_kernel(torch.stack([p, 1 - p], dim=1), h), dim=1) @ y
        return (share - p).abs().pow(self.power).mean()

    def _ratio(self, p: Tensor, target: Tensor, h: float) -> Tensor:
        kernel = log_kernel(p, h)
        if self.density_floor == 0:
            return softmax(kernel, dim=1) @ target
        density = kernel.exp()
        return density @ target / density.sum(dim=1, keepdim=True).clamp_min(self.density_floor)


def log_kernel(p: Tensor, h: float) -> Tensor:
    """Log k_h(p_i; p_j), (B, B), of points on the simplex (B, K); -inf on the diagonal."""
    smallest = torch.finfo(p.dtype).eps
    parameters = p / h + 1
    normaliser = torch.lgamma(parameters).sum(dim=1) - torch.lgamma(parameters.sum(dim=1))
    log_density = torch.log(p.clamp_min(smallest)) @ (parameters - 1).T - normaliser
    own = torch.eye(len(p), dtype=torch.bool, device=p.device)
    return log_density.masked_fill(own, -torch.inf)


@torch.no_grad()
def best_bandwidth(p: Tensor, *, released: bool = False) -> float:
    """The candidate bandwidth h with the best leave-one-out likelihood of points (B, K).

    Args:
        p: Points on the simplex, at least two.
        released: Subtract log h from each log-likelihood, as the released code does.
    """
    scores = []
    for h in CANDIDATES:
        score = log_kernel(p, h).logsumexp(dim=1).mean()
        scores.append(score - math.log(h) if released else score)
    return CANDIDATES[int(torch.stack(scores).argmax())]
