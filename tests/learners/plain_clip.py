"""CLIP written out once more from its formulas, in float64 and without any shortcut.

77 tokens per class, no shared prefix, no cached features, no module of the library: the independent
side of the learners' oracle tests. Weights come from the state dict under their published names.
"""

import math

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, normalize


class PlainCLIP:
    def __init__(self, encoder):
        config = encoder.model.config
        self.w = {k: v.double() for k, v in encoder.model.state_dict().items()}
        self.layers = {
            "text": config.text_config.num_hidden_layers,
            "vision": config.vision_config.num_hidden_layers,
        }
        self.heads = {
            "text": config.text_config.num_attention_heads,
            "vision": config.vision_config.num_attention_heads,
        }
        self.patch = config.vision_config.patch_size
        self.scale = float(self.w["logit_scale"].exp())

    def norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.w[f"{name}.weight"], self.w[f"{name}.bias"]
        return layer_norm(x, x.shape[-1:], weight, bias, 1e-5)

    def linear(self, x: Tensor, name: str, change: Tensor | None = None) -> Tensor:
        weight = self.w[f"{name}.weight"]
        weight = weight if change is None else weight + change
        return x @ weight.T + self.w.get(f"{name}.bias", 0)

    def block(self, x: Tensor, side: str, i: int, *, causal: bool, lora=None, extra=None) -> Tensor:
        """Pre-norm block; ``lora[i, "q"]`` is added to a weight, ``extra[i]`` maps the normed input."""
        name = f"{side}_model.encoder.layers.{i}"
        normed = self.norm(x, f"{name}.layer_norm1")
        parts = []
        for which in "qkv":
            change = (lora or {}).get((side, i, which))
            part = self.linear(normed, f"{name}.self_attn.{which}_proj", change)
            parts.append(part.unflatten(-1, (self.heads[side], -1)).transpose(-2, -3))
        q, k, v = parts
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if causal:
            later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
            scores = scores.masked_fill(later, -math.inf)
        mixed = (scores.softmax(dim=-1) @ v).transpose(-2, -3).flatten(-2)
        added = 0 if (extra or {}).get((side, i)) is None else extra[side, i](normed)
        x = x + self.linear(mixed, f"{name}.self_attn.out_proj")
        hidden = self.linear(self.norm(x, f"{name}.layer_norm2"), f"{name}.mlp.fc1")
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        return x + self.linear(hidden, f"{name}.mlp.fc2") + added

    def embed(self, ids: Tensor) -> Tensor:
        return self.w["text_model.embeddings.token_embedding.weight"][ids]

    def text(self, rows: Tensor, ends: Tensor, deep=None, **changes) -> Tensor:
        """Raw features (K, D) of embedded rows (K, 77, d); deep tokens replace positions 1 .. n."""
        x = rows + self.w["text_model.embeddings.position_embedding.weight"]
        for i in range(self.layers["text"]):
            tokens = (deep or {}).get(i)
            if tokens is not None:
                n = tokens.shape[-2]
                tokens = tokens.expand(len(x), n, -1)
                x = torch.cat([x[:, :1], tokens, x[:, 1 + n :]], dim=1)
            x = self.block(x, "text", i, causal=True, **changes)
        x = self.norm(x, "text_model.final_layer_norm")[torch.arange(len(x)), ends]
        return x @ self.w["text_projection.weight"].T

    def image(self, pixels: Tensor, tokens=None, deep=None, **changes) -> Tensor:
        """Raw features (B, D); tokens follow the patches, deep ones replace the last n."""
        kernel = self.w["vision_model.embeddings.patch_embedding.weight"]
        patches = torch.conv2d(pixels.double(), kernel, stride=self.patch).flatten(2).mT
        first = self.w["vision_model.embeddings.class_embedding"].expand(len(pixels), 1, -1)
        x = torch.cat([first, patches], dim=1)
        x = x + self.w["vision_model.embeddings.position_embedding.weight"]
        if tokens is not None:
            x = torch.cat([x, tokens.expand(len(x), -1, -1)], dim=1)
        x = self.norm(x, "vision_model.pre_layrnorm")
        for i in range(self.layers["vision"]):
            replaced = (deep or {}).get(i)
            if replaced is not None:
                kept = x[:, : x.shape[1] - len(replaced)]
                x = torch.cat([kept, replaced.expand(len(x), -1, -1)], dim=1)
            x = self.block(x, "vision", i, causal=False, **changes)
        x = self.norm(x[:, 0], "vision_model.post_layernorm")
        return x @ self.w["visual_projection.weight"].T

    def prompts(self, encoder, texts):
        """Embedded token ids (K, 77, d) of whole texts and the places of their end tokens."""
        ids = encoder.tokenize(texts)
        return self.embed(ids), (ids == encoder.eos_id).int().argmax(dim=1)

    def frozen_text(self, encoder, texts) -> Tensor:
        return self.text(*self.prompts(encoder, texts))


def put(rows: Tensor, context: Tensor) -> Tensor:
    """Rows (K, 77, d) with positions 1 .. M taken by the context (M, d) or (K, M, d)."""
    m = context.shape[-2]
    return torch.cat([rows[:, :1], context.expand(len(rows), m, -1), rows[:, 1 + m :]], dim=1)


def unit(x: Tensor) -> Tensor:
    return normalize(x, dim=-1)
