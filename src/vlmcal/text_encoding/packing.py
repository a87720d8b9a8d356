"""Prompts of all classes as one list of rows without repetition and without padding.

Rows 0 .. S - 1 are the tokens that all classes share; then come the remaining tokens of class 0, of
class 1 and so on. A row attends to the shared rows before it and to the rows before it of its own
class, which a causal tower allows; nothing else can reach a class's end token.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

# Rows per attention call. Attention inside a call is dense and masked, so larger blocks waste
# arithmetic and smaller ones waste calls; a GPU prefers fewer calls.
BLOCK_ROWS = {"cpu": 64, "cuda": 512}


@dataclass(frozen=True, eq=False)
class Block:
    """Classes whose rows are attended together.

    Attributes:
        n_rows: Number of query rows; block 0 also holds the shared rows.
        allowed: (n_rows, shared + own rows) True where a row may attend.
        ends: Rows of the end tokens, counted inside the block.
    """

    n_rows: int
    allowed: Tensor
    ends: Tensor
    _biases: dict[tuple[torch.dtype, bool], Tensor] = field(default_factory=dict)

    def bias(self, dtype: torch.dtype, *, ends_only: bool) -> Tensor:
        """What is added to attention scores: 0 where allowed, minus infinity elsewhere."""
        key = (dtype, ends_only)
        if key not in self._biases:
            with torch.inference_mode(False):  # it may be kept for a later backward pass
                allowed = self.allowed[self.ends] if ends_only else self.allowed
                bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
                self._biases[key] = bias.masked_fill_(~allowed, -math.inf)
        return self._biases[key]


@dataclass(frozen=True, eq=False)
class Packing:
    """The row list of K classes of which the first ``n_shared`` tokens are common.

    Attributes:
        n_shared: S, number of common tokens.
        row_class: (N,) class of each row, 0 for shared rows.
        row_position: (N,) place of the row's token in its prompt.
        starts: (K,) first row of each class.
        end_rows: (K,) row of each end token.
        blocks: Attention blocks in row order.
    """

    n_shared: int
    row_class: Tensor
    row_position: Tensor
    starts: Tensor
    end_rows: Tensor
    blocks: tuple[Block, ...]

    @property
    def n_rows(self) -> int:
        """N, number of rows."""
        return len(self.row_class)

    def rows_of(self, classes: Tensor, positions: Tensor) -> Tensor:
        """Row that holds the token at ``positions`` of ``classes``."""
        own = self.starts[classes] + positions - self.n_shared
        return torch.where(positions < self.n_shared, positions, own)


def pack(ends: Tensor, n_shared: int, device: torch.device) -> Packing:
    """The rows of K prompts whose end tokens stand at ``ends`` (K,).

    Example:
        >>> packing = pack(torch.tensor([4, 6]), 3, torch.device("cpu"))
        >>> packing.n_rows, packing.row_position.tolist()
        (9, [0, 1, 2, 3, 4, 3, 4, 5, 6])
    """
    lengths = ends.cpu() + 1 - n_shared
    starts = n_shared + torch.cat([torch.zeros(1, dtype=torch.long), lengths.cumsum(0)[:-1]])
    own_class = torch.arange(len(ends)).repeat_interleave(lengths)
    own_row = n_shared + torch.arange(len(own_class))
    shared = torch.arange(n_shared)
    row_class = torch.cat([torch.zeros_like(shared), own_class])
    row_position = torch.cat([shared, own_row - starts[own_class] + n_shared])
    blocks = _blocks(lengths, n_shared, BLOCK_ROWS.get(device.type, 512), device)
    return Packing(
        n_shared,
        row_class.to(device),
        row_position.to(device),
        starts.to(device),
        (starts + lengths - 1).to(device),
        blocks,
    )


def _blocks(lengths: Tensor, n_shared: int, limit: int, device: torch.device) -> tuple[Block, ...]:
    groups: list[list[int]] = [[]]
    for length in lengths.tolist():
        if groups[-1] and sum(groups[-1]) + length > limit:
            groups.append([])
        groups[-1].append(length)
    return tuple(
        _block(torch.tensor(group), n_shared, with_shared=index == 0, device=device)
        for index, group in enumerate(groups)
    )


def _block(lengths: Tensor, n_shared: int, *, with_shared: bool, device: torch.device) -> Block:
    classes = torch.arange(len(lengths)).repeat_interleave(lengths)
    n = len(classes)
    own = (classes[:, None] == classes[None, :]) & torch.ones(n, n, dtype=torch.bool).tril()
    allowed = torch.cat([torch.ones(n, n_shared, dtype=torch.bool), own], dim=1)
    ends = lengths.cumsum(0) - 1
    if with_shared:
        top = torch.ones(n_shared, n_shared + n, dtype=torch.bool).tril()
        allowed, ends = torch.cat([top, allowed]), ends + n_shared
    return Block(len(allowed), allowed.to(device), ends.to(device))
