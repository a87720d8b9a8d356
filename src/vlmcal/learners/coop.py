"""CoOp: context optimisation of the text prompt."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import DualEncoder
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
        start = self._start(generator)
        self.layout = PromptLayout.build(
            self.encoder, classes.class_names, n_ctx=start.shape[-2], position=config.position
        )
        self.ctx = nn.Parameter(start)

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


def initial_context(
    encoder: DualEncoder,
    init: str | None,
    n_ctx: int,
    dtype: torch.dtype,
    generator: torch.Generator | None,
    *,
    n_classes: int | None = None,
) -> Tensor:
    """Context to start from: the embeddings of ``init``, or N(0, 0.02^2); (M, d) or (K, M, d).

    Raises:
        SpecError: Neither words nor a positive number of tokens.
    """
    if init:
        start = context_from_words(encoder, init).to(encoder.device, dtype)
        return start if n_classes is None else start.expand(n_classes, -1, -1).clone()
    if n_ctx < 1:
        raise SpecError(f"n_ctx must be at least 1, got {n_ctx}")
    shape = (
        (n_ctx, encoder.text_width) if n_classes is None else (n_classes, n_ctx, encoder.text_width)
    )
    return (0.02 * torch.randn(shape, generator=generator)).to(encoder.device, dtype)


def context_from_words(encoder: DualEncoder, words: str) -> Tensor:
    """Token embeddings (M, d) of a phrase without start and end tokens; underscores are spaces."""
    (ids,) = encoder.token_ids([words.replace("_", " ")])
    with torch.no_grad():
        return encoder.embed_tokens(torch.tensor(ids)).detach().clone()
