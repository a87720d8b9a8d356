"""CLIP with the names of tensors that the transformers library gives it, and without that library.

The embedded model runs on it, so that a first prediction does not wait for some two thousand modules.
"""

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from vlmcal.backbones.towers.blocks import Block, attend


class Layer(Block):
    """A pre-norm block that is called like the library's.

    Args:
        settings: The part of ``config.json`` about one tower.
        causal: Whether a row sees no later row.
    """

    def __init__(self, settings: Any, *, causal: bool) -> None:
        super().__init__(
            settings.hidden_size,
            settings.intermediate_size,
            settings.hidden_act,
            settings.layer_norm_eps,
        )
        self.n_heads, self.causal = int(settings.num_attention_heads), causal

    def forward(self, rows: Tensor) -> Tensor:
        """(N, L, d) to (N, L, d)."""
        normed = self.layer_norm1(rows)
        rows = rows + attend(self.self_attn, normed, normed, self.n_heads, None, causal=self.causal)
        result: Tensor = rows + self.mlp(self.layer_norm2(rows))
        return result


class Layers(nn.Module):
    """The blocks of one tower, under the library's name for them."""

    def __init__(self, settings: Any, *, causal: bool) -> None:
        super().__init__()
        count = range(int(settings.num_hidden_layers))
        self.layers = nn.ModuleList(Layer(settings, causal=causal) for _ in count)

    def forward(self, rows: Tensor) -> Tensor:
        """(N, L, d) to (N, L, d)."""
        for layer in self.layers:
            rows = layer(rows)
        return rows


class TextEmbeddings(nn.Module):
    """Tokens and their positions."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        width = settings.hidden_size
        self.token_embedding = nn.Embedding(settings.vocab_size, width)
        self.position_embedding = nn.Embedding(settings.max_position_embeddings, width)

    def forward(self, ids: Tensor) -> Tensor:
        """(K, L) to (K, L, d)."""
        embedded: Tensor = self.token_embedding(ids)
        return embedded + self.position_embedding.weight[: ids.shape[1]]


class ImageEmbeddings(nn.Module):
    """A class token before the patches, with their positions."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        width, patch = settings.hidden_size, settings.patch_size
        self.num_positions = (settings.image_size // patch) ** 2 + 1
        self.class_embedding = nn.Parameter(torch.empty(width))
        self.patch_embedding = nn.Conv2d(
            settings.num_channels, width, kernel_size=patch, stride=patch, bias=False
        )
        self.position_embedding = nn.Embedding(self.num_positions, width)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1 + patches, d)."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(len(pixels), 1, -1)
        return torch.cat([first, patches], dim=1) + self.position_embedding.weight


class TextTower(nn.Module):
    """Token ids to one state per text: that of the first end token."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        self.embeddings = TextEmbeddings(settings)
        self.encoder = Layers(settings, causal=True)
        self.final_layer_norm = nn.LayerNorm(settings.hidden_size, eps=settings.layer_norm_eps)
        self.end = int(settings.eos_token_id)

    def forward(self, ids: Tensor) -> Tensor:
        """(K, L) to (K, d)."""
        rows = self.encoder(self.embeddings(ids))
        ends = (ids == self.end).int().argmax(dim=-1)
        state: Tensor = self.final_layer_norm(rows)[
            torch.arange(len(rows), device=ids.device), ends
        ]
        return state


class ImageTower(nn.Module):
    """Pixels to one state per image: that of the class token."""

    def __init__(self, settings: Any) -> None:
        super().__init__()
        width, eps = settings.hidden_size, settings.layer_norm_eps
        self.embeddings = ImageEmbeddings(settings)
        self.pre_layrnorm = nn.LayerNorm(width, eps=eps)  # the library's spelling
        self.encoder = Layers(settings, causal=False)
        self.post_layernorm = nn.LayerNorm(width, eps=eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, d)."""
        rows = self.encoder(self.pre_layrnorm(self.embeddings(pixels)))
        state: Tensor = self.post_layernorm(rows[:, 0])
        return state


class Clip(nn.Module):
    """Both towers, their projections and the logarithm of the factor s.

    Args:
        config: Content of ``config.json``; it names every size.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        text = SimpleNamespace(**config["text_config"])
        vision = SimpleNamespace(**config["vision_config"])
        width = int(config["projection_dim"])
        self.config = SimpleNamespace(**{**config, "text_config": text, "vision_config": vision})
        self.text_model, self.vision_model = TextTower(text), ImageTower(vision)
        self.visual_projection = nn.Linear(vision.hidden_size, width, bias=False)
        self.text_projection = nn.Linear(text.hidden_size, width, bias=False)
        self.logit_scale = nn.Parameter(torch.empty(()))

    def get_text_features(self, input_ids: Tensor) -> Tensor:
        """Projected features (K, D) of token ids (K, L)."""
        features: Tensor = self.text_projection(self.text_model(input_ids))
        return features

    def get_image_features(self, pixel_values: Tensor) -> Tensor:
        """Projected features (B, D) of pixels (B, 3, H, W)."""
        features: Tensor = self.visual_projection(self.vision_model(pixel_values))
        return features
