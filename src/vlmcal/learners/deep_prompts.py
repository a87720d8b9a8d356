"""What the methods with deep tokens on both towers share: the text side and the image side."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import SpecError
from vlmcal.learners.base import Batch, Learner, SharedPrompt, Side
from vlmcal.learners.image_tokens import encode_image
from vlmcal.learners.initial import initial_context, normal_tokens, split_words
from vlmcal.text_encoding import PromptLayout, encode_prompts


def require_pixels(batch: Batch, by: str) -> Tensor:
    """Pixels (B, 3, H, W) of a batch.

    Raises:
        SpecError: The run gives features only.
    """
    if batch.pixels is None:
        raise SpecError(
            f'"{by}" changes the image tower and needs pixels, but this run gives cached features only; '
            "train and predict with a pixel source (vlmcal.training.pixels)"
        )
    return batch.pixels


def depth_of(depth: int | None, layers: int, what: str) -> int:
    """Number J of blocks with tokens of their own, counting the input; None means every block.

    Raises:
        SpecError: The tower has fewer blocks.

    Example:
        >>> depth_of(9, 12, "ivlp: text_depth"), depth_of(None, 12, "vpt: depth")
        (9, 12)
    """
    depth = layers if depth is None else depth
    if not 1 <= depth <= layers:
        raise SpecError(f"{what} must be 1 to {layers} for this backbone, got {depth}")
    return depth


def text_prompt(
    encoder: DualEncoder,
    init: str | None,
    n_ctx: int,
    dtype: torch.dtype,
    generator: torch.Generator | None,
    by: str,
) -> tuple[Tensor, str]:
    """Context (M, d) from the first M tokens of ``init``, and the words of it that stay fixed.

    "a photo of a" with M = 2 learns "a photo" and keeps "of a". Without words the context is random.

    Raises:
        SpecError: The words cannot be cut after M tokens.
    """
    if not init:
        return initial_context(encoder, None, n_ctx, dtype, generator), ""
    learned, fixed = split_words(encoder, init, n_ctx, by)
    return initial_context(encoder, learned, n_ctx, dtype, generator), fixed


def token_sets(
    learner: Learner, count: int, n: int, width: int, generator: torch.Generator | None
) -> nn.ParameterList:
    """``count`` sets of learned tokens (n, width) from N(0, 0.02^2), one per block."""
    stream = torch.Generator() if generator is None else generator
    drawn = [normal_tokens(n, width, generator=stream).detach() for _ in range(count)]
    place = learner.encoder.device, learner.parameter_dtype
    return nn.ParameterList([nn.Parameter(tokens.to(*place)) for tokens in drawn])


class DeepPrompts(Learner):
    """A shared text context with deeper text tokens, and image tokens at several depths.

    Before text block i >= 1 positions 1 .. n are replaced by that block's own tokens; image tokens follow
    the patches and are replaced in the same way. Those of the image come from the subclass, as free tensors
    or computed.
    """

    consumes: Literal["features", "pixels"] = "pixels"
    tunes: frozenset[Side] = frozenset({"text", "image"})
    opened: ClassVar[frozenset[Side]] = frozenset({"text", "image"})

    ctx: nn.Parameter
    text_deep: nn.ParameterList
    layout: PromptLayout

    def start_text(self, n_ctx: int, init: str | None, generator: torch.Generator | None) -> None:
        """Set up the context and the prompts of the class names."""
        start, self.prefix = text_prompt(
            self.encoder, init, n_ctx, self.parameter_dtype, generator, self.name
        )
        self.ctx = nn.Parameter(start)
        self.layout = self._layout(self.classes.class_names)

    def _layout(self, names: Sequence[str]) -> PromptLayout:
        return PromptLayout.build(self.encoder, names, n_ctx=len(self.ctx), prefix=self.prefix)

    def text_tokens(self) -> Mapping[int, Tensor]:
        """Tokens (n, d) by text block, from block 1 on."""
        return dict(enumerate(self.text_deep, 1))

    @abstractmethod
    def image_tokens(self) -> Mapping[int, Tensor]:
        """Tokens (n, d) by image block, from block 0 on."""

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw features of the prompted class names, (K, D)."""
        return encode_prompts(self.encoder, self.layout, self.ctx, deep=self.text_tokens())

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """Raw features (O, D) of other names under the current prompt."""
        layout = self._layout(names)
        return encode_prompts(self.encoder, layout, self.ctx, deep=self.text_tokens())

    def shared_prompt(self) -> SharedPrompt:
        """The context at the input; the deeper text tokens stay as they are."""

        def encode(tokens: Tensor) -> Tensor:
            deep = self.text_tokens()
            return encode_prompts(
                self.encoder, self.layout, tokens, context_axis="image", deep=deep
            )

        return SharedPrompt(self.ctx, self.layout, encode)

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features under the image tokens, (B, D).

        Raises:
            SpecError: The batch has no pixels.
        """
        tokens = self.image_tokens()
        if not tokens:
            return batch.image_features
        return encode_image(self.encoder, require_pixels(batch, self.name), tokens)
