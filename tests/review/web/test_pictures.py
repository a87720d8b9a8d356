"""Images of cases: from the folders of the source only, shown in 8 bits, and said why not."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi", reason="needs the extra app")

from scans import dicom, nifti
from vlmcal.errors import DataError
from vlmcal.review.web.pictures import Shelf, inside, look
from vlmcal.types.picture import Picture, View


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def deep(file, values):
    Image.fromarray(np.asarray(values, dtype=np.uint16)).save(file)
    return file


@pytest.mark.parametrize(
    "wanted",
    ["../outside.png", "link.png", "folder/../../outside.png", "{outside}", "linked/outside.png"],
)
def test_nothing_outside_the_folders_is_read(tmp_path, wanted):
    root = tmp_path / "images"
    (root / "folder").mkdir(parents=True)
    outside = tmp_path / "outside.png"
    Image.new("L", (2, 2)).save(outside)
    (root / "link.png").symlink_to(outside)
    (root / "linked").symlink_to(tmp_path)
    with pytest.raises(DataError, match="outside the folders of the source") as raised:
        inside(Path(wanted.format(outside=outside)), [root])
    assert str(tmp_path) not in str(raised.value)


def test_files_of_every_folder_are_found_and_missing_ones_said(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name / f"{name}.png")
    roots = [tmp_path / "a", tmp_path / "b"]
    assert inside(Path("b.png"), roots) == tmp_path / "b" / "b.png"
    assert inside(tmp_path / "a" / "a.png", roots) == tmp_path / "a" / "a.png"
    for absent in ("c.png", "%2e%2e/a.png", "."):
        with pytest.raises(DataError, match="missing"):
            inside(Path(absent), roots)


def test_a_deep_image_is_shown_by_its_own_range_and_that_is_said(tmp_path):
    picture = Picture(deep(tmp_path / "a.png", [[100, 4100]]))
    seen = look(picture)
    assert (seen.low, seen.high, seen.view.window, seen.chosen) == (100, 4100, "each", True)
    stated = look(Picture(picture.file, View("0..200")))
    assert (stated.view.window, stated.chosen) == ("0..200", False)
    assert pixels(Shelf().png(Picture(picture.file, stated.view))).ravel().tolist() == [128, 255]


def test_a_plain_image_needs_no_window(tmp_path):
    Image.new("RGB", (3, 2), (9, 8, 7)).save(tmp_path / "a.jpg")
    seen = look(Picture(tmp_path / "a.jpg"))
    assert (seen.low, seen.view.window, seen.reason, seen.frames) == (None, "", "", 1)


def test_frames_and_slices_start_in_the_middle_and_stay_in_range(tmp_path):
    series = dicom(tmp_path / "s.dcm", np.arange(5 * 4, dtype=np.uint16).reshape(5, 2, 2))
    seen = look(Picture(series))
    assert (seen.frames, seen.view.frame, seen.planes, seen.low, seen.high) == (5, 2, (), 8, 11)
    assert look(Picture(series, View(frame=99))).view.frame == 4
    body = nifti(tmp_path / "v.nii.gz", np.arange(24, dtype=np.float32).reshape(2, 3, 4))
    seen = look(Picture(body))
    assert (seen.frames, seen.view.frame, seen.view.plane) == (4, 2, "axial")
    assert look(Picture(body, View(plane="sagittal"))).frames == 2
    assert Shelf().png(Picture(body, seen.view)).startswith(b"\x89PNG")


def test_the_window_of_a_file_is_kept(tmp_path):
    tags = {"WindowCenter": 40, "WindowWidth": 80, "RescaleIntercept": -1000, "RescaleSlope": 1}
    seen = look(Picture(dicom(tmp_path / "a.dcm", np.array([[0, 1040]], dtype=np.uint16), **tags)))
    assert (seen.view.window, seen.chosen, seen.low, seen.high) == ("", False, -1000, 40)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.png", b"no image", "not a readable image"), ("a.dcm", b"no image", "not readable as DICOM"),
     ("a.nii", b"no image", "not readable as NIfTI")],
)  # fmt: skip
def test_what_is_wrong_with_an_image_is_said_without_its_folder(tmp_path, name, content, said):
    file = tmp_path / name
    file.write_bytes(content)
    seen = look(Picture(file))
    assert said in seen.reason
    assert str(tmp_path) not in seen.reason


def test_nothing_but_pixels_is_sent(tmp_path):
    image = Image.new("RGB", (4, 2), "red")
    data = image.getexif()
    data[0x010E], data[0x0112] = "Jane Doe", 6
    image.save(tmp_path / "a.jpg", exif=data)
    content = Shelf().png(Picture(tmp_path / "a.jpg"))
    assert b"Jane" not in content
    assert pixels(content).shape[:2] == (4, 2)
    named = dicom(tmp_path / "a.dcm", np.zeros((2, 2), dtype=np.uint8))
    assert b"Doe" not in Shelf().png(Picture(named))


def test_few_images_are_kept_and_changed_ones_read_anew(tmp_path):
    rng = np.random.default_rng(0)
    shelf = Shelf(limit=5000)
    for number in range(5):
        file = tmp_path / f"{number}.png"
        Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(file)
        shelf.png(Picture(file))
    assert shelf.size <= 5000
    before = shelf.png(Picture(file))
    deep_values = np.full((2, 2), 7, dtype=np.uint8)
    Image.fromarray(deep_values).save(file)
    assert shelf.png(Picture(file)) != before
