"""Text towers behind one contract: word embeddings in, features out, with any layers and learned tokens."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vlmcal.backbones.towers.blocks import Deep, Layers, blocks, pre_norm, with_deep

Kind = Literal["causal-eot", "causal-cls", "bert-cls", "bert-mean", "siglip-last"]
Padding = Literal["free", "longest", "full"]
Computing = Callable[[], AbstractContextManager[Any]]


class TextStack(nn.Module, ABC):
    """A text transformer that starts from word embeddings (before positions, types and norms).

    Attributes:
        kind: Which of the five ways tokens become a feature.
        padding: How far a feature depends on padding: "free" not at all, "longest" on the longest
            prompt it is encoded with, "full" always the whole window.
        width: d of the token stream.
        n_heads: Attention heads of every block.
        layers: Blocks, first to last, with the submodules that learners wrap.
        first_deep: Place of the first token that deep prompts replace.
        kept: Places of the blocks whose rows are read beside those of the last one.
        projection: A row (N, d) to the joint space.
    """

    kind: ClassVar[Kind]
    padding: ClassVar[Padding]
    first_deep: ClassVar[int] = 1
    kept: ClassVar[frozenset[int]] = frozenset()
    projection: nn.Module

    def __init__(
        self,
        *,
        vocabulary: int,
        length: int,
        width: int,
        hidden: int,
        n_layers: int,
        n_heads: int,
        act: str,
        eps: float,
    ) -> None:
        super().__init__()
        self.width, self.n_heads = width, n_heads
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Parameter(torch.empty(length, width))
        self.layers = blocks(n_layers, width, hidden, act, eps)

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings (..., d) of token ids."""
        embedded: Tensor = self.token_embedding(ids)
        return embedded

    def encode(
        self,
        words: Tensor,
        ids: Tensor,
        *,
        layers: Layers | None = None,
        deep: Deep | None = None,
        computing: Computing = nullcontext,
    ) -> Tensor:
        """Raw features (N, D).

        Args:
            words: (N, L, d) word embeddings, learned ones in place.
            ids: (N, L) token ids that say what is padding and where a text ends.
            layers: Blocks to run instead of the tower's own.
            deep: Per block, (n, d) or (N, n, d) in the place of tokens of that block's input.
            computing: Context in which the blocks run.
        """
        rows, mask = self.started(words, ids)
        states = []
        with computing():
            for index, layer in enumerate(self.layers if layers is None else layers):
                rows = with_deep(rows, (deep or {}).get(index), self.first_deep)
                rows = self.block(layer, rows, mask)
                if index in self.kept:
                    states.append(rows)
        features: Tensor = self.projection(self.pooled([*states, rows], ids))
        return features

    def block(self, layer: Any, rows: Tensor, mask: Tensor | None) -> Tensor:
        """Rows after a block; norms stand before attention and MLP."""
        return pre_norm(layer, rows, self.n_heads, mask)

    @abstractmethod
    def started(self, words: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rows before the first block, (N, M, d), and where attention may look."""

    @abstractmethod
    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """One row (N, d) of each text from the rows after each block in ``kept`` and after the last one."""

    def forward(self, ids: Tensor) -> Tensor:
        """Raw features (N, D) of token ids (N, L)."""
        return self.encode(self.embed(ids), ids)


class _PreNorm(TextStack):
    """What the towers with pre-norm blocks share."""

    def __init__(self, *, projection: nn.Module, eps: float, **sizes: Any) -> None:
        super().__init__(eps=eps, **sizes)
        self.final_norm = nn.LayerNorm(self.width, eps=eps)
        self.projection = projection

    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """The last row of the last block."""
        row: Tensor = self.final_norm(states[-1][:, -1])
        return row


def _causal(length: int, device: torch.device) -> Tensor:
    return torch.ones(length, length, dtype=torch.bool, device=device).tril()


class CausalText(_PreNorm):
    """CLIP's text transformer: causal, read at the end token, which has the largest id."""

    kind = "causal-eot"
    padding = "free"

    def started(self, words: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """With positions; each token looks back."""
        rows = words + self.position_embedding[: words.shape[1]]
        return rows, _causal(rows.shape[1], rows.device)

    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """The end token of the last block."""
        rows = states[-1]
        ends = rows[torch.arange(len(rows), device=rows.device), ids.argmax(dim=-1)]
        row: Tensor = self.final_norm(ends)
        return row


class AppendedText(_PreNorm):
    """CONCH's text transformer: causal, with a learned token appended behind the whole window.

    The appended token stands at the last position and looks at column 0 and at every column whose
    left neighbour is not padding: the published mask is one place off, so it sees one padding token
    after the end and never itself unless the text fills the window. Columns further right cannot reach
    it and are left out.
    """

    kind = "causal-cls"
    padding = "free"

    def __init__(self, *, pad_id: int, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.pad_id = pad_id
        self.cls_embedding = nn.Parameter(torch.empty(self.width))

    def started(self, words: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """With positions, and the learned token behind; at most the window less one column."""
        window = len(self.position_embedding) - 1
        used = min(int((ids != self.pad_id).sum(dim=-1).max()), window)
        words, ids = words[:, :used], ids[:, :used]
        if used < window:
            padding = self.embed(torch.full_like(ids[:, :1], self.pad_id))
            words = torch.cat([words, padding], dim=1)
        n, length = words.shape[:2]
        rows = torch.cat([words, self.cls_embedding.to(words).expand(n, 1, -1)], dim=1)
        positions = [*range(length), window]
        rows = rows + self.position_embedding[positions]
        mask = _causal(length + 1, rows.device).expand(n, 1, -1, -1).clone()
        seen = torch.ones(n, length + 1, dtype=torch.bool, device=rows.device)
        seen[:, 1:] = False
        seen[:, 1 : used + 1] = ids != self.pad_id
        mask[:, 0, -1] = seen
        return rows, mask


class LastText(_PreNorm):
    """SigLIP's text transformer: no mask at all, a fixed window, read at the last position."""

    kind = "siglip-last"
    padding = "full"
    first_deep = 0

    def started(self, words: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """With positions; L must be the whole window."""
        return words + self.position_embedding, None
