"""What learned tensors start from: words, small Gaussian noise, or torch's own layer initialisation."""

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import SpecError

DEVIATION = 0.02


def normal_tokens(*shape: int, generator: torch.Generator | None) -> nn.Parameter:
    """Tokens drawn from N(0, 0.02^2), float32 on the CPU.

    Without a generator the draw is the same each time, so that no global state is touched.
    """
    return nn.Parameter(DEVIATION * torch.randn(shape, generator=_stream(generator)))


def seeded_linear(
    inputs: int, outputs: int, generator: torch.Generator | None, *, bias: bool = True
) -> nn.Linear:
    """A linear layer with torch's own initial distribution U(-1/sqrt(n), 1/sqrt(n)), n = ``inputs``."""
    layer = nn.Linear(inputs, outputs, bias=bias, device="meta").to_empty(device="cpu")
    stream, bound = _stream(generator), inputs**-0.5
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.uniform_(-bound, bound, generator=stream)
    return layer


def context_from_words(encoder: DualEncoder, words: str) -> Tensor:
    """Token embeddings (M, d) of a phrase without start and end tokens; underscores are spaces."""
    (ids,) = encoder.token_ids([words.replace("_", " ")])
    with torch.no_grad():
        return encoder.embed_tokens(torch.tensor(ids)).detach().clone()


def initial_context(
    encoder: DualEncoder,
    init: str | None,
    n_ctx: int,
    dtype: torch.dtype,
    generator: torch.Generator | None,
    *,
    n_classes: int | None = None,
) -> Tensor:
    """Context to start from: the embeddings of ``init``, or N(0, 0.02^2); (M, d) or (K, M, d).

    Raises:
        SpecError: Neither words nor a positive number of tokens.
    """
    if init:
        start = context_from_words(encoder, init).to(encoder.device, dtype)
        return start if n_classes is None else start.expand(n_classes, -1, -1).clone()
    if n_ctx < 1:
        raise SpecError(f"n_ctx must be at least 1, got {n_ctx}")
    sets = () if n_classes is None else (n_classes,)
    tokens = normal_tokens(*sets, n_ctx, encoder.text_width, generator=generator)
    return tokens.detach().to(encoder.device, dtype)


def split_words(encoder: DualEncoder, words: str, n_tokens: int, by: str) -> tuple[str, str]:
    """The first words of a phrase, which make ``n_tokens`` tokens, and the others.

    Raises:
        SpecError: No number of words has exactly that many tokens.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> split_words(load_backbone("pocket"), "a photo of a", 2, "maple")
        ('a photo', 'of a')
    """
    parts = words.replace("_", " ").split()
    for count in range(len(parts) + 1):
        first, rest = " ".join(parts[:count]), " ".join(parts[count:])
        if len(encoder.token_ids([first])[0]) == n_tokens:
            return first, rest
    raise SpecError(
        f'{by}: the first words of init "{words}" cannot make n_ctx = {n_tokens} tokens; change init or '
        "n_ctx, or set init: null for a random start"
    )


def _stream(generator: torch.Generator | None) -> torch.Generator:
    return torch.Generator() if generator is None else generator
