"""VPT: learned tokens in the image tower, text from a hand-written prompt."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

from torch import Tensor

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, Learner, Options, Side, Stream
from vlmcal.learners.deep_prompts import depth_of, require_pixels, token_sets
from vlmcal.learners.image_tokens import encode_image
from vlmcal.types.limits import Count


@LEARNERS.register("vpt")
class VPT(Learner):
    """n image tokens at the input of the first J blocks, N(0, 0.02^2) at the start; text is frozen.

    J = 1 is VPT-shallow, all blocks VPT-deep. There is no class head: images are compared with the frozen
    features of ``template`` as in the prompt-learning literature.

    Source: Jia et al., "Visual Prompt Tuning", ECCV 2022, arXiv 2203.12119; recipe for CLIP of the public
    code of MaPLe (8 tokens, all 12 blocks, lr 0.0025, batch 4, 5 epochs).
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"image"})
    consumes: Literal["features", "pixels"] = "pixels"
    tunes: frozenset[Side] = frozenset({"image"})
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 5, "batch_size": 4, "lr": 2.5e-3}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "vpt-deep8": {
            "train": default_train,
            "source": "MaPLe, configs/trainers/VPT/vit_b16_c2_ep5_batch4_4",
        },
        "vpt-shallow8": {
            "method": {"depth": 1},
            "train": default_train,
            "source": "MaPLe's VPT with prompt depth 1",
        },
    }

    class Config(Options):
        """Options of VPT.

        Attributes:
            n_tokens: n, image tokens per block.
            depth: J, blocks with tokens of their own, counting the input; None for all.
            template: Prompt of every class, with one {}; None for the data's own templates.
        """

        n_tokens: Count = 8
        depth: Count | None = None
        template: str | None = "a photo of a {}."

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder = self.encoder
        depth = depth_of(config.depth, encoder.image_layers, "vpt: depth")
        width = encoder.image_width
        self.image_prompts = token_sets(self, depth, config.n_tokens, width, generator)
        self._prompted = classes
        if config.template is not None:
            self._prompted = replace(classes, templates=(config.template,))

    def image_tokens(self) -> Mapping[int, Tensor]:
        """Tokens (n, d) by block."""
        return dict(enumerate(self.image_prompts))

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Frozen text features, (K, D), raw for a single template."""
        if len(self._prompted.templates) == 1:
            return self._prompted.raw_text_features
        return self._prompted.text_features

    def image_features(self, batch: Batch) -> Tensor:
        """Raw image features under the tokens, (B, D).

        Raises:
            SpecError: The batch has no pixels.
        """
        return encode_image(self.encoder, require_pixels(batch, self.name), self.image_tokens())
