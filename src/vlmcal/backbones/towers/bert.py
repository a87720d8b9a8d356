"""BERT as a text tower: the class token of the last layer, or MedCLIP's mean over everything."""

from abc import abstractmethod
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.towers.blocks import Deep, Layers, post_norm, with_deep
from vlmcal.backbones.towers.text import Computing, TextStack


class _Bert(TextStack):
    """Embeddings and post-norm blocks; attention skips padding.

    Args:
        pad_id: Id of the padding token.
        projection: State to the joint space.
        eps: Of the norms.
        sizes: As :class:`TextStack`.
    """

    def __init__(self, *, pad_id: int, projection: nn.Module, eps: float, **sizes: Any) -> None:
        super().__init__(eps=eps, **sizes)
        self.pad_id = pad_id
        self.type_embedding = nn.Parameter(torch.empty(2, self.width))
        self.input_norm = nn.LayerNorm(self.width, eps=eps)
        self.projection = projection

    def doubly_embedded(self, ids: Tensor) -> Tensor:
        """What released code takes for word embeddings: positions, types and norm already in them."""
        summed = self.embed(ids) + self.position_embedding[: ids.shape[1]] + self.type_embedding[0]
        rows: Tensor = self.input_norm(summed)
        return rows

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
        features: Tensor = self.projection(
            self.pooled(self._states(words, ids, layers, deep, computing), ids)
        )
        return features

    @abstractmethod
    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """One row (N, d) of each text from the rows after the embeddings and after each block."""

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

    def __init__(self, *, pooler: bool, **sizes: Any) -> None:
        super().__init__(**sizes)
        self.pooler = nn.Linear(self.width, self.width) if pooler else None

    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """The first row of the last block."""
        state = states[-1][:, 0]
        return state if self.pooler is None else torch.tanh(self.pooler(state))


class BertTokenMean(_Bert):
    """The mean of the last layer over the tokens of the text (open_clip's ``mean_pooler``)."""

    kind = "bert-mean"
    padding = "free"

    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """The mean over what is not padding."""
        weight = (ids != self.pad_id).to(states[-1])[..., None]
        return (states[-1] * weight).sum(dim=1) / weight.sum(dim=1)


class BertMean(_Bert):
    """MedCLIP: the mean of hidden states 1, 2 and last, over all positions, padding included.

    A feature therefore depends on the padded length. That is the model as published.
    """

    kind = "bert-mean"
    padding = "longest"

    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """The mean over three states and all positions."""
        return torch.stack([states[1], states[2], states[-1]], dim=1).mean(dim=2).mean(dim=1)
