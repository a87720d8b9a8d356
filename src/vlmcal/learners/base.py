"""What a learner is: trainable tensors on a frozen dual encoder, and how they change its features."""

from abc import ABC
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import (
    Annotated,
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    TypeAlias,
    dataclass_transform,
)

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import SpecError
from vlmcal.learners.classes import ClassContext as ClassContext
from vlmcal.learners.open_towers import require_open
from vlmcal.options import check_fields
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.text_encoding import PromptLayout
from vlmcal.types.features import Features
from vlmcal.types.outputs import Outputs

Side = Literal["text", "image", "head"]
Stream: TypeAlias = torch.Generator | None
"""Random numbers that first values are drawn from; None for the same ones each time."""

# No text tower reads more words; what one has room for is checked where the learner meets it.
TokenCount = Annotated[int, Field(ge=1, le=512)]


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class Options:
    """Base of the options of a method: every field has its declared type and lies within its limits."""

    def __post_init__(self) -> None:
        check_fields(self, "method options")


@dataclass(kw_only=True)
class Batch:
    """Inputs of one step.

    Attributes:
        image_features: (B, D) raw features of the frozen encoder on this step's views.
        labels: (B,) int64.
        sample_index: (B,) rows of the training set.
        view: Number of the view that the batch shows, where it comes from a bank.
        pixels: (B, 3, H, W) of the same views, for learners that change the image tower.
        second_pixels: (B, 3, H, W) of another view of the same images, where asked for.
        second_image_features: (B, D) raw frozen features of another view, where asked for.
        text_features: (K, D) raw text features of the current prompt, where they are known already.
        step: Number of the step, counted from 0.
        seed: Seed of the run, for learners that sample.
    """

    image_features: Tensor
    labels: Tensor
    sample_index: Tensor | None = None
    view: int | None = None
    pixels: Tensor | None = None
    second_pixels: Tensor | None = None
    second_image_features: Tensor | None = None
    text_features: Tensor | None = None
    step: int = 0
    seed: int | None = None


class Head(NamedTuple):
    """A classifier that needs no text tower: z = scale * (W f / |f|) + b on frozen image features.

    Attributes:
        weight: W, (K, D).
        bias: b, (K,).
        scale: The factor s.
    """

    weight: Tensor
    bias: Tensor
    scale: float


class SharedPrompt(NamedTuple):
    """A prompt that all images and classes share, so that each image can go on from it.

    Attributes:
        context: Its learned tokens (M, d).
        layout: The K prompts that they stand in.
        encode: Raw text features (B, K, D) with other tokens (B, M, d), one set for each of B images.
    """

    context: Tensor
    layout: PromptLayout
    encode: Callable[[Tensor], Tensor]


class StackedPrompt(NamedTuple):
    """A prompt whose encoding alone makes the text features, so that runs may encode theirs in one pass.

    Attributes:
        encoder: Encodes it.
        layout: The K prompts.
        context: Learned tokens (M, d) that stand in them.
    """

    encoder: DualEncoder
    layout: PromptLayout
    context: Tensor


