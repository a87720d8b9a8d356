"""Linear probe: logistic regression on frozen image features."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Head, Learner, Options, Stream
from vlmcal.types.features import Features
from vlmcal.types.limits import Count, Positive, Whole

Array: TypeAlias = NDArray[Any]


@LEARNERS.register("linear_probe")
class LinearProbe(Learner):
    """z = W f + b on normalised frozen image features, fitted by L-BFGS (scikit-learn).

    C, the inverse strength of the L2 penalty, is given or chosen on the held-out split by accuracy: the
    best of 1e6, 1e4, ..., 1e-6, then eight halvings of the range of a factor ten to both sides, keeping
    the better end. Features are normalised, which the public code leaves out.

    Source: Radford et al., ICML 2021, arXiv 2103.00020; the few-shot protocol of CoOp's linear probe.
    """

    per_class: bool = True  # every class has its own weights
    similarity_scores: ClassVar[bool] = False
    trainable: ClassVar[bool] = False
    ignores: ClassVar[frozenset[str]] = frozenset({"objective"})
    small: ClassVar[Mapping[str, Any]] = {"inverse_strength": 1.0}

    class Config(Options):
        """Options of the linear probe.

        Attributes:
            inverse_strength: C of the L2 penalty, or None to choose it on the held-out split.
            iterations: Most L-BFGS iterations.
            refinements: Halvings of the range around the best C.
        """

        inverse_strength: Positive | None = None
        iterations: Count = 1000
        refinements: Whole = 8

    config: Config
    coefficients: Tensor
    intercepts: Tensor

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        k, d = len(classes.class_names), self.encoder.embed_dim
        zeros = torch.zeros(k, d, dtype=self.parameter_dtype, device=self.encoder.device)
        self.register_buffer("coefficients", zeros)
        self.register_buffer("intercepts", zeros[:, 0].clone())

    def begin(self, train: Features, validation: Features | None) -> None:
        """Fit on all views of the training images.

        Raises:
            SpecError: C has to be chosen and there is no held-out split.
        """
        n, views, _ = train.image_features.shape
        images = _unit(train.image_features.reshape(n * views, -1))
        labels = np.repeat(train.labels, views)
        strength = self.config.inverse_strength
        if strength is None:
            if validation is None or len(validation) == 0:
                raise SpecError(
                    "linear_probe: choosing C needs held-out images; give inverse_strength, for example 1.0"
                )
            held_out = _unit(validation.image_features[:, 0])
            strength = self._choose(images, labels, held_out, validation.labels)
        weights, intercepts, present = self._fit(images, labels, strength)
        lowest = float(intercepts.min()) - 50.0  # a class without images is never predicted
        full = np.zeros((len(self.classes.class_names), images.shape[1]))
        offsets = np.full(len(full), lowest)
        full[present], offsets[present] = weights, intercepts
        self.coefficients.copy_(torch.from_numpy(full))
        self.intercepts.copy_(torch.from_numpy(offsets))

    def _fit(self, images: Array, labels: Array, strength: float) -> tuple[Array, Array, Array]:
        from sklearn.linear_model import LogisticRegression

        present = np.unique(labels)
        if len(present) == 1:
            return np.zeros((1, images.shape[1])), np.zeros(1), present
        model = LogisticRegression(C=strength, max_iter=self.config.iterations).fit(images, labels)
        weights, intercepts = model.coef_, model.intercept_
        if len(present) == 2:  # scikit-learn keeps one row for two classes
            weights = np.concatenate([-weights / 2, weights / 2])
            intercepts = np.concatenate([-intercepts / 2, intercepts / 2])
        return weights, intercepts, present

    def _choose(self, images: Array, labels: Array, held_out: Array, truth: Array) -> float:
        scores: dict[float, float] = {}

        def accuracy(exponent: float) -> float:
            if exponent not in scores:
                weights, intercepts, present = self._fit(images, labels, 10.0**exponent)
                guesses = present[(held_out @ weights.T + intercepts).argmax(axis=1)]
                scores[exponent] = float((guesses == truth).mean())
            return scores[exponent]

        best = float(max(range(6, -7, -2), key=accuracy))
        low, high = best - 1, best + 1
        for _ in range(self.config.refinements):
            middle = (low + high) / 2
            best = high if accuracy(low) < accuracy(high) else low
            low, high = (middle, high) if best == high else (low, middle)
        return float(10.0**best)

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """W f + b, (B, K); the text features are not used."""
        return image @ self.coefficients.T + self.intercepts

    def linear_head(self) -> Head:
        """W, b and factor 1."""
        return Head(self.coefficients.clone(), self.intercepts.clone(), 1.0)


def _unit(features: Array) -> Array:
    values = np.asarray(features, dtype=np.float64)
    unit: Array = values / np.linalg.norm(values, axis=-1, keepdims=True)
    return unit
