"""BERT as a text tower: the class token of the last layer, or MedCLIP's mean over everything."""

from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.towers.blocks import post_norm
from vlmcal.backbones.towers.text import TextStack


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
        return self.started(self.embed(ids), ids)[0]

    def block(self, layer: Any, rows: Tensor, mask: Tensor | None) -> Tensor:
        """Rows after a block; norms stand behind attention and MLP."""
        return post_norm(layer, rows, self.n_heads, mask)

    def started(self, words: Tensor, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """With positions and types, normalised; nothing looks at padding."""
        summed = words + self.position_embedding[: words.shape[1]] + self.type_embedding[0]
        return self.input_norm(summed), (ids != self.pad_id)[:, None, None, :]


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
    kept = frozenset({0, 1})

    def pooled(self, states: list[Tensor], ids: Tensor) -> Tensor:
        """The mean over three states and all positions."""
        return torch.stack(states, dim=1).mean(dim=2).mean(dim=1)
