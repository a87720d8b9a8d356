import pytest
import torch

from learners.plain_clip import PlainCLIP
from vlmcal.backbones import load_backbone
from vlmcal.learners.base import Batch


@pytest.fixture(scope="session")
def wide_encoder(tiny_folder):
    """The tiny encoder in float64 with a factor at which a random model is not saturated."""
    return load_backbone(str(tiny_folder), dtype=torch.float64).with_logit_scale(20.0)


@pytest.fixture(scope="session")
def plain(wide_encoder):
    clip = PlainCLIP(wide_encoder)
    clip.scale = 20.0
    return clip


@pytest.fixture(scope="session")
def pixel_batch(wide_encoder):
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randn(2, 3, 3, 16, 16, generator=generator, dtype=torch.float64)
    features = [wide_encoder.encode_pixels(view) for view in pixels]
    return Batch(
        image_features=features[0],
        second_image_features=features[1],
        labels=torch.tensor([2, 0, 1]),
        pixels=pixels[0],
        second_pixels=pixels[1],
        step=0,
        seed=1,
    )
