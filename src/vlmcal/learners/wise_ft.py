"""WiSE-FT: weights between those before and after tuning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.learners.averaging import interpolated
from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Head, Learner, Options, Side
from vlmcal.learners.fine_tune import FineTune
from vlmcal.types.features import Features
from vlmcal.types.limits import Share
from vlmcal.types.outputs import Outputs


@LEARNERS.register("wise_ft")
class WiSEFT(Learner):
    """(1 - alpha) times the tensors before tuning plus alpha times those after, of the method ``base``.

    alpha = 0 is the start, bit for bit (zero-shot with ``fine_tune`` and ``flyp``), alpha = 1 the tuned
    model. An experiment trains ``base`` once, as a run of its own, and every alpha is a prediction with
    it. Works for any trained method: of prompts, the context moves between its first words and the tuned
    ones. With ``fine_tune`` it is the published form, the tower and a head that carries the logit scale;
    with ``flyp`` the head is rebuilt from the text tower, which is another curve.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903.
    """

    name: ClassVar[str] = "wise_ft"
    similarity_scores: ClassVar[bool] = False
    default_train: ClassVar[Mapping[str, Any]] = FineTune.default_train

    @dataclass(frozen=True)
    class Config(Options):
        """Options of WiSE-FT.

        Attributes:
            alpha: Share of the tuned tensors, in [0, 1].
            base: The method that is tuned.
            options: Its options.
        """

        alpha: Share = 0.5
        base: str = "fine_tune"
        options: Mapping[str, Any] = field(default_factory=dict)

    config: Config

    def __init__(
        self, classes: ClassContext, config: Config, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(classes, config, generator)
        kind, options = _tuned(config)
        self.base = kind(classes, options, generator)
        self.consumes = self.base.consumes
        self.text_depends_on_image = self.base.text_depends_on_image
        self.tunes: frozenset[Side] = self.base.tunes
        self.provides = self.base.provides
        # The start is what the constructor makes; only the interpolated tensors are kept after training.
        self._start = {n: p.detach().clone() for n, p in self.base.named_parameters()}

    @classmethod
    def opens(cls, config: Config) -> frozenset[Side]:
        """The towers that the tuned method changes."""
        kind, options = _tuned(config)
        return kind.opens(options)

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
        self.base.on_fit_end()
        tuned = dict(self.base.named_parameters())
        for name, value in interpolated(self._start, tuned, self.config.alpha).items():
            tuned[name].copy_(value)

    @property
    def logit_scale(self) -> Tensor:
        """That of the method."""
        return self.base.logit_scale

    @property
    def per_class(self) -> bool:
        """Whether the method's parameters belong to its classes."""
        return self.base.per_class

    @property
    def encodes_other_names(self) -> bool:
        """Whether the method's prompt applies to other names."""
        return self.base.encodes_other_names

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Of the method."""
        return self.base.text_features(image_features)

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """Of the method."""
        return self.base.outlier_features(names)

    def image_features(self, batch: Batch) -> Tensor:
        """Of the method."""
        return self.base.image_features(batch)

    def classifier(self, image_features: Tensor | None = None) -> Tensor:
        """Of the method."""
        return self.base.classifier(image_features)

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Of the method."""
        return self.base.scores(image, text)

    def logits(self, raw_image: Tensor, text: Tensor | None) -> Tensor:
        """Of the method."""
        return self.base.logits(raw_image, text)

    def outputs(self, batch: Batch) -> Outputs:
        """Of the method."""
        return self.base.outputs(batch)

    def linear_head(self) -> Head:
        """Of the method."""
        return self.base.linear_head()

    def begin(self, train: Features, validation: Features | None) -> None:
        """Let the method look at the training features."""
        self.base.begin(train, validation)

    def on_step_end(self, step: int, total_steps: int) -> None:
        """Tell the method."""
        self.base.on_step_end(step, total_steps)

    def on_epoch_end(self, epoch: int, epochs: int) -> None:
        """Tell the method."""
        self.base.on_epoch_end(epoch, epochs)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The method's groups."""
        return self.base.parameter_groups(lr)


def _tuned(config: WiSEFT.Config) -> tuple[type[Learner], Any]:
    """The tuned method and its options."""
    kind = LEARNERS.get(config.base)
    if kind is WiSEFT or not kind.trainable:
        raise SpecError(
            f'wise_ft: "{config.base}" has no training whose tensors could be interpolated; choose '
            "fine_tune, flyp, carot, lp_ft or a method of learned prompts"
        )
    try:
        options = kind.Config(**config.options)
    except TypeError as error:
        raise SpecError(f'wise_ft: options of "{config.base}": {error}') from error
    return kind, options
