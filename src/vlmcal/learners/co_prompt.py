"""CoPrompt: MaPLe's prompts and an adapter on each side, consistent with the frozen model."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from vlmcal.learners.base import LEARNERS, Batch, ClassContext, SharedPrompt, Stream
from vlmcal.learners.clip_adapter import bottleneck
from vlmcal.learners.descriptions import Described, SentenceTargets
from vlmcal.learners.maple import MaPLe
from vlmcal.types.limits import Count, Share

_PUBLISHED = {
    "imagenet": (12, 4, 8),
    "caltech101": (12, 4, 4),
    "oxford_pets": (12, 2, 0.1),
    "stanford_cars": (12, 4, 4),
    "oxford_flowers": (9, 4, 8),
    "food101": (9, 4, 0.5),
    "fgvc_aircraft": (9, 4, 2),
    "sun397": (12, 4, 8),
    "dtd": (12, 2, 8),
    "eurosat": (12, 2, 0.1),
    "ucf101": (12, 4, 2),
}


def _preset(name: str, depth: int, n_ctx: int, weight: float) -> dict[str, Any]:
    epochs = 5 if name == "food101" else 8
    return {
        "method": {"depth": depth, "n_ctx": n_ctx},
        "train": {"epochs": epochs, "batch_size": 4, "lr": 3.5e-3, "views": epochs},
        "objective": ["ce", {"name": "co_prompt", "weight": weight}],
        "source": "CoPrompt, trainers/constants.py",
    }


@LEARNERS.register("co_prompt")
class CoPrompt(SentenceTargets, MaPLe):
    """MaPLe's coupled prompts, then f <- 0.1 A_i(f) + 0.9 f and t <- 0.2 A_t(t) + 0.8 t on raw features.

    A is Linear(D, D // 4), ReLU, Linear(D // 4, D), ReLU without biases; both stay active at prediction.
    The objective ``co_prompt`` holds the text features near frozen sentences about the classes, the same
    number for all classes in a step, and the image features near frozen ones of another view. Views are
    random crops here; the public code uses RandAugment on squeezed images.

    Source: Roy and Etemad, "Consistency-guided Prompt Learning for Vision-Language Models", ICLR 2024,
    arXiv 2306.01195; recipe of the public code (lr 0.0035, batch 4, 8 epochs).
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "co_prompt")
    default_train: ClassVar[Mapping[str, Any]] = {
        "epochs": 8,
        "batch_size": 4,
        "lr": 3.5e-3,
        "views": 8,
    }
    small: ClassVar[Mapping[str, Any]] = {"depth": 2}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        f"coprompt-{name}": _preset(name, *values) for name, values in _PUBLISHED.items()
    }

    class Config(MaPLe.Config, Described):
        """Options of CoPrompt: those of MaPLe, the adapters and the sentences.

        Attributes:
            image_ratio, text_ratio: Share of the adapted feature on each side.
            reduction: Factor by which the adapters' hidden layer is narrower than the joint space.
            descriptions: Class name -> sentences, or a JSON file of such a mapping; None for the data's
                templates. The smallest number of sentences of any class is used.
        """

        image_ratio: Share = 0.1
        text_ratio: Share = 0.2
        reduction: Count = 4
        descriptions: Mapping[str, tuple[str, ...]] | str | None = None

    config: Config

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        width, place = self.encoder.embed_dim, (self.encoder.device, self.parameter_dtype)
        self.adapter_image = bottleneck(width, config.reduction, generator).to(*place)
        self.adapter_text = bottleneck(width, config.reduction, generator).to(*place)

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Adapted raw features of the prompted class names, (K, D)."""
        return self._adapted(super().text_features(), self.adapter_text, self.config.text_ratio)

    def outlier_features(self, names: Any) -> Tensor:
        """Adapted raw features (O, D) of other names under the current prompt."""
        raw = super().outlier_features(names)
        return self._adapted(raw, self.adapter_text, self.config.text_ratio)

    def shared_prompt(self) -> SharedPrompt:
        """That of MaPLe, with adapted features."""
        prompt, ratio = super().shared_prompt(), self.config.text_ratio
        return prompt._replace(
            encode=lambda tokens: self._adapted(prompt.encode(tokens), self.adapter_text, ratio)
        )

    def image_features(self, batch: Batch) -> Tensor:
        """Adapted raw image features under the image tokens, (B, D)."""
        raw = super().image_features(batch)
        return self._adapted(raw, self.adapter_image, self.config.image_ratio)

    def _adapted(self, raw: Tensor, adapter: nn.Module, ratio: float) -> Tensor:
        raw = raw.to(self.parameter_dtype)
        mixed: Tensor = ratio * adapter(raw) + (1 - ratio) * raw
        return mixed
