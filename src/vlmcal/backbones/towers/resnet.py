"""Residual networks: CLIP's modified one with an attention pool, and the common one (MedCLIP)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from vlmcal.backbones.towers.blocks import attend

EXPANSION = 4


class AttentionPool(nn.Module):
    """The mean of all places, with a position of its own, attends to every place."""

    def __init__(self, places: int, width: int, n_heads: int, out: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.positional_embedding = nn.Parameter(torch.empty(places + 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.out_proj = nn.Linear(width, out)

    def forward(self, grid: Tensor) -> Tensor:
        """(B, d, h, w) to (B, out)."""
        rows = grid.flatten(2).transpose(1, 2)
        rows = torch.cat([rows.mean(dim=1, keepdim=True), rows], dim=1) + self.positional_embedding
        return attend(self, rows[:, :1], rows, self.n_heads, None)[:, 0]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a residual.

    ``antialiased`` is CLIP's form: strides are average pools before the last convolution and in the
    shortcut. Otherwise the 3x3 convolution and the shortcut's convolution stride (the common form).
    """

    def __init__(self, inputs: int, planes: int, stride: int, *, antialiased: bool) -> None:
        super().__init__()
        outputs = planes * EXPANSION
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        inner = 1 if antialiased else stride
        self.conv2 = nn.Conv2d(planes, planes, 3, inner, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.pool = nn.AvgPool2d(stride) if antialiased and stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride > 1 or inputs != outputs:
            shortcut = nn.Conv2d(inputs, outputs, 1, 1 if antialiased else stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, h, w) to (B, 4 planes, h / stride, w / stride)."""
        y = relu(self.bn1(self.conv1(x)))
        y = self.pool(relu(self.bn2(self.conv2(y))))
        y = self.bn3(self.conv3(y))
        shortcut = x if self.downsample is None else self.downsample(self.pool(x))
        return relu(y + shortcut)


def _stage(
    inputs: int, planes: int, count: int, stride: int, *, antialiased: bool
) -> nn.Sequential:
    first = Bottleneck(inputs, planes, stride, antialiased=antialiased)
    others = [
        Bottleneck(planes * EXPANSION, planes, 1, antialiased=antialiased) for _ in range(count - 1)
    ]
    return nn.Sequential(first, *others)


def _add_stages(tower: nn.Module, width: int, layers: Sequence[int], *, antialiased: bool) -> int:
    """Give a tower its stages as ``layer1``, ``layer2``, ...; the width of the last one."""
    inputs = width
    for number, count in enumerate(layers, start=1):
        planes = width * 2 ** (number - 1)
        stage = _stage(inputs, planes, count, 1 if number == 1 else 2, antialiased=antialiased)
        setattr(tower, f"layer{number}", stage)
        inputs = planes * EXPANSION
    return inputs


class ModifiedResNet(nn.Module):
    """CLIP's ResNet: a stem of three convolutions, antialiased strides, an attention pool.

    Args:
        layers: Blocks of the four stages.
        width: Channels after the stem.
        n_heads: Of the attention pool.
        places: Places of the last grid, (image size / 32) squared.
        embed_dim: D.

    Source:
        Radford et al., ICML 2021, arXiv:2103.00020.
    """

    def __init__(
        self, layers: Sequence[int], width: int, n_heads: int, places: int, embed_dim: int
    ) -> None:
        super().__init__()
        half = width // 2
        self.width = width * 8 * EXPANSION
        self.conv1 = nn.Conv2d(3, half, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, width, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        inputs = _add_stages(self, width, layers, antialiased=True)
        self.attnpool = AttentionPool(places, inputs, n_heads, embed_dim)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, D) of pixels (B, 3, H, W)."""
        x = relu(self.bn1(self.conv1(pixels)))
        x = relu(self.bn2(self.conv2(x)))
        x = self.avgpool(relu(self.bn3(self.conv3(x))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        pooled: Tensor = self.attnpool(x)
        return pooled


class ResNet(nn.Module):
    """The common bottleneck ResNet; its last linear map is the projection.

    Args:
        layers: Blocks of the four stages.
        width: Channels after the stem (64 in ResNet-50).
        embed_dim: D.

    Source:
        He et al., CVPR 2016, arXiv:1512.03385.
    """

    def __init__(self, layers: Sequence[int], width: int, embed_dim: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        inputs = _add_stages(self, width, layers, antialiased=False)
        self.width = inputs
        self.fc = nn.Linear(inputs, embed_dim, bias=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features (B, D) of pixels (B, 3, H, W)."""
        x = self.maxpool(relu(self.bn1(self.conv1(pixels))))
        for number in range(1, 5):
            x = getattr(self, f"layer{number}")(x)
        features: Tensor = self.fc(x.mean(dim=(2, 3)))
        return features
