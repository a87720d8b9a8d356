"""CoCoOp: a context that is shifted by the image."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Learner, Options, Side, Stream, TokenCount
from vlmcal.learners.initial import initial_context, seeded_linear
from vlmcal.text_encoding import PromptLayout, encode_prompts
from vlmcal.types.limits import Count


@LEARNERS.register("cocoop")
class CoCoOp(Learner):
    """Context tokens v_m + h(f_b), with a two-layer network h on the normalised image feature.

    h is Linear(D, D // 16), ReLU, Linear(D // 16, d), with biases. Every image has its own prompts, so
    text features are (B, K, D); the prefix is shared by all classes of an image.

    Source: Zhou et al., "Conditional Prompt Learning for Vision-Language Models", CVPR 2022, arXiv
    2203.05557; recipe of the public code (batch 1, 10 epochs).
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"text"})
    text_depends_on_image: bool = True
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 10, "batch_size": 1}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "cocoop-ctx4-ep10-b1": {
            "train": default_train,
            "source": "CoCoOp, vit_b16_c4_ep10_batch1_ctxv1",
        }
    }

    class Config(Options):
        """Options of CoCoOp.

        Attributes:
            n_ctx: M, number of context tokens; ignored when ``init`` is given.
            init: Words whose embeddings start the context, or None for random.
            reduction: Factor by which the hidden layer is narrower than the joint space.
        """

        n_ctx: TokenCount = 4
        init: str | None = "a photo of a"
        reduction: Count = 16

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        encoder = self.encoder
        start = initial_context(encoder, config.init, config.n_ctx, self.parameter_dtype, generator)
        self.layout = PromptLayout.build(encoder, classes.class_names, n_ctx=len(start))
        self.ctx = nn.Parameter(start)
        hidden = max(1, encoder.embed_dim // config.reduction)
        self.meta_net = nn.Sequential(
            seeded_linear(encoder.embed_dim, hidden, generator),
            nn.ReLU(),
            seeded_linear(hidden, encoder.text_width, generator),
        ).to(encoder.device, self.parameter_dtype)

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw features (B, K, D) of the class names under each image's context.

        Raises:
            SpecError: There is no image.
        """
        if image_features is None:
            raise SpecError(
                "cocoop has no text features without an image: its prompts depend on it"
            )
        shift = self.meta_net(image_features)
        context = self.ctx[None] + shift[:, None, :]
        return encode_prompts(self.encoder, self.layout, context, context_axis="image")
