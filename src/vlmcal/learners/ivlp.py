"""IVLP: independent learned tokens in both towers."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from vlmcal.learners.base import LEARNERS, ClassContext, Options, Side, Stream, TokenCount
from vlmcal.learners.deep_prompts import DeepPrompts, depth_of, token_sets
from vlmcal.types.limits import Count, Tokens


@LEARNERS.register("ivlp")
class IVLP(DeepPrompts):
    """A text context with deeper text tokens and, independent of them, image tokens; all are free.

    The context starts from the first words of ``init``, everything else from N(0, 0.02^2). With
    ``n_image: 0`` only the text side is prompted and cached image features suffice.

    Source: the independent vision-language baseline of Khattak et al., "MaPLe: Multi-modal Prompt
    Learning", CVPR 2023, arXiv 2210.03117.
    """

    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 5, "batch_size": 4, "lr": 3.5e-3}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "ivlp-ep5": {
            "train": default_train,
            "source": "MaPLe, configs/trainers/IVLP (2 + 2 tokens, all blocks)",
        },
        "ivlp-ep20": {
            "method": {"n_ctx": 4, "n_image": 4, "text_depth": 9, "image_depth": 9},
            "train": {"epochs": 20, "batch_size": 4, "lr": 2.5e-3},
            "source": "PromptSRC, configs/trainers/IVLP (4 + 4 tokens)",
        },
    }

    class Config(Options):
        """Options of independent prompting.

        Attributes:
            n_ctx: Text tokens per block.
            n_image: Image tokens per block; 0 leaves the image tower alone.
            init: Words whose first tokens start the context, the others stay; None for random.
            text_depth: Text blocks with tokens of their own, counting the input; None for all.
            image_depth: Image blocks with tokens of their own, counting the input; None for all.
        """

        n_ctx: TokenCount = 2
        n_image: Tokens = 2
        init: str | None = "a photo of a"
        text_depth: Count | None = None
        image_depth: Count | None = None

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder, name = self.encoder, self.name
        text = depth_of(config.text_depth, encoder.text_layers, f"{name}: text_depth")
        image = 0
        if config.n_image:
            image = depth_of(config.image_depth, encoder.image_layers, f"{name}: image_depth")
        self.start_text(config.n_ctx, config.init, generator)
        self.text_deep = token_sets(self, text - 1, config.n_ctx, encoder.text_width, generator)
        self.image_prompts = token_sets(self, image, config.n_image, encoder.image_width, generator)
        if not image:
            self.consumes, self.tunes = "features", frozenset({"text"})

    @classmethod
    def opens(cls, config: Any) -> frozenset[Side]:
        """Both towers, or the text tower alone without image tokens."""
        return cls.opened if config.n_image else frozenset({"text"})

    def image_tokens(self) -> Mapping[int, Tensor]:
        """Tokens (n, d) by image block."""
        return dict(enumerate(self.image_prompts))
