"""Frozen vision-language models behind one interface; importing this package does not import torch."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from vlmcal.backbones.base import DualEncoder as DualEncoder
    from vlmcal.backbones.base import Preprocess as Preprocess

__all__ = ["DualEncoder", "Preprocess", "load_backbone"]


def load_backbone(
    name: str,
    *,
    device: "str | torch.device" = "cpu",
    dtype: "torch.dtype | None" = None,
    offline: bool | None = None,
) -> "DualEncoder":
    """Load a frozen dual encoder.

    Args:
        name: An embedded model ("pocket"), a folder in the transformers layout ("./dir", "/abs/dir"),
            or a hub id ("openai/clip-vit-base-patch16", with or without "hf-hub:").
        device: Where the weights go.
        dtype: Type of the weights; float32 by default, whatever type they are stored in.
        offline: True never touches the network; None follows HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE.

    Raises:
        BackboneError: Files are missing (names them and the command that downloads them), the hub
            cannot be reached, the family is not supported, or the name is unknown.

    Example:
        >>> encoder = load_backbone("pocket")
        >>> encoder.embed_dim, encoder.text_layers
        (64, 10)
    """
    from vlmcal.backbones.loading import load

    return load(name, device=device, dtype=dtype, offline=offline)


def __getattr__(name: str) -> Any:
    if name in {"DualEncoder", "Preprocess"}:
        import vlmcal.backbones.base as base

        return getattr(base, name)
    raise AttributeError(f"module 'vlmcal.backbones' has no attribute {name!r}")
