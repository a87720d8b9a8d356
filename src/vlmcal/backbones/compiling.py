"""``torch.compile`` for the frozen towers: the same numbers to rounding, sooner on long runs."""

import torch
from torch import nn

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import BackboneError

# All blocks of a model share one piece of code. It is compiled once per tower and per way of calling it
# (with and without gradients, all rows or one), which is more often than torch allows by itself.
_VARIANTS = 64


def compile_towers(encoder: DualEncoder, *, backend: str = "inductor") -> None:
    """Compile the blocks of both towers in place; names of weights and the fingerprint stay.

    Whole blocks are compiled for the library's own forward, and their feed-forward parts also for the
    passes with learned tokens, which run attention by hand. Sizes are symbolic, so that other batches and
    other class names are not compiled again.

    Args:
        encoder: Changed in place; copies made by ``with_precision`` share it.
        backend: Of ``torch.compile``.

    Raises:
        BackboneError: There is no working compiler for the encoder's device.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> compile_towers(encoder, backend="eager")
        >>> tuple(encoder.encode_texts(["zero", "one"]).shape)
        (2, 64)
    """
    if not hasattr(encoder, "model"):
        raise BackboneError(f"{encoder.name} gives features only; there is nothing to compile")
    _require_compiler(encoder, backend)
    settings = torch._dynamo.config
    settings.recompile_limit = max(settings.recompile_limit, _VARIANTS)
    settings.skip_nnmodule_hook_guards = (
        False  # blocks share code, but not the hooks on one of them
    )
    for block in _blocks(encoder.model):
        block.compile(backend=backend, dynamic=True)
        block.get_submodule("mlp").compile(backend=backend, dynamic=True)


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Transformer blocks, told by the parts that ``TextTower`` names."""
    return [
        m for m in model.modules() if {"self_attn", "mlp"} <= {n for n, _ in m.named_children()}
    ]


def _require_compiler(encoder: DualEncoder, backend: str) -> None:
    probe = torch.compile(lambda x: x * torch.sigmoid(x), backend=backend)
    try:
        probe(torch.ones(2, device=encoder.device))
    except Exception as error:  # a missing compiler shows as one of many types
        reason = str(error).strip().splitlines()[0] if str(error).strip() else ""
        needed = "Triton and a C compiler" if encoder.device.type == "cuda" else "a C++ compiler"
        raise BackboneError(
            f"compiling for {encoder.device.type} failed ({type(error).__name__}: {reason}); it needs "
            f"{needed} (for example g++), or run without --compile"
        ) from error
