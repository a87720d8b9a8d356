"""An encoder that tells how many images each forward pass was for."""

import pytest


@pytest.fixture
def counting():
    """Makes an encoder list the images of each pass as ``passes``, without those that fill a batch up."""

    def count(encoder):
        encode = encoder.encode_pixels
        encoder.passes = []

        def counted(pixels):
            like_last = (pixels == pixels[-1]).flatten(1).all(dim=1)
            others = int((~like_last).nonzero().max()) + 1 if not like_last.all() else 0
            encoder.passes.append(others + 1)
            return encode(pixels)

        encoder.encode_pixels = counted
        return encoder

    return count
