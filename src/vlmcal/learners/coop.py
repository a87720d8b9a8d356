"""CoOp: context optimisation of the text prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Learner
from vlmcal.text_encoding import PromptLayout, encode_prompts


@LEARNERS.register("coop")
class CoOp(Learner):
    """M learned context tokens in front of (around, behind) the class name.

    The prompt of class c is [SOS] v_1 ... v_M name_c . [EOT]; the v_m (M, d) are shared by all classes, or
    (K, M, d) with ``class_specific``. They start from N(0, 0.02^2), or from the token embeddings of
    ``init`` ("a photo of a" gives M = 4). Logits are s * cos(f, t_c); everything but the context is frozen.

    Source: Zhou et al., "Learning to Prompt for Vision-Language Models", IJCV 2022, arXiv 2109.01134.
    """

    name: ClassVar[str] = "coop"
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "coop-ctx4-ep200": {
            "method": {"init": "a photo of a"},
            "train": {"epochs": 200},
            "source": "CoCoOp's base-to-new script (configs vit_b16_ctxv1)",
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
    }

    @dataclass(frozen=True)
    class Config:
        """Options of CoOp.

        Attributes:
            n_ctx: M, number of context tokens; ignored when ``init`` is given.
            init: Words whose embeddings start the context, or None for random.
            position: Where the class name stands.
            class_specific: One context per class; then no other class names can be used.
        """

        n_ctx: int = 16
        init: str | None = None
        position: Literal["end", "middle", "front"] = "end"
        class_specific: bool = False

    config: Config

    def __init__(
        self, classes: ClassContext, config: Config, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(classes, config, generator)
        start = self._initial_context(generator)
        self.layout = PromptLayout.build(
            self.encoder, classes.class_names, n_ctx=start.shape[-2], position=config.position
        )
        self.ctx = nn.Parameter(start)

    @property
    def per_class(self) -> bool:
        """True with class-specific context."""
        return self.config.class_specific

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw features of the prompted class names, (K, D)."""
        axis: Literal["class", "shared"] = "class" if self.config.class_specific else "shared"
        return encode_prompts(self.encoder, self.layout, self.ctx, context_axis=axis)

    def outlier_features(self, names: tuple[str, ...]) -> Tensor:
        """Raw features (O, D) of other names under the current context.

        Raises:
            SpecError: The context is class-specific, so it cannot be applied to other names.
        """
        if self.config.class_specific:
            raise SpecError("coop with class_specific context has no prompt for outlier names")
        layout = PromptLayout.build(
            self.encoder, names, n_ctx=self.ctx.shape[-2], position=self.config.position
        )
        return encode_prompts(self.encoder, layout, self.ctx, context_axis="shared")

    def _initial_context(self, generator: torch.Generator | None) -> Tensor:
        dtype, device = self.parameter_dtype, self.encoder.device
        if self.config.init:
            words = context_from_words(self.encoder, self.config.init)
            start = words.to(device, dtype)
        else:
            if self.config.n_ctx < 1:
                raise SpecError(f"coop: n_ctx must be at least 1, got {self.config.n_ctx}")
            shape = (self.config.n_ctx, self.encoder.text_width)
            if self.config.class_specific:
                shape = (len(self.classes.class_names), *shape)
            start = (0.02 * torch.randn(shape, generator=generator)).to(device, dtype)
        if self.config.class_specific and start.ndim == 2:
            start = start.expand(len(self.classes.class_names), -1, -1).clone()
        return start


def context_from_words(encoder: Any, words: str) -> Tensor:
    """Token embeddings (M, d) of a phrase without start and end tokens; underscores are spaces."""
    ids = encoder.tokenize([words.replace("_", " ")])[0]
    length = encoder.token_count(words.replace("_", " "))
    with torch.no_grad():
        return encoder.embed_tokens(ids[1 : 1 + length]).detach().clone()
