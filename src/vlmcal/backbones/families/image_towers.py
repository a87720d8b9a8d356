"""Image towers of the open_clip, OpenAI and CONCH layouts, sized by their tensors."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from vlmcal.backbones.towers.blocks import activation
from vlmcal.backbones.towers.resnet import EXPANSION, ModifiedResNet
from vlmcal.backbones.towers.vit import ClassToken, Patches, PatchMean, VisionTransformer
from vlmcal.backbones.weights import count, need
from vlmcal.errors import BackboneError

HEAD = 64  # width of a head wherever no file says otherwise
TIMM_EPS = 1e-6
# timm's trunks whose heads are not 64 wide: 16 of them, by the start of the name and the width.
_SIXTEEN = {
    "vit_huge_": 1280, "vit_giant_": 1408, "vit_giantopt_": 1536, "vit_gigantic_": 1664,
    "vit_so400m_": 1152, "vit_base_patch16_gap_": 768,
}  # fmt: skip


def clip_vit(
    weights: Mapping[str, Tensor], *, act: str, head: int, pool: str, name: str
) -> VisionTransformer:
    """The vision transformer of open_clip and OpenAI ("visual.conv1", "visual.transformer")."""
    patches = need(weights, "visual.conv1.weight", name)
    width, patch = patches.shape[0], patches.shape[-1]
    projection = need(weights, "visual.proj", name)
    fc = need(weights, "visual.transformer.resblocks.0.mlp.c_fc.weight", name)
    rows = len(need(weights, "visual.positional_embedding", name))
    return VisionTransformer(
        Patches(width, patch, rows, bias=False, class_token=True),
        n_layers=count(weights, r"visual\.transformer\.resblocks\.(\d+)\.ln_1\.weight"),
        width=width,
        hidden=fc.shape[0],
        n_heads=heads(width, head, name),
        act=act,
        eps=1e-5,
        pre_norm=True,
        pool=PatchMean(skip=1) if pool == "avg" else ClassToken(),
        projection=nn.Linear(width, projection.shape[1], bias=False),
    )


def timm_vit(
    weights: Mapping[str, Tensor],
    *,
    pool: str,
    name: str,
    projection: nn.Module,
    pooling: nn.Module | None = None,
    model: str = "",
) -> VisionTransformer:
    """A timm vision transformer ("visual.trunk") with exact GELU and norms of 1e-6.

    Args:
        weights: By their published names.
        pool: timm's name: "token" reads the class token, "avg" the patches, "" the one there is.
        name: For messages.
        projection: After the pool.
        pooling: Instead of what ``pool`` names.
        model: timm's name, which tells heads that are not 64 wide.
    """
    patches = need(weights, "visual.trunk.patch_embed.proj.weight", name)
    width = patches.shape[0]
    class_token = "visual.trunk.cls_token" in weights
    if pooling is None:
        if pool not in {"", "token", "avg"} or (pool == "token" and not class_token):
            raise BackboneError(
                f'{name}: pooling "{pool}" of a timm image tower is not known here (known: "", token, avg)'
            )
        mean = pool == "avg" or not class_token
        pooling = PatchMean(skip=int(class_token)) if mean else ClassToken()
    return VisionTransformer(
        Patches(
            width,
            patches.shape[-1],
            need(weights, "visual.trunk.pos_embed", name).shape[1],
            bias="visual.trunk.patch_embed.proj.bias" in weights,
            class_token=class_token,
        ),
        n_layers=count(weights, r"visual\.trunk\.blocks\.(\d+)\.norm1\.weight"),
        width=width,
        hidden=need(weights, "visual.trunk.blocks.0.mlp.fc1.weight", name).shape[0],
        n_heads=timm_heads(model, width, name),
        act="gelu",
        eps=TIMM_EPS,
        pre_norm=False,
        pool=pooling,
        projection=projection,
    )


def timm_heads(model: str, width: int, name: str) -> int:
    """Number of heads of a timm vision transformer, which no tensor shows.

    Example:
        >>> timm_heads("vit_base_patch16_224", 768, "m"), timm_heads("vit_huge_patch14_224", 1280, "m")
        (12, 16)
    """
    if any(model.startswith(start) and width == its for start, its in _SIXTEEN.items()):
        return 16
    return heads(width, HEAD, name)


class MlpHead(nn.Module):
    """open_clip's head "mlp" behind a timm trunk: a linear map with bias, GELU, one with or without."""

    def __init__(self, width: int, hidden: int, out: int, *, biases: tuple[bool, bool]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden, bias=biases[0])
        self.fc2 = nn.Linear(hidden, out, bias=biases[1])
        self.act = activation("gelu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) to (B, out)."""
        y: Tensor = self.fc2(self.act(self.fc1(x)))
        return y


def timm_head(weights: Mapping[str, Tensor], name: str) -> nn.Module:
    """The projection behind a timm trunk: linear, MLP or none, as the tensors say."""
    linear = weights.get("visual.head.proj.weight")
    if linear is not None:
        return nn.Linear(linear.shape[1], linear.shape[0], bias="visual.head.proj.bias" in weights)
    first = weights.get("visual.head.mlp.fc1.weight")
    if first is None:
        return nn.Identity()
    second = need(weights, "visual.head.mlp.fc2.weight", name)
    biases = ("visual.head.mlp.fc1.bias" in weights, "visual.head.mlp.fc2.bias" in weights)
    return MlpHead(first.shape[1], first.shape[0], second.shape[0], biases=biases)


def modified_resnet(weights: Mapping[str, Tensor], *, head: int, name: str) -> ModifiedResNet:
    """CLIP's ResNet ("visual.layer1", "visual.attnpool"); its pool has width * 32 / ``head`` heads."""
    width = need(weights, "visual.layer1.0.conv1.weight", name).shape[0]
    counts = [count(weights, rf"visual\.layer{n}\.(\d+)\.conv1\.weight") for n in range(1, 5)]
    places = len(need(weights, "visual.attnpool.positional_embedding", name)) - 1
    out = need(weights, "visual.attnpool.c_proj.weight", name).shape[0]
    last = width * 8 * EXPANSION
    return ModifiedResNet(counts, width, heads(last, head, name), places, out)


def heads(width: int, head: int, name: str) -> int:
    """Number of heads of that width.

    Raises:
        BackboneError: They do not divide the width.
    """
    if width % head:
        raise BackboneError(
            f"{name}: heads of {head} do not divide a width of {width}; correct head_width"
        )
    return width // head


def image_side(image: nn.Module, name: str) -> int:
    """Side of the images, in pixels, from the number of positions.

    Raises:
        BackboneError: The positions make no square.
    """
    if isinstance(image, ModifiedResNet):
        rows, patch = len(image.attnpool.positional_embedding) - 1, 32
    elif isinstance(image, VisionTransformer):
        rows = len(image.embed.position_embedding) - (image.embed.class_embedding is not None)
        patch = image.embed.patch_embedding.kernel_size[0]
    else:
        raise BackboneError(f"{name}: the size of its images is not known")
    side = math.isqrt(rows)
    if side * side != rows:
        raise BackboneError(
            f"{name}: {rows} image positions make no square; only square images are read"
        )
    return side * patch


class _Unset(TorchFunctionMode):
    """Leaves weights as they are made: to draw numbers without memory, torch would import its compiler."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def build(make: Any) -> Any:
    """Modules made by ``make`` without memory for their weights."""
    with torch.device("meta"), _Unset():
        return make()