class Learner(nn.Module, ABC):
    """Trainable tensors (the only parameters of the module) and the features they produce.

    A subclass lives in a file named after its method, is registered with ``@LEARNERS.register``, and has a
    class ``Config`` for its options, which is made a frozen dataclass. It owns no loop, no optimiser and no
    copy of the encoder.

    Attributes:
        name: Registry name.
        consumes: "features" when cached image features suffice, "pixels" when the image tower changes.
        trainable: False for methods without any training step.
        tunes: What training moves: features of one side, or only what turns them into logits ("head").
            An objective that reads nothing of it would be a constant and is refused.
        text_depends_on_image: Text features are (B, K, D) instead of (K, D).
        per_class: Parameters belong to particular classes, so that no other names can be used.
        provides: Fields of ``Outputs`` beyond the common ones that it fills.
        default_objective: What is trained on when the user names no objective.
        default_train: Training settings of the published recipe that differ from the shared one.
        opened: Towers into which the method puts tokens or maps ("text", "image"); see :meth:`opens`.
        similarity_scores: Logits are :meth:`scores`, so that a sigmoid model's may be read by sigmoids.
        told: Options that tables name at their default, too, as those of a curve.
        ignores: Axes of an experiment that cannot change its result ("shots", "seed", "objective", "train").
        small: Options with which it fits towers of two blocks and a handful of images, for the tests.
        presets: Published settings by name: "method" options, "train" settings, the "objective" where it
            is not the default one, and their "source".
    """

    # Not class variables, because options (or the wrapped method of dept) may decide them.
    consumes: Literal["features", "pixels"] = "features"
    tunes: frozenset[Side] = frozenset({"text"})
    text_depends_on_image: bool = False
    per_class: bool = False
    provides: frozenset[str] = frozenset()

    name: ClassVar[str]
    trainable: ClassVar[bool] = True
    default_objective: ClassVar[tuple[Any, ...]] = ("ce",)
    default_train: ClassVar[Mapping[str, Any]] = {}
    opened: ClassVar[frozenset[Side]] = frozenset()
    similarity_scores: ClassVar[bool] = True
    ignores: ClassVar[frozenset[str]] = frozenset()
    small: ClassVar[Mapping[str, Any]] = {}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    told: ClassVar[tuple[str, ...]] = ()

    @dataclass(frozen=True)
    class Config(Options):
        """Options of the learner."""

    def __init_subclass__(cls) -> None:
        """Makes a frozen dataclass of the options, where they are none yet."""
        own = vars(cls).get("Config")
        if own is not None and "__dataclass_fields__" not in vars(own):
            dataclass(frozen=True)(own)

    def __init__(self, classes: ClassContext, config: Any, generator: Stream = None) -> None:
        super().__init__()
        require_open(classes.encoder, self.opens(config), self.name)
        if classes.encoder.scores != "softmax" and not self.similarity_scores:
            raise SpecError(
                f'"{self.name}" makes its scores in its own way, so they cannot be read as '
                f"{classes.encoder.scores} of {classes.encoder.name}; leave out scores=..."
            )
        self.classes = classes
        self.config = config

    @classmethod
    def opens(cls, config: Any) -> frozenset[Side]:
        """Towers that the method changes from within under these options."""
        return cls.opened

    @classmethod
    def trained_as(cls, config: Any) -> dict[str, Any] | None:
        """The method, with its options, whose trained run this one predicts with; None where it trains."""
        return None

    def take(self, trained: "Learner") -> None:
        """Take over from a trained learner of the method that :meth:`trained_as` names."""
        raise NotImplementedError

    @property
    def encoder(self) -> DualEncoder:
        """The frozen dual encoder."""
        return self.classes.encoder

    @property
    def logit_scale(self) -> Tensor:
        """The factor s on cosine similarities, a 0-d tensor."""
        return self.encoder.logit_scale

    @property
    def parameter_dtype(self) -> torch.dtype:
        """Type of learned tensors: float32, or float64 with a float64 encoder."""
        return torch.promote_types(self.encoder.dtype, torch.float32)

    @property
    def encodes_other_names(self) -> bool:
        """Whether :meth:`outlier_features` works: the prompt is shared by all classes and images."""
        return type(self).outlier_features is not Learner.outlier_features

    @property
    def frozen_text_features(self) -> Tensor:
        """Zero-shot text features (K, D) that objectives hold the tuned ones against, normalised."""
        return self.classes.text_features

    @property
    def frozen_template_features(self) -> Tensor:
        """Zero-shot text features (T, K, D), one per template, normalised."""
        return self.classes.template_features

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw text features (K, D), or (B, K, D) given normalised image features (B, D).

        Those of the zero-shot prompts, where the method changes no text.
        """
        return self.classes.text_features

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features (B, D) of the tuned model."""
        return batch.image_features

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """Raw text features (O, D) of other names under the current prompt.

        Raises:
            SpecError: The prompt depends on classes or images, or there is none.
        """
        raise SpecError(
            f'"{self.name}" has no prompt that applies to other names; objectives on outlier words '
            "need a context shared by all classes, such as coop's"
        )

    def shared_prompt(self) -> SharedPrompt:
        """The learned context, where all images and classes share it.

        Raises:
            SpecError: They do not, or there is none.
        """
        raise SpecError(
            f'"{self.name}" has no learned context that all images and classes share, so that no image can '
            "go on from it; use one such as coop's or maple's"
        )

    def stacked_prompt(self) -> StackedPrompt | None:
        """What other runs may encode along with theirs; None where text features are made otherwise."""
        return None

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Logits (B, K) = s * <image, text> from normalised features.

        Of a backbone with ``scores="sigmoid"``, log sigmoid(s * <image, text> + b): their softmax is the
        independent sigmoids, brought to sum one.
        """
        scale = self.logit_scale.to(image.dtype)
        if text.ndim == 3:
            similar = scale * torch.einsum("bd,bkd->bk", image, text)
        else:
            similar = scale * image @ text.T
        if self.encoder.scores == "softmax":
            return similar
        return logsigmoid(similar + (self.encoder.logit_bias or 0.0))

    def outputs(self, batch: Batch) -> Outputs:
        """Everything one step offers to objectives, except what the run adds."""
        raw_image = self.image_features(batch).to(self.parameter_dtype)
        image = normalize(raw_image, dim=-1)
        raw_text = batch.text_features
        if raw_text is None:
            raw_text = self.text_features(image if self.text_depends_on_image else None)
        raw_text = raw_text.to(self.parameter_dtype)
        text = normalize(raw_text, dim=-1)
        return self.offered(
            batch,
            raw_image,
            image,
            logits=self.scores(image, text),
            text_features=text,
            raw_text_features=raw_text,
        )

    def offered(self, batch: Batch, raw_image: Tensor, image: Tensor, **found: Tensor) -> Outputs:
        """What every step offers, from image features (B, D) raw and normalised, with what was ``found``."""
        common: dict[str, Any] = {
            "labels": batch.labels,
            "image_features": image,
            "raw_image_features": raw_image,
            "logit_scale": self.logit_scale,
            "sample_index": batch.sample_index,
            "class_names": self.classes.class_names,
            "parameters": dict(self.named_parameters()),
        }
        return Outputs(**{**common, **found})

    def classifier(self, image_features: Tensor | None = None) -> Tensor:
        """What images are compared with at prediction: (K, D), or (B, K, D) given (B, D)."""
        return normalize(self.text_features(image_features).to(self.parameter_dtype), dim=-1)

    def predict(self, batches: Iterable[Batch]) -> Tensor:
        """Evaluation logits (N, K) over batches; text is encoded once for the whole list."""
        return self.predict_with_features(batches)[0]

    @torch.no_grad()
    def predict_with_features(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor]:
        """Evaluation logits (N, K), and normalised image features (N, D) of the tuned model."""
        fixed = None if self.text_depends_on_image else self.classifier()
        logits, features = [], []
        for batch in batches:
            raw = self.image_features(batch)
            logits.append(self.logits(raw, fixed))
            features.append(normalize(raw.to(self.parameter_dtype), dim=-1))
        return torch.cat(logits), torch.cat(features)

    def logits(self, raw_image: Tensor, text: Tensor | None) -> Tensor:
        """Evaluation logits (B, K) of raw image features (B, D); ``text`` where images share it."""
        image = normalize(raw_image.to(self.parameter_dtype), dim=-1)
        return self.scores(image, self.classifier(image) if text is None else text)

    def signals(self, image: Tensor) -> dict[str, Tensor]:
        """What is known of images beside their logits, (N,) each, from normalised features (N, D)."""
        return {}

    @torch.no_grad()
    def linear_head(self) -> Head:
        """The trained classifier as one matrix on frozen image features.

        Raises:
            SpecError: Predictions are no linear function of normalised frozen image features.
        """
        reason = None
        if self.consumes == "pixels":
            reason = "it changes the image tower"
        elif self.text_depends_on_image:
            reason = "its text features depend on the image"
        elif type(self).image_features is not Learner.image_features:
            reason = "it changes the image features"
        elif self.encoder.scores != "softmax":
            reason = "its scores are sigmoids"
        elif type(self).scores is not Learner.scores or type(self).logits is not Learner.logits:
            reason = "its logits are more than inner products"
        if reason is not None:
            raise SpecError(f'"{self.name}" has no linear head: {reason}')
        weight = self.classifier()
        return Head(weight, weight.new_zeros(len(weight)), float(self.encoder.logit_scale))

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
        return other.train(self.training)

    def begin(self, train: Features, validation: Features | None) -> None:
        """Look at the training features before the first step (caches, closed-form fits)."""
        return

    def on_step_end(self, step: int, total_steps: int) -> None:
        """Called after each step of the optimiser."""
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


LEARNERS: Registry[type[Learner]] = Registry(
    "method", "vlmcal.learners", subclass_of(Learner), "a subclass of Learner"
)
