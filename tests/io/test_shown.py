"""Pictures are read as a viewer shows them, and features of stored pixels are never taken for theirs."""

import hashlib
import shutil

import numpy as np
import pytest
from PIL import Image

from vlmcal.data.audit import audit
from vlmcal.io.fingerprint import image_hashes
from vlmcal.io.image_files import open_images
from vlmcal.io.images import read_image
from vlmcal.io.shown import corrections
from vlmcal.types.dataset import Dataset

STORED = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
# What each EXIF orientation means, from the standard: where the stored row 0 and column 0 belong.
SHOWN = {
    1: STORED,
    2: STORED[:, ::-1],
    3: STORED[::-1, ::-1],
    4: STORED[::-1],
    5: STORED.T,
    6: np.rot90(STORED, -1),
    7: np.rot90(STORED, 2).T,
    8: np.rot90(STORED),
}


def write(path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    compressed = {"compression": "tiff_lzw"} if path.suffix == ".tif" else {}
    Image.fromarray(STORED).save(path, exif=exif, **compressed)
    return path


@pytest.mark.parametrize("ending", ["png", "tif"])
@pytest.mark.parametrize("orientation", SHOWN)
def test_pictures_are_turned_as_exif_says(tmp_path, ending, orientation):
    path = write(tmp_path / f"a.{ending}", orientation)
    with Image.open(path) as opened:
        for image in (read_image(path), *open_images([path, opened])):
            assert np.asarray(image)[:, :, 0].tolist() == SHOWN[orientation].tolist()


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(tmp_path, mode):
    image = Image.new("RGBA", (2, 1), (10, 10, 10, 255))
    image.putpixel((1, 0), (90, 0, 0, 0))
    image.convert(mode).save(tmp_path / "a.png")
    pixels = np.asarray(read_image(tmp_path / "a.png"))
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[0, 0].tolist() == [10, 10, 10]


def test_only_what_is_seen_otherwise_has_another_hash(tmp_path):
    plain = write(tmp_path / "plain.png", 1)
    turned = write(tmp_path / "turned.png", 6)
    Image.new("RGBA", (2, 2), (9, 9, 9, 255)).save(tmp_path / "opaque.png")
    Image.new("RGBA", (2, 2), (9, 9, 9, 60)).save(tmp_path / "clear.png")
    (tmp_path / "none.png").write_bytes(b"no picture")
    paths = [plain, turned, *(tmp_path / f"{name}.png" for name in ("opaque", "clear", "none"))]
    said = [corrections(path) for path in paths]
    assert said == [(), ("turned",), (), ("flattened",), ()]
    assert corrections(write(tmp_path / "turned.tif", 6)) == ()  # Pillow has always turned these

    data = Dataset(name="d", images=paths, labels=[0] * 5, splits=["train"] * 5, class_names=("a",))
    bytes_alone = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    same = [a == b for a, b in zip(image_hashes(data), bytes_alone, strict=True)]
    assert same == [True, False, True, False, True]


def test_a_check_says_what_is_turned_and_flattened(tmp_path):
    first, second = write(tmp_path / "a.png", 3), write(tmp_path / "b.png", 1)
    shutil.copy(second, tmp_path / "c.png")
    paths = [first, second, tmp_path / "c.png"]
    data = Dataset(name="d", images=paths, labels=[0] * 3, splits=["train"] * 3, class_names=("a",))
    assert "images turned as their EXIF orientation says: 1 of 3" in audit(data).overview


def test_damaged_exif_says_nothing(tmp_path):
    Image.fromarray(STORED).save(tmp_path / "a.jpg", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_image(tmp_path / "a.jpg").size == (3, 2)
