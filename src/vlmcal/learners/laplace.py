"""Laplace approximation around tuned class features."""

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.learners.base import LEARNERS, ClassContext, Stream
from vlmcal.learners.wrapped import Wrapped, WrappedPrompts
from vlmcal.seeding import torch_generator
from vlmcal.types.features import Features
from vlmcal.types.limits import Count, Positive

_GRID = torch.logspace(-2, 8, 81, dtype=torch.float64)


@LEARNERS.register("laplace")
class Laplace(WrappedPrompts):
    """Class features t ~ N(t_tuned, diag(H + delta)^-1) around tuned prompts, averaged predictions.

    H_kd = s^2 sum_n p_nk (1 - p_nk) f_nd^2 is the diagonal of the generalised Gauss-Newton matrix of the
    last layer, z = s f t', over the training images; delta the precision of a prior around the zero-shot
    class features. Training is that of ``base``; the draws cost no text pass. Names without training
    images have the prior's precision alone, so that their draws disagree the most.

    Source: Daxberger et al., "Laplace redux: effortless Bayesian deep learning", NeurIPS 2021, arXiv
    2106.14806 (last layer, diagonal); evidence of delta as there. Oracle: the Hessian by automatic
    differentiation.
    """

    class Config(Wrapped.Config):
        """What is wrapped, and the approximation.

        Attributes:
            predictions: Draws that a prediction averages over.
            precision: delta; None for the one of the largest evidence.
        """

        predictions: Count = 20
        precision: Positive | None = None

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.trained_names = classes.class_names
        shape = (len(classes.class_names), self.encoder.embed_dim)
        like = self.classes.text_features.new_zeros(shape, dtype=self.parameter_dtype)
        self.register_buffer("curvature", like)
        self.register_buffer("delta", like.new_full((), float(config.precision or 1.0)))
        stream = torch_generator(0, self.name, "predictions")
        noise = torch.randn(config.predictions, *shape, generator=stream)
        self.register_buffer("noise", noise.to(like), persistent=False)
        self._rows = like.new_zeros(0, shape[1])

    def begin(self, train: Features, validation: Features | None) -> None:
        """Keep the training features for the curvature."""
        super().begin(train, validation)
        n, views, width = train.image_features.shape
        rows = torch.from_numpy(np.array(train.image_features)).view(n * views, width)
        self._rows = normalize(rows.to(self._rows), dim=-1)

    @torch.no_grad()
    def on_fit_end(self) -> None:
        """The curvature at the tuned class features, and delta."""
        super().on_fit_end()
        scale, tuned = self.logit_scale.to(self._rows), self.base.classifier()
        logits = scale * self._rows @ tuned.T
        p = logits.softmax(dim=-1)
        curvature = scale.square() * (p * (1 - p)).T @ self._rows.square()
        self.get_buffer("curvature").copy_(curvature)
        if self.config.precision is None:
            moved = float((tuned - self.classes.text_features.to(tuned)).double().square().sum())
            self.get_buffer("delta").fill_(best_precision(curvature, moved))

    def classifier(self, image_features: Tensor | None = None) -> Tensor:
        """Drawn class features, (S, K, D)."""
        spread = (self._known() + self.get_buffer("delta")).rsqrt()
        return self.base.classifier() + spread * self.get_buffer("noise")

    def _known(self) -> Tensor:
        """Curvature of the classes by their names, 0 of those without training images, (K, D)."""
        trained = self.get_buffer("curvature")
        place = {name: row for row, name in enumerate(self.trained_names)}
        rows = [place.get(name, len(trained)) for name in self.classes.class_names]
        return torch.cat([trained, torch.zeros_like(trained[:1])])[rows]

    def for_classes(self, class_names: Sequence[str]) -> Self:
        """The same prompt with other names; of those without training images only the prior is known."""
        names = tuple(class_names)
        if names == self.classes.class_names:
            return self
        other = type(self)(self.classes.for_classes(names), self.config)
        other.base = self.base.for_classes(names)
        other.trained_names = self.trained_names
        for buffer in ("curvature", "delta"):
            other.register_buffer(buffer, self.get_buffer(buffer).clone())
        return other.train(self.training)


def best_precision(curvature: Tensor, moved: float) -> float:
    """Prior precision of the largest evidence, (1/2) [sum ln(delta / (H + delta)) - delta moved], on a grid.

    Args:
        curvature: H, any shape.
        moved: Squared distance of the tuned values from the prior's mean.

    Example:
        >>> round(best_precision(torch.full((10,), 1e6), 0.1), 1)
        100.0
    """
    flat = curvature.double().flatten()
    grid = _GRID.to(flat)
    evidence = torch.stack([(d / (flat + d)).log().sum() - d * moved for d in grid])
    return float(grid[int(evidence.argmax())])
