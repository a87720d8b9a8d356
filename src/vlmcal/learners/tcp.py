"""TCP: class-aware prompt tokens made from the class's own zero-shot text feature."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Learner, Options, Side, Stream, TokenCount
from vlmcal.learners.initial import initial_context, seeded_linear
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.types.limits import Count, Whole


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), CLIP's activation."""

    def forward(self, x: Tensor) -> Tensor:
        """Apply it element by element."""
        return x * torch.sigmoid(1.702 * x)


@LEARNERS.register("tcp")
class TCP(Learner):
    """A shared context at the input, and class-aware tokens that replace it before a deep block.

    V_c = W_2 QuickGELU(W_1 f_c), reshaped to (M, d), from the frozen normalised text feature f_c of class c;
    before block ``layer`` (counted from 0) positions 1 .. M of class c are replaced by V_c. Trained on
    CE + 8 (1 - mean cos(t_c, f_c)).

    Source: Yao et al., "TCP: Textual-based Class-aware Prompt Tuning for Visual-Language Model", CVPR 2024,
    arXiv 2311.18231; recipe of the public code (Adam, eps 1e-3, batch 32, 50 epochs).
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"text"})
    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "kgcoop")
    default_train: ClassVar[Mapping[str, Any]] = {"optimiser": "adam", "eps": 1e-3}
    small: ClassVar[Mapping[str, Any]] = {"layer": 1}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tcp-ep50-b32": {
            "train": {"epochs": 50, "batch_size": 32, "optimiser": "adam", "eps": 1e-3},
            "source": "TCP's scripts (SUN397 and ImageNet: stopped after 25 epochs)",
        }
    }

    class Config(Options):
        """Options of TCP.

        Attributes:
            n_ctx: M, number of context tokens and of class-aware tokens; ignored when ``init`` is given.
            init: Words whose embeddings start the context, or None for random.
            prefix: Fixed words between the context and the class name ("person doing").
            suffix: Fixed text after the class name (", a type of pet.").
            layer: Block before which the class-aware tokens enter, counted from 0.
            reduction: Factor by which the hidden layer is narrower than the joint space.
        """

        n_ctx: TokenCount = 4
        init: str | None = None
        prefix: str = ""
        suffix: str = "."
        layer: Whole = 8
        reduction: Count = 4

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder = self.encoder
        if not 1 <= config.layer < encoder.text_layers:
            raise SpecError(
                f"tcp: layer must be 1 to {encoder.text_layers - 1} for this backbone, got {config.layer}"
            )
        start = initial_context(encoder, config.init, config.n_ctx, self.parameter_dtype, generator)
        self.ctx = nn.Parameter(start)
        self.layout = self._layout(classes.class_names)
        hidden = max(1, encoder.embed_dim // config.reduction)
        self.meta_net = nn.Sequential(
            seeded_linear(encoder.embed_dim, hidden, generator),
            QuickGELU(),
            seeded_linear(hidden, len(start) * encoder.text_width, generator),
        ).to(encoder.device, self.parameter_dtype)

    def _layout(self, names: Sequence[str]) -> PromptLayout:
        config = self.config
        return PromptLayout.build(
            self.encoder, names, n_ctx=len(self.ctx), prefix=config.prefix, suffix=config.suffix
        )

    def class_tokens(self, frozen: Tensor | None = None) -> Tensor:
        """Class-aware tokens V, (K, M, d), from zero-shot text features (K, D)."""
        frozen = self.classes.text_features if frozen is None else frozen
        tokens: Tensor = self.meta_net(frozen.to(self.parameter_dtype))
        return tokens.reshape(len(frozen), len(self.ctx), -1)

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw features of the prompted class names, (K, D)."""
        deep = {self.config.layer: self.class_tokens()}
        return encode_prompts(self.encoder, self.layout, self.ctx, deep=deep)

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """Raw features (O, D) of other names under the current context and their own class tokens."""
        frozen = self.classes.for_classes(names).text_features
        deep = {self.config.layer: self.class_tokens(frozen)}
        return encode_prompts(self.encoder, self._layout(names), self.ctx, deep=deep)
