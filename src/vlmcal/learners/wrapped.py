"""A method around another one: everything is the wrapped method's unless a subclass says otherwise."""

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any, ClassVar, TypeVar, cast

import torch
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Head, Learner, Options, Side, Stream
from vlmcal.learners.sampled_prompts import mixture, uncertainty_signals

Method = TypeVar("Method", bound=Callable[..., Any])


def _of_base(method: Method) -> Method:
    """The method of this name of the wrapped learner."""
    name = method.__name__

    def call(learner: "Around", *given: Any, **named: Any) -> Any:
        return getattr(learner.base, name)(*given, **named)

    call.__name__, call.__doc__ = name, "The wrapped method's."
    return cast(Method, call)


class Around(Learner):
    """Another method, ``base``, with its features and what they belong to."""

    similarity_scores: ClassVar[bool] = False
    unsuited: ClassVar[str] = (
        '"{}" has no training of its own; choose a trained method such as coop, kgcoop or fine_tune'
    )
    """What is said of a method that this one cannot be around."""

    class Config(Options):
        """What is wrapped.

        Attributes:
            base: The wrapped method.
            options: Its options.
        """

        base: str = "coop"
        options: Mapping[str, Any] = field(default_factory=dict)

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        kind, options = self.wrapped(config)
        self.base = kind(classes, options, generator)
        self.consumes = self.base.consumes
        self.text_depends_on_image = self.base.text_depends_on_image
        self.per_class = self.base.per_class
        self.tunes: frozenset[Side] = self.base.tunes
        self.provides = self.base.provides

    @classmethod
    def takes(cls, kind: type[Learner]) -> bool:
        """Whether it can be around a method."""
        return kind.trainable and not issubclass(kind, Wrapped)

    @classmethod
    def wrapped(cls, config: Config) -> tuple[type[Learner], Any]:
        """The wrapped method and its options.

        Raises:
            SpecError: It does not suit this one, or has no such options.
        """
        kind = LEARNERS.get(config.base)
        if not cls.takes(kind):
            raise SpecError(f"{cls.name}: {cls.unsuited.format(config.base)}")
        try:
            return kind, kind.Config(**config.options)
        except TypeError as error:
            raise SpecError(f'{cls.name}: options of "{config.base}": {error}') from error

    @classmethod
    def opens(cls, config: Config) -> frozenset[Side]:
        """The towers that the wrapped method changes."""
        kind, options = cls.wrapped(config)
        return kind.opens(options)

    @property
    def encodes_other_names(self) -> bool:
        """Whether the wrapped method's prompt applies to other names."""
        return self.base.encodes_other_names

    text_features = _of_base(Learner.text_features)
    outlier_features = _of_base(Learner.outlier_features)
    image_features = _of_base(Learner.image_features)
    classifier = _of_base(Learner.classifier)
    begin = _of_base(Learner.begin)
    on_step_end = _of_base(Learner.on_step_end)
    on_epoch_end = _of_base(Learner.on_epoch_end)
    on_fit_end = _of_base(Learner.on_fit_end)
    parameter_groups = _of_base(Learner.parameter_groups)


class Wrapped(Around):
    """Trains and predicts as the method ``base``."""

    @property
    def logit_scale(self) -> Tensor:
        """The wrapped method's."""
        return self.base.logit_scale

    scores = _of_base(Learner.scores)
    logits = _of_base(Learner.logits)
    outputs = _of_base(Learner.outputs)
    linear_head = _of_base(Learner.linear_head)


class WrappedPrompts(Wrapped):
    """Around a method of prompts: predictions are averaged over several classifiers (S, K, D).

    Logits are log-probabilities of the average; what the classifiers disagree about is their mutual
    information.
    """

    @classmethod
    def wrapped(cls, config: Around.Config) -> tuple[type[Learner], Any]:
        """As everywhere, and its class features must be all that decides.

        Raises:
            SpecError: Its scores are more than similarities, or it changes image features.
        """
        kind, options = super().wrapped(config)
        if (
            kind.consumes == "pixels"
            or kind.text_depends_on_image
            or not kind.similarity_scores
            or kind.image_features is not Learner.image_features
            or kind.scores is not Learner.scores
            or kind.logits is not Learner.logits
        ):
            raise SpecError(
                f'{cls.name}: "{config.base}" is no method of one prompt per class on frozen image features; '
                "choose coop, kgcoop, prograd or task_res"
            )
        return kind, options

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Log of the probabilities averaged over the classifiers, (B, K)."""
        return (
            mixture(self._similar(image, text)) if text.ndim == 3 else super().scores(image, text)
        )

    def logits(self, raw_image: Tensor, text: Tensor | None) -> Tensor:
        """Of normalised image features."""
        return Learner.logits(self, raw_image, text)

    def signals(self, image: Tensor) -> dict[str, Tensor]:
        """What the classifiers disagree about, as of sampled prompts."""
        return uncertainty_signals(self._similar(image, self.classifier()))

    def linear_head(self) -> Head:
        """There is none: probabilities are averaged.

        Raises:
            SpecError: Always.
        """
        raise SpecError(f'"{self.name}" has no linear head: it averages probabilities')

    def _similar(self, image: Tensor, text: Tensor) -> Tensor:
        return self.logit_scale.to(image.dtype) * torch.einsum("bd,skd->sbk", image, text)
