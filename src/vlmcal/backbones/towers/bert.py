"""BERT as a text tower: the class token of the last layer, or MedCLIP's mean over everything."""

from contextlib import nullcontext

import torch
from torch import Tensor, nn

from vlmcal.backbones.towers.blocks import Deep, Layers, blocks, post_norm, with_deep
from vlmcal.backbones.towers.text import Computing, TextStack


class _Bert(TextStack):
    """Embeddings and post-norm blocks; attention skips padding.

    Args:
        vocabulary, length, width, hidden, n_layers, n_heads, act, eps: Sizes.
        pad_id: Id of the padding token.
        projection: State to the joint space.
    """

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
        pad_id: int,
        projection: nn.Module,
    ) -> None:
        super().__init__()
        self.width, self.n_heads, self.pad_id = width, n_heads, pad_id
        self.token_embedding = nn.Embedding(vocabulary, width)
        self.position_embedding = nn.Parameter(torch.empty(length, width))
        self.type_embedding = nn.Parameter(torch.empty(2, width))
        self.input_norm = nn.LayerNorm(width, eps=eps)
        self.layers = blocks(n_layers, width, hidden, act, eps)
        self.projection = projection

    def embed(self, ids: Tensor) -> Tensor:
        """Word embeddings (..., d) of token ids."""
        embedded: Tensor = self.token_embedding(ids)
        return embedded

    def doubly_embedded(self, ids: Tensor) -> Tensor:
        """What released code takes for word embeddings: positions, types and norm already in them."""
        summed = self.embed(ids) + self.position_embedding[: ids.shape[1]] + self.type_embedding[0]
        rows: Tensor = self.input_norm(summed)
        return rows

    def _states(
        self,
        words: Tensor,
        ids: Tensor,
        layers: Layers | None,
        deep: Deep | None,
        computing: Computing,
    ) -> list[Tensor]:
        """Rows after the embeddings and after each block."""
        summed = words + self.position_embedding[: words.shape[1]] + self.type_embedding[0]
        rows = self.input_norm(summed)
        mask = (ids != self.pad_id)[:, None, None, :]
        states = [rows]
        with computing():
            for index, layer in enumerate(self.layers if layers is None else layers):
                rows = with_deep(rows, (deep or {}).get(index), self.first_deep)
                rows = post_norm(layer, rows, self.n_heads, mask)
                states.append(rows)
        return states


class BertClass(_Bert):
    """The class token of the last layer; ``pooler`` adds BERT's own dense layer with tanh."""

    kind = "bert-cls"
    padding = "free"

    def __init__(self, *, pooler: bool, **sizes: object) -> None:
        super().__init__(**sizes)  # type: ignore[arg-type]
        self.pooler = nn.Linear(self.width, self.width) if pooler else None

    def encode(
        self,
        words: Tensor,
        ids: Tensor,
        *,
        layers: Layers | None = None,
        deep: Deep | None = None,
        computing: Computing = nullcontext,
    ) -> Tensor:
        """See :meth:`TextStack.encode`."""
        state = self._states(words, ids, layers, deep, computing)[-1][:, 0]
        if self.pooler is not None:
            state = torch.tanh(self.pooler(state))
        features: Tensor = self.projection(state)
        return features


class BertTokenMean(_Bert):
    """The mean of the last layer over the tokens of the text (open_clip's ``mean_pooler``)."""

    kind = "bert-mean"
    padding = "free"

    def encode(
        self,
        words: Tensor,
        ids: Tensor,
        *,
        layers: Layers | None = None,
        deep: Deep | None = None,
        computing: Computing = nullcontext,
    ) -> Tensor:
        """See :meth:`TextStack.encode`."""
        rows = self._states(words, ids, layers, deep, computing)[-1]
        weight = (ids != self.pad_id).to(rows)[..., None]
        features: Tensor = self.projection((rows * weight).sum(dim=1) / weight.sum(dim=1))
        return features


class BertMean(_Bert):
    """MedCLIP: the mean of hidden states 1, 2 and last, over all positions, padding included.

    A feature therefore depends on the padded length. That is the model as published.
    """

    kind = "bert-mean"
    padding = "longest"

    def encode(
        self,
        words: Tensor,
        ids: Tensor,
        *,
        layers: Layers | None = None,
        deep: Deep | None = None,
        computing: Computing = nullcontext,
    ) -> Tensor:
        """See :meth:`TextStack.encode`."""
        states = self._states(words, ids, layers, deep, computing)
        mean = torch.stack([states[1], states[2], states[-1]], dim=1).mean(dim=2).mean(dim=1)
        features: Tensor = self.projection(mean)
        return features
