"""Models of the open_clip layout that only the library itself knows: features, without a token stream."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.families.base import Source
from vlmcal.backbones.fingerprints import hash_weights
from vlmcal.backbones.preprocess import from_open_clip
from vlmcal.backbones.stated_scale import StatedScale
from vlmcal.backbones.weights import Weights
from vlmcal.errors import BackboneError
from vlmcal.extras import available
from vlmcal.hashing import digest

HINT = (
    "the open_clip library may know it: with pip install 'vlmcal[open-clip]' (which brings torchvision, and "
    "the torch that it wants) zero-shot, adapters and probes work on it"
)


class UnknownArchitectureError(BackboneError):
    """An architecture of the open_clip layout that is not built here."""


class OpenClipLibrary(StatedScale):
    """A model that the library builds, frozen.

    Args:
        model: Any of its dual encoders.
        tokenizer: Texts to token ids (K, L).
        source: Where it comes from.
        config: The file's content.
    """

    family = "open_clip library"

    def __init__(
        self, model: nn.Module, tokenizer: Any, source: Source, config: Mapping[str, Any]
    ) -> None:
        self.model = model.eval().requires_grad_(False)
        self.name, self._tokenize = source.name, tokenizer
        sizes = config["model_cfg"]
        stated = sizes["vision_cfg"].get("image_size", 224)
        side = stated if isinstance(stated, int) else stated[0]
        self.embed_dim = int(sizes["embed_dim"])
        self.preprocess = from_open_clip(config.get("preprocess_cfg") or {}, side, source.name)
        made: Any = model
        self._scale = float(made.logit_scale.detach().float().exp())
        bias = getattr(made, "logit_bias", None)
        self.logit_bias = None if bias is None else float(bias)
        self.fingerprint = digest(
            {"family": self.family, "weights": hash_weights(model.state_dict()), "config": config}
        )
        self.model.to(device=source.device, dtype=source.dtype)

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Raw projected features (K, D) of whole prompts; the library cuts texts that are too long."""
        made: Any = self.model
        parts = []
        for start in range(0, len(texts), batch_size):
            ids = self._tokenize(list(texts[start : start + batch_size])).to(self.device)
            with torch.no_grad():
                parts.append(made.encode_text(ids))
        return torch.cat(parts)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Raw projected features (B, D) from (B, 3, H, W)."""
        made: Any = self.model
        features: Tensor = made.encode_image(pixels)
        return features


def from_library(
    source: Source, config: Mapping[str, Any], weights: Weights, reason: UnknownArchitectureError
) -> OpenClipLibrary:
    """Let the library build what is not built here, from tensors that were read here.

    Args:
        source: The folder.
        config: Content of its configuration.
        weights: By their published names.
        reason: Why it is not built here.

    Raises:
        BackboneError: The library is not installed or cannot build it either, or tensors do not fit.
    """
    if not available("open_clip"):
        raise BackboneError(f"{reason}; {HINT}") from reason
    import open_clip

    place = f"local-dir:{source.folder}"
    try:
        model = open_clip.create_model(
            place, load_weights=False, pretrained_image=False, pretrained_text=False
        )
        tokenizer = open_clip.get_tokenizer(place)
        model.load_state_dict(weights)
    except Exception as error:  # the library raises many types
        raise BackboneError(
            f"{reason}; the open_clip library cannot build it either ({type(error).__name__}: "
            f"{str(error)[:300]})"
        ) from error
    return OpenClipLibrary(model, tokenizer, source, config)
