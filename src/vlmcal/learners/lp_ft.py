"""LP-FT: a linear probe first, then fine-tuning from it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from vlmcal.learners.base import LEARNERS
from vlmcal.learners.fine_tune import FineTune
from vlmcal.learners.flyp import FEW_SHOT
from vlmcal.learners.linear_probe import LinearProbe
from vlmcal.types.features import Features
from vlmcal.types.limits import Positive


@LEARNERS.register("lp_ft")
class LPFT(FineTune):
    """``fine_tune`` whose head starts from logistic regression on the frozen image features.

    A head that fits already pulls less at the features, so that they keep more of what they were. The
    probe is :class:`~vlmcal.learners.linear_probe.LinearProbe` on the training images, fitted before the
    first step.

    Source: Kumar et al., "Fine-tuning can distort pretrained features and underperform out-of-distribution",
    ICLR 2022, arXiv 2202.10054.
    """

    default_train: ClassVar[Mapping[str, Any]] = FEW_SHOT
    small: ClassVar[Mapping[str, Any]] = {"inverse_strength": 1.0}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    class Config(FineTune.Config):
        """Options of fine-tuning, and that of the probe.

        Attributes:
            inverse_strength: C of the probe's L2 penalty, or None to choose it on the held-out split.
        """

        inverse_strength: Positive | None = None

    config: Config

    @torch.no_grad()
    def begin(self, train: Features, validation: Features | None) -> None:
        """Fit the probe on the frozen features.

        Raises:
            SpecError: C has to be chosen and there is no held-out split.
        """
        options = LinearProbe.Config(inverse_strength=self.config.inverse_strength)
        probe = LinearProbe(self.classes, options)
        probe.begin(train, validation)
        self.weight.copy_(probe.coefficients)
        self.bias.copy_(probe.intercepts)
