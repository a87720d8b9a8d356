"""CoOp: context optimisation of the text prompt."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vlmcal.learners.base import (
    LEARNERS,
    ClassContext,
    Learner,
    Options,
    SharedPrompt,
    Side,
    StackedPrompt,
    Stream,
    TokenCount,
)
from vlmcal.learners.initial import initial_context
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.text_encoding.encode import ContextAxis
from vlmcal.text_encoding.layout import Position


@LEARNERS.register("coop")
class CoOp(Learner):
    """M learned context tokens in front of (around, behind) the class name.

    The prompt of class c is [SOS] v_1 ... v_M name_c . [EOT]; the v_m (M, d) are shared by all classes, or
    (K, M, d) with ``class_specific``. They start from N(0, 0.02^2), or from the token embeddings of
    ``init`` ("a photo of a" gives M = 4). Logits are s * cos(f, t_c); everything but the context is frozen.

    Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, arXiv 2109.01134.
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"text"})
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "coop-ctx4-ep200": {
            "method": {"init": "a photo of a"},
            "train": {"epochs": 200},
            "source": "CoCoOp's base-to-new script (configs vit_b16_ctxv1; ImageNet: 50 epochs)",
        },
        "coop-ctx16-ep200": {
            "method": {"n_ctx": 16},
            "train": {"epochs": 200},
            "source": "DAC, vit_b16_c16_ep200_batch32",
        },
        "coop-ctx16-ep50": {
            "method": {"n_ctx": 16, "position": "middle"},
            "train": {"epochs": 50},
            "source": "TCPT, vit_b16_ep50",
        },
        "coop-dept-ep10": {
            "method": {"n_ctx": 16},
            "train": {"epochs": 10, "batch_size": 4, "lr": 3.5e-3},
            "source": "CoOp as run by DePT",
        },
    }

    class Config(Options):
        """Options of CoOp.

        Attributes:
            n_ctx: M, number of context tokens; ignored when ``init`` is given.
            init: Words whose embeddings start the context, or None for random.
            position: Where the class name stands.
            class_specific: One context per class; then no other class names can be used.
            prefix: Fixed words directly before the class name.
        """

        n_ctx: TokenCount = 16
        init: str | None = None
        position: Position = "end"
        class_specific: bool = False
        prefix: str = ""

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        self.per_class = config.class_specific
        self.ctx = nn.Parameter(self._start(generator))
        self.layout = self._layout(classes.class_names)

    def _start(self, generator: torch.Generator | None) -> Tensor:
        classes = len(self.classes.class_names) if self.config.class_specific else None
        return initial_context(
            self.encoder,
            self.config.init,
            self.config.n_ctx,
            self.parameter_dtype,
            generator,
            n_classes=classes,
        )

    def _layout(self, names: Sequence[str]) -> PromptLayout:
        return PromptLayout.build(
            self.encoder,
            names,
            n_ctx=self.ctx.shape[-2],
            position=self.config.position,
            prefix=self.config.prefix,
        )

    @property
    def encodes_other_names(self) -> bool:
        """True unless the context is class-specific."""
        return not self.config.class_specific

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw features of the prompted class names, (K, D)."""
        axis: ContextAxis = "class" if self.config.class_specific else "shared"
        return encode_prompts(self.encoder, self.layout, self.ctx, context_axis=axis)

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """Raw features (O, D) of other names under the current context.

        Raises:
            SpecError: The context is class-specific, so it cannot be applied to other names.
        """
        if self.config.class_specific:
            return super().outlier_features(names)
        return encode_prompts(self.encoder, self._layout(names), self.ctx)

    def shared_prompt(self) -> SharedPrompt:
        """The context with the prompts of the class names.

        Raises:
            SpecError: The context is class-specific.
        """
        if self.config.class_specific:
            return super().shared_prompt()

        def encode(tokens: Tensor) -> Tensor:
            return encode_prompts(self.encoder, self.layout, tokens, context_axis="image")

        return SharedPrompt(self.ctx, self.layout, encode)

    def stacked_prompt(self) -> StackedPrompt | None:
        """The shared context, unless a subclass makes its text features in another way."""
        kind = type(self)
        made_here = kind.text_features is CoOp.text_features and kind.outputs is Learner.outputs
        if not made_here or self.config.class_specific:
            return None
        return StackedPrompt(self.encoder, self.layout, self.ctx)
