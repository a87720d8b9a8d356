"""TCPT's text term: keep the mean and covariance of the class features where zero-shot CLIP has them."""

from typing import ClassVar

from torch import Tensor

from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.text import tuned_and_frozen
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("text_moments")
class TextMoments(Objective):
    r"""Squared distance between the first two moments of tuned and frozen text features.

    .. math::
        L = \lVert \mu_t - \mu_f \rVert_2^2 + \lVert \Sigma_t - \Sigma_f \rVert_F^2, \qquad
        \Sigma = \frac{1}{K} \sum_c (t_c - \mu)(t_c - \mu)^\top

    over unit-norm text features t, f (K, D) of all training classes. TCPT uses weight 5 (the preset
    ``tcpt`` does). With K < D the covariance term is computed from K x K matrices of the difference
    E = A - F of the centred features, which is exact, cheaper, and keeps its accuracy when t is close
    to f: ||A'A - F'F||^2 = <AA', EE'> + <EE', FF'> + 2 <AE', (FE')'>.

    Prompts that depend on the image give one set of features per image; the loss is the mean over them
    (the reference takes the last image's only).

    Attributes:
        mean_weight: Factor of the mean term.
        covariance_weight: Factor of the covariance term.

    Example:
        >>> import torch
        >>> tuned, frozen = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
        >>> out = Outputs(text_features=tuned, frozen_text_features=frozen)
        >>> round(float(TextMoments().loss(out)), 4)
        0.75
    """

    mean_weight: NotNegative = 1.0
    covariance_weight: NotNegative = 1.0

    needs: ClassVar[tuple[str, ...]] = ("text_features", "frozen_text_features")
    source: ClassVar[str] = (
        "TCPT, CVPR 2026; code ashshaksharifdeen/TCPT, trainers/regularizers.py."
    )

    def compute(self, outputs: Outputs) -> Tensor:
        """Weighted sum of the mean and the covariance distance."""
        tuned, frozen = tuned_and_frozen(outputs, self.name)
        tuned_mean, frozen_mean = tuned.mean(dim=-2), frozen.mean(dim=-2)
        mean = (tuned_mean - frozen_mean).square().sum(dim=-1)
        centred, frozen_centred = tuned - tuned_mean[..., None, :], frozen - frozen_mean
        covariance = covariance_distance(centred, frozen_centred)
        return (self.mean_weight * mean + self.covariance_weight * covariance).mean()


def covariance_distance(centred: Tensor, target: Tensor) -> Tensor:
    """||A'A - F'F||_F^2 / K^2 for centred rows A (..., K, D) and F (K, D), by the smaller matrices."""
    classes, width = target.shape
    if classes >= width:
        return (centred.mT @ centred - target.mT @ target).square().sum(dim=(-2, -1)) / classes**2
    shift = centred - target
    gram = shift @ shift.mT
    same = gram * (centred @ centred.mT + target @ target.mT)
    crossed = (centred @ shift.mT) * (target @ shift.mT).mT
    return (same + 2 * crossed).sum(dim=(-2, -1)) / classes**2
