"""What a learner is: trainable tensors on a frozen dual encoder, and how they change its features."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.zero_shot import text_features as template_text_features
from vlmcal.errors import SpecError
from vlmcal.registry import Registry
from vlmcal.types.features import Features
from vlmcal.types.outputs import Outputs


@dataclass(frozen=True, eq=False)
class ClassContext:
    """A frozen encoder and a list of class names, with their zero-shot text features.

    Attributes:
        encoder: The frozen dual encoder.
        class_names: K names; underscores are read as spaces.
        templates: T zero-shot prompts with one ``{}`` each.
    """

    encoder: DualEncoder
    class_names: tuple[str, ...]
    templates: tuple[str, ...]

    @cached_property
    def template_features(self) -> Tensor:
        """Zero-shot text features per template, (T, K, D), normalised."""
        return template_text_features(self.encoder, self.class_names, self.templates)

    @cached_property
    def raw_text_features(self) -> Tensor:
        """Mean over templates of the raw features, not normalised: (K, D)."""
        names = [name.replace("_", " ") for name in self.class_names]
        prompts = [template.format(name) for template in self.templates for name in names]
        raw = self.encoder.encode_texts(prompts)
        return raw.reshape(len(self.templates), len(names), -1).mean(dim=0)

    @cached_property
    def text_features(self) -> Tensor:
        """Mean over templates, normalised again: (K, D)."""
        return normalize(self.template_features.mean(dim=0), dim=-1)

    def for_classes(self, class_names: Sequence[str]) -> "ClassContext":
        """The same encoder and templates with other names."""
        return ClassContext(self.encoder, tuple(class_names), self.templates)


@dataclass(kw_only=True)
class Batch:
    """Inputs of one step.

    Attributes:
        image_features: (B, D) raw features of the frozen encoder on this step's views.
        labels: (B,) int64.
        sample_index: (B,) rows of the training set.
        pixels: (B, 3, H, W) of the same views, for learners that change the image tower.
        second_pixels: (B, 3, H, W) of another view of the same images, where asked for.
        second_image_features: (B, D) raw frozen features of another view, where asked for.
        step: Number of the step, counted from 0.
        seed: Seed of the run, for learners that sample.
    """

    image_features: Tensor
    labels: Tensor
    sample_index: Tensor | None = None
    pixels: Tensor | None = None
    second_pixels: Tensor | None = None
    second_image_features: Tensor | None = None
    step: int = 0
    seed: int | None = None


class Learner(nn.Module, ABC):
    """Trainable tensors (the only parameters of the module) and the features they produce.

    A subclass lives in a file named after its method, is registered with ``@LEARNERS.register``, has a
    frozen dataclass ``Config`` for its options, and implements :meth:`text_features`. It owns no loop, no
    optimiser and no copy of the encoder.

    Attributes:
        name: Registry name.
        consumes: "features" when cached image features suffice, "pixels" when the image tower changes.
        trainable: False for methods without any training step.
        text_depends_on_image: Text features are (B, K, D) instead of (K, D).
        provides: Fields of ``Outputs`` beyond the common ones that it fills.
        default_objective: What is trained on when the user names no objective.
        default_train: Training settings of the published recipe that differ from the shared one.
        ignores: Axes of an experiment that cannot change its result ("shots", "seed", "objective", "train").
    """

    name: ClassVar[str]
    consumes: ClassVar[Literal["features", "pixels"]] = "features"
    trainable: ClassVar[bool] = True
    text_depends_on_image: ClassVar[bool] = False
    provides: ClassVar[frozenset[str]] = frozenset()
    default_objective: ClassVar[tuple[Any, ...]] = ("ce",)
    default_train: ClassVar[Mapping[str, Any]] = {}
    ignores: ClassVar[frozenset[str]] = frozenset()
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    @dataclass(frozen=True)
    class Config:
        """Options of the learner."""

    def __init__(
        self, classes: ClassContext, config: Any, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.classes = classes
        self.config = config

    @property
    def encoder(self) -> DualEncoder:
        """The frozen dual encoder."""
        return self.classes.encoder

    @property
    def parameter_dtype(self) -> torch.dtype:
        """Type of learned tensors: float32, or float64 with a float64 encoder."""
        return torch.promote_types(self.encoder.dtype, torch.float32)

    @property
    def per_class(self) -> bool:
        """True when parameters belong to particular classes, so that no other names can be used."""
        return False

    @abstractmethod
    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw text features (K, D), or (B, K, D) given normalised image features (B, D)."""

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features (B, D) of the tuned model."""
        return batch.image_features

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits (B, K) = s * <image, text> from normalised features."""
        scale = self.encoder.logit_scale.to(image.dtype)
        if text.ndim == 3:
            return scale * torch.einsum("bd,bkd->bk", image, text)
        return scale * image @ text.T

    def outputs(self, batch: Batch) -> Outputs:
        """Everything one step offers to objectives, except what the run adds."""
        raw_image = self.image_features(batch).to(self.parameter_dtype)
        image = normalize(raw_image, dim=-1)
        raw_text = self.text_features(image if self.text_depends_on_image else None)
        raw_text = raw_text.to(self.parameter_dtype)
        text = normalize(raw_text, dim=-1)
        return Outputs(
            logits=self.scores(image, text),
            labels=batch.labels,
            image_features=image,
            text_features=text,
            raw_image_features=raw_image,
            raw_text_features=raw_text,
            logit_scale=self.encoder.logit_scale,
            sample_index=batch.sample_index,
            class_names=self.classes.class_names,
            parameters=dict(self.named_parameters()),
        )

    @torch.no_grad()
    def predict(self, batches: Sequence[Batch]) -> Tensor:
        """Evaluation logits (N, K) over batches; text is encoded once for the whole list."""
        fixed = None
        if not self.text_depends_on_image:
            fixed = normalize(self.text_features().to(self.parameter_dtype), dim=-1)
        parts = []
        for batch in batches:
            image = normalize(self.image_features(batch).to(self.parameter_dtype), dim=-1)
            text = fixed
            if text is None:
                text = normalize(self.text_features(image).to(self.parameter_dtype), dim=-1)
            parts.append(self.scores(image, text))
        return torch.cat(parts)

    def for_classes(self, class_names: Sequence[str]) -> Self:
        """The same learned tensors with other class names.

        Raises:
            SpecError: The learner's parameters belong to the classes it was trained on.
        """
        names = tuple(class_names)
        if names == self.classes.class_names:
            return self
        if self.per_class:
            raise SpecError(
                f'"{self.name}" learns parameters for each class it was trained on '
                f"({', '.join(self.classes.class_names[:5])}, ...) and has no path to other class "
                f"names ({', '.join(names[:5])}); use a method with a shared prompt such as coop"
            )
        other = type(self)(self.classes.for_classes(names), self.config)
        other.load_state_dict(self.state_dict())
        return other

    def begin(self, train: Features, validation: Features | None) -> None:
        """Look at the training features before the first step (caches, closed-form fits)."""
        return

    def on_epoch_end(self, epoch: int, epochs: int) -> None:
        """Called after each epoch, before the checkpoint."""
        return

    def on_fit_end(self) -> None:
        """Called once after the last epoch (for example, to load averaged prompts)."""
        return

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Optimiser groups; every group's ``lr`` is scaled by the schedule."""
        return [{"params": list(self.parameters()), "lr": lr}]

    def describe_config(self) -> dict[str, Any]:
        """The options as plain data."""
        return asdict(self.config)


LEARNERS: Registry[type[Learner]] = Registry("method", "vlmcal.learners")
