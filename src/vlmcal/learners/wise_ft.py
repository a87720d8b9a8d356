"""WiSE-FT: weights between those before and after tuning."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from vlmcal.learners.averaging import interpolated
from vlmcal.learners.base import LEARNERS, ClassContext, Learner, Stream
from vlmcal.learners.fine_tune import FineTune
from vlmcal.learners.wrapped import Wrapped
from vlmcal.types.limits import Share


@LEARNERS.register("wise_ft")
class WiSEFT(Wrapped):
    """(1 - alpha) times the tensors before tuning plus alpha times those after, of the method ``base``.

    alpha = 0 is the start, bit for bit (zero-shot with ``fine_tune`` and ``flyp``), alpha = 1 the tuned
    model. An experiment trains ``base`` once, as a run of its own, and every alpha is a prediction with it:
    ``{name: wise_ft, alpha: [0, 0.5, 1]}`` is a curve of one training. Works for any trained method: of
    prompts, the context moves between its first words and the tuned ones. With ``fine_tune`` it is the
    published form, the tower and a head that carries the logit scale; with ``flyp`` the head is rebuilt from
    the text tower, which is another curve.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903.
    """

    default_train: ClassVar[Mapping[str, Any]] = FineTune.default_train
    told: ClassVar[tuple[str, ...]] = ("alpha",)

    class Config(Wrapped.Config):
        """What is tuned, and how far.

        Attributes:
            base: The method that is tuned.
            alpha: Share of the tuned tensors, in [0, 1].
        """

        base: str = "fine_tune"
        alpha: Share = 0.5

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        # The start is what the constructor makes; only the interpolated tensors are kept after training.
        self._start = {n: p.detach().clone() for n, p in self.base.named_parameters()}

    @classmethod
    def trained_as(cls, config: Config) -> dict[str, Any]:
        """The tuned method with its options."""
        return {"name": config.base, **config.options}

    def take(self, trained: Learner) -> None:
        """Go the share alpha of the way from the start to ``trained``, a learner of ``base``."""
        self.base.load_state_dict(trained.state_dict())
        self.on_fit_end()

    @torch.no_grad()
    def on_fit_end(self) -> None:
        """Interpolate."""
        super().on_fit_end()
        tuned = dict(self.base.named_parameters())
        for name, value in interpolated(self._start, tuned, self.config.alpha).items():
            tuned[name].copy_(value)
