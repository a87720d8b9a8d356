"""Views of the frozen towers with some submodules wrapped; the model itself is never changed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

from torch import Tensor

from vlmcal.backbones.base import DualEncoder, TextTower, WholeTower

Map = Callable[[Tensor], Tensor]


def layer_view(layer: Any, **wrapped: Map) -> SimpleNamespace:
    """A block with other maps in the place of ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj`` or ``mlp``."""
    attention = layer.self_attn
    names = ("q_proj", "k_proj", "v_proj", "out_proj")
    parts = {name: wrapped.get(name, getattr(attention, name)) for name in names}
    return SimpleNamespace(
        layer_norm1=layer.layer_norm1,
        self_attn=SimpleNamespace(**parts),
        layer_norm2=layer.layer_norm2,
        mlp=wrapped.get("mlp", layer.mlp),
    )


def views(layers: Sequence[Any], wrapped: Mapping[int, Mapping[str, Map]]) -> list[Any]:
    """All blocks of a tower, those in ``wrapped`` as views."""
    return [
        layer_view(layer, **wrapped[i]) if i in wrapped else layer for i, layer in enumerate(layers)
    ]


def with_text_layers(encoder: DualEncoder, layers: list[Any]) -> DualEncoder:
    """An encoder that is the given one but for the blocks of its text tower."""
    tower = replace(encoder.text_tower, layers=layers)
    return cast(DualEncoder, _Adapted(encoder, tower))


class _Adapted:
    """Delegates everything to an encoder except its text tower."""

    def __init__(self, encoder: DualEncoder, text_tower: TextTower | WholeTower) -> None:
        self._encoder, self.text_tower = encoder, text_tower

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)
