"""Pictures as they come: the same pixels wherever one is read, and none decoded that is too large."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
import pytest
from PIL import Image

from hostile.inputs import png
from scans import dicom
from vlmcal.data.looks import look_at
from vlmcal.data.vqa.base import load_questions
from vlmcal.elicit.images import image_bytes
from vlmcal.errors import DataError
from vlmcal.io.image_files import open_images
from vlmcal.io.images import grey_range, read_image
from vlmcal.report.pages.answers import thumbnail
from vlmcal.types.chat import ImageRef
from vlmcal.types.picture import Picture, View

TURNS = (None, *(Image.Transpose(n) for n in (0, 3, 1, 5, 4, 6, 2)))


def corners():
    """Four colours, of which the left half is transparent."""
    pixels = np.zeros((24, 40, 4), dtype=np.uint8)
    pixels[:12, :20], pixels[:12, 20:] = (255, 0, 0, 0), (0, 255, 0, 255)
    pixels[12:, :20], pixels[12:, 20:] = (0, 0, 255, 128), (255, 255, 0, 255)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_reader_sees_the_same_pixels(tmp_path, orientation):
    file, exif = tmp_path / "a.png", Image.Exif()
    exif[0x112] = orientation
    corners().save(file, exif=exif)
    white = Image.new("RGBA", corners().size, "white")
    right = Image.alpha_composite(white, corners()).convert("RGB")
    turn = TURNS[orientation - 1]
    right = right if turn is None else right.transpose(turn)
    edited = image_bytes(ImageRef(str(file), "brightness:1"))[0]
    seen = [
        read_image(file),  # train, data check
        open_images([file])[0],  # predict
        open_images([Image.open(file)])[0],
        Image.open(io.BytesIO(edited)),  # vqa
    ]
    assert all(np.array_equal(np.asarray(each), np.asarray(right)) for each in seen)
    (_, look), *_ = look_at([file], [0])  # data audit
    assert look.size == right.size
    shown = np.asarray(Image.open(io.BytesIO(thumbnail(str(file)))), dtype=int)
    assert shown.shape == np.asarray(right).shape
    assert np.abs(shown - np.asarray(right)).mean() < 12  # JPEG


def test_deep_pictures_are_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x112] = 6
    deep = Image.fromarray(np.arange(6, dtype=np.uint16).reshape(2, 3) * 10_000)
    deep.save(tmp_path / "a.png", exif=exif)
    view = View(window="0..65535")
    assert read_image(Picture(tmp_path / "a.png", view)).size == (2, 3)


def tiff(width, height, bits):
    """A TIFF that announces a size, in one strip."""
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 8), (277, 1)]
    tags += [(278, height), (279, 100)]
    head = b"II*\0" + struct.pack("<I", 108) + b"\0" * 100 + struct.pack("<H", len(tags))
    return head + b"".join(struct.pack("<HHII", tag, 4, 1, n) for tag, n in tags) + b"\0" * 4


def text_chunk():
    """A small PNG with a text of 100 MB."""
    data = b"a\0\0" + zlib.compress(b"x" * (100 << 20))
    whole = b"zTXt" + data
    chunk = struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))
    small = png(4, 4, zlib.compress(b"\0" * 52))
    return small[:33] + chunk + small[33:]


BOMBS = {
    "png": png(60_000, 60_000, zlib.compress(b"\0" * 1000)),
    "endless": png(2**31 - 1, 2**31 - 1),
    "text": text_chunk(),
    "gif": b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b"," + b"\0" * 4
    + struct.pack("<HHB", 65535, 65535, 0) + b"\2\2L\1\0;",
    "tiff": tiff(60_000, 60_000, 8),
    "overflow": tiff(2**32 - 1, 2**32 - 1, 32),
    "bmp": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 99, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6),
    "ppm": b"P6\n60000 60000\n255\n",
}  # fmt: skip


@pytest.mark.parametrize("kind", BOMBS)
def test_a_picture_that_is_too_large_by_its_header_is_refused(tmp_path, kind):
    file = tmp_path / "a.png"
    file.write_bytes(BOMBS[kind])
    for read in (read_image, lambda f: open_images([f])):
        with pytest.raises(DataError, match="not a readable image"):
            read(file)
    with pytest.raises(DataError, match="not a readable image"):
        image_bytes(ImageRef(str(file), "blank"))
    if kind != "text":
        with pytest.raises(DataError, match="not a readable image"):
            grey_range(Picture(file))
    assert thumbnail(str(file)) is None


def test_a_bomb_inside_a_table_of_questions_is_a_row_that_cannot_be_used(tmp_path):
    row = {"image": {"bytes": BOMBS["png"], "path": None}, "question": "Is it?", "answer": "yes"}
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "test.parquet")
    with pytest.raises(DataError, match="not a readable image"):
        load_questions(
            {"name": "path_vqa", "path": tmp_path / "test.parquet", "images": tmp_path / "images"}
        )


def test_scans_that_are_too_large_are_refused(tmp_path):
    scan = dicom(tmp_path / "a.dcm", np.zeros((4, 4), dtype=np.uint16))
    data = pydicom.dcmread(scan)
    data.Rows = data.Columns = 60_000
    data.save_as(scan)
    with pytest.raises(DataError, match="60,000 x 60,000 pixels, more than 178,956,970"):
        read_image(scan)
