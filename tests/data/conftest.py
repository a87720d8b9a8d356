from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def draw(tmp_path):
    """Write small, pairwise different PNG files below the test's folder."""

    def write(*names: str, root: Path = tmp_path) -> Path:
        for name in names:
            file = root / name
            file.parent.mkdir(parents=True, exist_ok=True)
            seed = int.from_bytes(name.encode(), "little") % (1 << 32)
            pixels = np.random.default_rng(seed).integers(0, 256, (6, 5, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
        return root

    return write
