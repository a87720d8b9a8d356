"""DePT: another prompt method with a linear head beside its similarities."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Head, Learner, Stream
from vlmcal.learners.initial import seeded_linear
from vlmcal.learners.wrapped import Around
from vlmcal.types.limits import Positive, Share
from vlmcal.types.outputs import Outputs


class FiLM(nn.Module):
    """scale * x + bias per channel, the identity at the start."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width))
        self.bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply it to raw features (..., D)."""
        return self.scale * x + self.bias


@LEARNERS.register("dept")
class DePT(Around):
    """Decoupled prompt tuning around the method ``base``: channel-wise maps and a linear head.

    Training adds a head Linear(D, K) on FiLM_i(f) for images and on FiLM_t(t_y) for the text features of
    their labels, all raw: 0.3 CE(similarities) + 0.7 CE(head), the objectives ``ce`` and ``dept``. The
    prediction for trained classes is 0.3 similarities + 0.7 head logits; other names use the
    similarities alone. Head and maps learn ``factor`` times faster.

    With ``base: kgcoop`` the authors add its term with weight 2, as the preset ``dept-kgcoop`` does; the
    options alone do not.

    Source: Zhang et al., "DePT: Decoupled Prompt Tuning", CVPR 2024, arXiv 2309.07439; recipe of the
    public code (lr 0.0035, batch 4, 10 epochs; cocoop: 0.002, batch 1).
    """

    unsuited: ClassVar[str] = (
        'cannot wrap "{}"; choose a trained method with one text feature per class, such as coop, kgcoop, '
        "cocoop or maple"
    )
    default_objective: ClassVar[tuple[Any, ...]] = ({"name": "ce", "weight": 0.3}, "dept")
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 10, "batch_size": 4, "lr": 3.5e-3}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "dept-coop": {"train": default_train, "source": "DePT on CoOp (16 random tokens)"},
        "dept-kgcoop": {
            "method": {"base": "kgcoop"},
            "train": default_train,
            "objective": [{"name": "ce", "weight": 0.3}, "dept", {"name": "kgcoop", "weight": 2}],
            "source": "DePT on KgCoOp",
        },
        "dept-cocoop": {
            "method": {"base": "cocoop"},
            "train": {"epochs": 10, "batch_size": 1, "lr": 2e-3},
            "source": "DePT on CoCoOp",
        },
        "dept-maple": {
            "method": {"base": "maple"},
            "train": default_train,
            "source": "DePT on MaPLe",
        },
    }

    class Config(Around.Config):
        """Options of DePT.

        Attributes:
            base: The wrapped method.
            options: Its options.
            share: Weight of the head in predictions for trained classes; of the similarities 1 - share.
            factor: Learning rate of head and maps over that of the base.
        """

        share: Share = 0.7
        factor: Positive = 6.5

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.tunes |= {"head"}
        self.provides |= {"head_logits", "head_labels"}
        self.trained_names = classes.class_names
        self._add_head(len(classes.class_names), generator)

    @classmethod
    def takes(cls, kind: type[Learner]) -> bool:
        """Any trained method with one text feature per class, but itself."""
        one = "prompt_text_features" not in kind.provides
        return kind is not DePT and kind.trainable and one

    def _add_head(self, rows: int, generator: torch.Generator | None) -> None:
        width, place = self.encoder.embed_dim, (self.encoder.device, self.parameter_dtype)
        self.film_image, self.film_text = FiLM(width).to(*place), FiLM(width).to(*place)
        self.head = seeded_linear(width, rows, generator).to(*place)

    @property
    def frozen_text_features(self) -> Tensor:
        """Those of the wrapped method."""
        return self.base.frozen_text_features

    @property
    def frozen_template_features(self) -> Tensor:
        """Those of the wrapped method."""
        return self.base.frozen_template_features

    def outputs(self, batch: Batch) -> Outputs:
        """The wrapped method's, with the head's logits for label texts and images, (2B, K)."""
        outputs = self.base.outputs(batch)
        text, image = outputs.raw_text_features, outputs.raw_image_features
        assert text is not None
        assert image is not None
        rows = torch.arange(len(batch.labels), device=batch.labels.device)
        own = text[rows, batch.labels] if self.text_depends_on_image else text[batch.labels]
        both = torch.cat([self.film_text(own), self.film_image(image)])
        outputs.head_logits = self.head(both)
        outputs.head_labels = torch.cat([batch.labels, batch.labels])
        outputs.parameters = dict(self.named_parameters())
        return outputs

    def logits(self, raw_image: Tensor, text: Tensor | None) -> Tensor:
        """Similarities, fused with the head where all classes were trained."""
        similar = self.base.logits(raw_image, text)
        rows = self.head_rows()
        if rows is None:
            return similar
        linear = self.head_logits(raw_image)[:, rows]
        return (1 - self.config.share) * similar + self.config.share * linear

    def head_logits(self, raw_image: Tensor) -> Tensor:
        """The head's logits of raw image features (B, D) for all trained classes."""
        logits: Tensor = self.head(self.film_image(raw_image.to(self.parameter_dtype)))
        return logits

    def head_rows(self) -> list[int] | None:
        """Rows of the head for the current names; None if some were not trained."""
        place = {name: row for row, name in enumerate(self.trained_names)}
        names = self.classes.class_names
        return [place[name] for name in names] if set(names) <= set(place) else None

    def linear_head(self) -> Head:
        """The wrapped method's head, where the names are others than the trained ones.

        Raises:
            SpecError: Predictions are fused with a head on raw features.
        """
        if self.head_rows() is None:
            return self.base.linear_head()
        raise SpecError(
            '"dept" has no linear head: for trained classes it adds a head on raw features to '
            "similarities of normalised ones"
        )

    def for_classes(self, class_names: Sequence[str]) -> Self:
        """The same learned tensors with other names; the head keeps its rows of the trained classes.

        Raises:
            SpecError: The wrapped method's parameters belong to its classes.
        """
        names = tuple(class_names)
        if names == self.classes.class_names or self.per_class:
            return super().for_classes(names)
        other = type(self)(self.classes.for_classes(names), self.config)
        other.trained_names = self.trained_names
        other._add_head(len(self.trained_names), None)
        other.load_state_dict(self.state_dict())
        return other.train(self.training)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """The wrapped method's groups, then maps and head at ``factor`` times the rate."""
        own = [*self.film_image.parameters(), *self.film_text.parameters(), *self.head.parameters()]
        return [*self.base.parameter_groups(lr), {"params": own, "lr": self.config.factor * lr}]
