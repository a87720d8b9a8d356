"""Features without their encoder: everything that reads features works, nothing that needs the towers."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vlmcal.backbones.families.base import Source, layout
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.backbones.stated_scale import StatedScale
from vlmcal.errors import BackboneError, DataError, nearest
from vlmcal.hashing import digest, digest_array
from vlmcal.io.feature_files import KEY, holds_features, read_features


class Precomputed(StatedScale):
    """Text features by their text; image features come with the data set.

    Args:
        name: Path it was read from.
        texts: Text (a class name or a whole prompt) to its feature (D,).
        scale: The factor s.
        embed_dim: D.
        device, dtype: Where and in which type the features are given out.
    """

    family = "precomputed"

    def __init__(
        self,
        name: str,
        texts: Mapping[str, Tensor],
        scale: float,
        embed_dim: int,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name, self.embed_dim = name, embed_dim
        self.preprocess = Preprocess(size=1, resize=1)
        self._texts, self._scale = dict(texts), scale
        self._device, self._dtype = torch.device(device), dtype
        parts = {text: digest_array(value.numpy()) for text, value in self._texts.items()}
        self.fingerprint = digest({"family": self.family, "texts": parts, "scale": scale})

    @property
    def device(self) -> torch.device:
        """Where the features are given out."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the features."""
        return self._dtype

    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """The stored features (K, D) of these texts.

        Raises:
            DataError: There is none for a text; names the nearest.
        """
        unknown = [text for text in texts if text not in self._texts]
        if unknown:
            raise DataError(
                f'{self.name} holds no text feature for "{unknown[0]}"; {nearest(unknown[0], self._texts)}; '
                "nothing new can be encoded without the model"
            )
        rows = torch.stack([self._texts[text] for text in texts])
        return rows.to(self.device, self.dtype)

    def encode_pixels(self, pixels: Tensor) -> Tensor:
        """Not possible.

        Raises:
            BackboneError: Always: there is no image tower.
        """
        raise BackboneError(
            f"{self.name} holds features, not the model that made them: new pictures cannot be encoded"
        )


def recognises(source: Source) -> bool:
    """Whether the path is a file or folder of features."""
    return source.path is not None and holds_features(source.path)


@layout(
    "precomputed", "Precomputed features: an NPZ file or a folder of arrays", recognises, order=-10
)
def load(source: Source) -> Precomputed:
    """Text features and logit scale of a file or folder of features.

    Keys: ``text_features`` (P, D) with the P texts in ``prompts``, or (K, D) in the order of ``class_names``;
    ``logit_scale``, the factor s (100 with a warning where it is missing).

    Raises:
        BackboneError: There are no text features, or shapes do not fit.
    """
    path = Path(str(source.path))
    content = read_features(path)
    texts = content.get("prompts", content.get("class_names"))
    found = content.get("text_features")
    dimension = content[KEY].shape[1]
    if found is None or texts is None or found.shape != (len(texts), dimension):
        wanted = f"({'?' if texts is None else len(texts)}, {dimension})"
        got = "none" if found is None else str(found.shape)
        raise BackboneError(
            f"{path}: expected text_features of shape {wanted}, one row per entry of prompts or class_names, "
            f"got {got}"
        )
    if "logit_scale" in content:
        scale = float(content["logit_scale"].reshape(-1)[0])
    else:
        warnings.warn(f"{path} states no logit_scale; 100 is taken, as of CLIP", stacklevel=2)
        scale = 100.0
    rows = torch.from_numpy(np.ascontiguousarray(found, dtype=np.float32))
    named = {
        " ".join(str(t).replace("_", " ").split()): row for t, row in zip(texts, rows, strict=True)
    }
    return Precomputed(
        source.name, named, scale, dimension, device=source.device, dtype=source.dtype
    )
