"""Prompts of all classes as one list of rows without repetition and without padding.

Rows 0 .. S - 1 are the tokens that all classes share; then come the remaining tokens of class 0, of
class 1 and so on. A row attends to the shared rows before it and to the rows before it of its own
class, which a causal tower allows; nothing else can reach a class's end token.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

# Rows per tile. Attention inside a tile is dense and masked, so larger tiles waste arithmetic on what is
# masked, and smaller ones repeat the shared keys more often.
TILE_ROWS = {"cpu": 32, "cuda": 128}
# So few rows are one tile, and none is moved: a small model would wait for moves longest.
ONE_TILE = 64


@dataclass(frozen=True, eq=False)
class Tiles:
    """Queries with the keys that they may see, cut into T parts of one size for one call of attention.

    Attributes:
        allowed: (T, 1, n, m) True where a query may attend.
        queries: (T n,) the query at each place, or None where one tile holds all of them in order. Places
            that are left over repeat a query; nothing reads them.
        keys: (T m,) the row of the key at each place, or None likewise.
        places: Where each query stands among the T n places, or None likewise.
    """

    allowed: Tensor
    queries: Tensor | None = None
    keys: Tensor | None = None
    places: Tensor | None = None
    _biases: dict[tuple[torch.dtype, int], Tensor] = field(default_factory=dict)

    def bias(self, dtype: torch.dtype, batch: int) -> Tensor:
        """What is added to scores, (1 or batch T, 1, n, m): 0 where allowed, else minus infinity."""
        times = 1 if len(self.allowed) == 1 else batch
        if (dtype, times) not in self._biases:
            with torch.inference_mode(False):  # it may be kept for a later backward pass
                bias = torch.zeros(self.allowed.shape, dtype=dtype, device=self.allowed.device)
                bias = bias.masked_fill_(~self.allowed, -math.inf)
                self._biases[dtype, times] = bias.repeat(times, 1, 1, 1)
        return self._biases[dtype, times]


@dataclass(frozen=True, eq=False)
class Packing:
    """The row list of K classes of which the first ``n_shared`` tokens are common.

    Attributes:
        n_shared: S, number of common tokens.
        row_class: (N,) class of each row, 0 for shared rows.
        row_position: (N,) place of the row's token in its prompt.
        starts: (K,) first row of each class.
        end_rows: (K,) row of each end token.
        tiles: Attention of all rows.
        end_tiles: Attention of the end tokens alone.
    """

    n_shared: int
    row_class: Tensor
    row_position: Tensor
    starts: Tensor
    end_rows: Tensor
    tiles: Tiles
    end_tiles: Tiles

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
    end_rows = starts + lengths - 1
    rows = torch.arange(len(row_class))

    limit = TILE_ROWS.get(device.type, 128)
    if len(rows) <= ONE_TILE:
        parts, of_ends = [(rows, own_row)], [(torch.arange(len(ends)), own_row)]
    else:
        groups = _groups(lengths.tolist(), limit)
        own = [rows[starts[group[0]] : end_rows[group[-1]] + 1] for group in groups]
        parts = [(part, part[:0]) for part in torch.split(shared, limit)] if n_shared else []
        parts += zip(own, own, strict=True)
        of_ends = list(zip(map(torch.tensor, groups), own, strict=True))

    def tiles(parts: Sequence[tuple[Tensor, Tensor]], query_rows: Tensor) -> Tiles:
        return _tiles(parts, query_rows, n_shared, row_class, row_position, device)

    return Packing(
        n_shared,
        row_class.to(device),
        row_position.to(device),
        starts.to(device),
        end_rows.to(device),
        tiles(parts, rows),
        tiles(of_ends, end_rows),
    )


def _groups(lengths: Sequence[int], limit: int) -> list[list[int]]:
    """Classes in order, as many together as have ``limit`` rows; at least one."""
    groups: list[list[int]] = [[]]
    filled = 0
    for number, length in enumerate(lengths):
        if groups[-1] and filled + length > limit:
            groups.append([])
            filled = 0
        groups[-1].append(number)
        filled += length
    return groups


def _tiles(
    parts: Sequence[tuple[Tensor, Tensor]],
    query_rows: Tensor,
    n_shared: int,
    row_class: Tensor,
    row_position: Tensor,
    device: torch.device,
) -> Tiles:
    """Tiles of queries, with the row of each, and of the rows beside the shared ones that are keys."""
    queries = pad_sequence([part for part, _ in parts], batch_first=True, padding_value=-1)
    taken = queries >= 0
    queries = torch.where(taken, queries, queries[:, :1])
    own = pad_sequence([part for _, part in parts], batch_first=True, padding_value=-1)
    keys = torch.cat([torch.arange(n_shared).expand(len(parts), -1), own], dim=1)

    row, key = query_rows[queries][:, :, None], keys[:, None, :]
    visible = (key < n_shared) | (row_class[key] == row_class[row])
    allowed = (key >= 0) & visible & (row_position[key] <= row_position[row])
    allowed = allowed[:, None].to(device)
    if len(parts) == 1:
        return Tiles(allowed)
    places = torch.empty_like(query_rows)
    places[queries[taken]] = taken.flatten().nonzero()[:, 0]
    return Tiles(
        allowed,
        queries.flatten().to(device),
        keys.clamp(min=0).flatten().to(device),
        places.to(device),
    )
