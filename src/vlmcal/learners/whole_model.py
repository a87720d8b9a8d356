"""Towers whose own tensors are trained: as parameters of a learner, run through the encoder's passes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.zero_shot import clean_name
from vlmcal.errors import BackboneError
from vlmcal.learners.base import Side

PREFIXES: Mapping[Side, tuple[str, ...]] = {
    "image": ("vision_model.", "visual_projection.", "image."),
    "text": ("text_model.", "text_projection.", "text."),
}
"""How names of a tower's tensors begin, in the transformers layout and in that of own towers."""


class Weights(nn.Module):
    """Tensors of an encoder under their own dotted names, as parameters of a module of their own.

    Args:
        named: Name -> tensor; copied.
        learned: Parameters that are trained, or buffers that follow.
    """

    def __init__(self, named: Mapping[str, Tensor], *, learned: bool = True) -> None:
        super().__init__()
        for name, tensor in named.items():
            place: nn.Module = self
            *path, last = name.split(".")
            for part in path:
                if part not in place._modules:
                    place.add_module(part, nn.Module())
                inner = place._modules[part]
                assert inner is not None
                place = inner
            own = tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)
            if learned:
                place.register_parameter(last, nn.Parameter(own))
            else:
                place.register_buffer(last, own)

    def named(self) -> dict[str, Tensor]:
        """Name -> tensor."""
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}


def tower_tensors(encoder: DualEncoder, side: Side) -> dict[str, Tensor]:
    """The learned tensors of one tower, its projection among them, by name.

    Raises:
        BackboneError: The encoder's tensors have names that belong to no known tower.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> len(tower_tensors(load_backbone("pocket"), "image")) > 10
        True
    """
    model = getattr(encoder, "model", None)
    found = {
        name: tensor
        for name, tensor in ({} if model is None else dict(model.named_parameters())).items()
        if name.startswith(PREFIXES[side])
    }
    if not found:
        raise BackboneError(
            f"{encoder.name}: the tensors of its {side} tower have no names that are known here, so they "
            "cannot be trained; tune prompts or an adapter instead"
        )
    return found


class _Pass(nn.Module):
    """A pass of an encoder as a module's forward, so that its tensors can be replaced for one call."""

    def __init__(self, model: nn.Module, run: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model, self._run = model, run

    def forward(self, inputs: Tensor) -> Tensor:
        return self._run(inputs)


def encode_with(
    encoder: DualEncoder,
    side: Literal["text", "image"],
    weights: Mapping[str, Tensor],
    inputs: Tensor,
    *,
    chunk: int = 0,
) -> Tensor:
    """Raw features (N, D) of pixels or token ids under other weights; the encoder is not changed.

    Args:
        encoder: Gives the pass, and whatever is not in ``weights``.
        side: Which tower.
        weights: Tensors by their names in ``encoder.model``.
        inputs: Pixels (N, 3, H, W), or token ids (N, L).
        chunk: Rows of one pass. Each pass is made again when gradients are computed, so that the memory is
            that of ``chunk`` rows instead of N (gradient checkpointing); 0 keeps all rows in one pass. The
            numbers are the same.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> pixels, weights = torch.zeros(2, 3, 32, 32), tower_tensors(encoder, "image")
        >>> same = encode_with(encoder, "image", weights, pixels)
        >>> torch.equal(same, encoder.encode_pixels(pixels))
        True
    """
    encode = encoder.encode_pixels if side == "image" else encoder.encode_text_ids
    given = {f"model.{name}": tensor for name, tensor in weights.items()}

    def run(rows: Tensor) -> Tensor:
        with encoder.computing():
            features: Tensor = functional_call(_Pass(encoder.model, encode), given, (rows,))
        return features.float() if features.dtype in (torch.float16, torch.bfloat16) else features

    inputs = inputs.to(encoder.device)
    if side == "image":
        inputs = inputs.to(next(iter(weights.values())).dtype)
    if not chunk or not torch.is_grad_enabled():
        return run(inputs)
    parts = [checkpoint(run, rows, use_reentrant=False) for rows in torch.split(inputs, chunk)]
    return torch.cat(parts)


class Prompts:
    """Token ids of every template filled with every class name, and features of any selection of them.

    Args:
        encoder: Its tokenizer.
        names: K class names; underscores are read as spaces.
        templates: T prompts with one {}.
    """

    def __init__(
        self, encoder: DualEncoder, names: Sequence[str], templates: Sequence[str]
    ) -> None:
        self.encoder, self.shape = encoder, (len(templates), len(names))
        words = [clean_name(name) for name in names]
        texts = [template.replace("{}", word) for template in templates for word in words]
        self.ids = encoder.tokenize(texts)
        self.ends = encoder.end_positions(self.ids)

    def features(
        self, templates: Tensor, classes: Tensor, weights: Mapping[str, Tensor], *, chunk: int = 0
    ) -> Tensor:
        """Unit features (N, D) of the prompts (template, class) under the text tower's ``weights``.

        Prompts that occur more than once are encoded once.
        """
        rows, back = torch.unique(templates * self.shape[1] + classes, return_inverse=True)
        ids = self.ids[rows]
        if self.encoder.padding == "free":
            ids = ids[:, : int(self.ends[rows].max()) + 1]
        raw = encode_with(self.encoder, "text", weights, ids, chunk=chunk)
        return normalize(raw, dim=-1)[back]

    def ensemble(self, weights: Mapping[str, Tensor], *, chunk: int = 0) -> Tensor:
        """Mean over templates of the unit features, (K, D)."""
        count, k = self.shape
        template, name = torch.arange(count).repeat_interleave(k), torch.arange(k).repeat(count)
        return self.features(template, name, weights, chunk=chunk).view(count, k, -1).mean(dim=0)
