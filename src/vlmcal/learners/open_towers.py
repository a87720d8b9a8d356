"""Whether a backbone lets a method into its towers, said before anything is encoded."""

from collections.abc import Collection

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.errors import BackboneError
from vlmcal.learners.image_tokens import image_tower


def require_open(encoder: FeatureEncoder, sides: Collection[str], method: str) -> None:
    """Refuse a method that puts something into a tower which is closed to it.

    Args:
        encoder: The backbone.
        sides: Towers that the method changes from within: "text", "image".
        method: Its name, for the message.

    Raises:
        BackboneError: A tower gives features only, or is no vision transformer.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> require_open(load_backbone("pocket"), {"text", "image"}, "maple")
    """
    if not sides:
        return
    if not hasattr(encoder, "text_tower"):
        raise BackboneError(
            f'"{method}" puts learned tokens or maps into the towers, but {encoder.name} gives features of '
            "whole images and texts only; use zero_shot, an adapter or a probe (clip_adapter, tip_adapter, "
            "task_res, clap, linear_probe)"
        )
    if "image" in sides:
        try:
            image_tower(encoder)
        except BackboneError as error:
            raise BackboneError(f'"{method}" changes the image tower, but {error}') from error
