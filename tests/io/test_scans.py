"""Medical files as a reading station shows them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scans import dicom, nifti
from vlmcal.errors import DataError, SpecError
from vlmcal.io.dicom import read_header
from vlmcal.io.fingerprint import image_hashes
from vlmcal.io.images import read_image
from vlmcal.types.dataset import Dataset
from vlmcal.types.picture import Picture, View


def grey(source, view=None) -> list:
    image = read_image(source if view is None else Picture(Path(source), view))
    assert image.mode == "RGB"
    return np.asarray(image)[..., 0].tolist()


# --- DICOM


def test_modality_and_window_of_the_file(tmp_path):
    stored = np.array([[0, 864, 1064, 1264, 4000]], np.uint16)  # -1024, -160, 40, 240, 2976 HU
    tags = {"RescaleSlope": 1, "RescaleIntercept": -1024, "WindowCenter": 40, "WindowWidth": 400}
    file = dicom(tmp_path / "ct.dcm", stored, **tags)
    # PS3.3 C.11.2.1.2: ((x - (c - 0.5)) / (w - 1) + 0.5) * 255
    exact = ((np.array([-160, 40, 240]) - 39.5) / 399 + 0.5) * 255
    assert grey(file) == [[0, *np.clip(np.floor(exact + 0.5), 0, 255).astype(int).tolist(), 255]]
    assert grey(file, View("-160..240")) == [[0, 0, 128, 255, 255]]


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_windows_are_those_of_pydicom(tmp_path, function, photometric):
    from pydicom import dcmread
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    stored = np.random.default_rng(0).integers(-1000, 2000, (16, 16), dtype=np.int16)
    tags = {
        "RescaleSlope": 2, "RescaleIntercept": -5, "WindowCenter": [60, 500], "WindowWidth": [350, 9],
        "VOILUTFunction": function, "PhotometricInterpretation": photometric,
    }  # fmt: skip
    file = dicom(tmp_path / "mr.dcm", stored, bits=16, **tags)
    data = dcmread(file)
    shown = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data)
    low, high = (2 * edge - 5 for edge in (-(2**15), 2**15 - 1))
    expected = np.floor((shown - low) / (high - low) * 255 + 0.5)
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    assert np.abs(np.array(grey(file)) - expected).max() <= 1


def test_a_lut_instead_of_a_window(tmp_path):
    from pydicom.dataset import Dataset as Record

    lut = Record()
    lut.LUTDescriptor = [4, 0, 8]
    lut.LUTData = [0, 10, 200, 255]
    lut["LUTData"].VR = "US"
    lut["LUTDescriptor"].VR = "US"
    file = dicom(tmp_path / "x.dcm", np.array([[0, 1, 2, 3, 9]], np.uint16), VOILUTSequence=[lut])
    assert grey(file) == [[0, 10, 200, 255, 255]]


def test_without_a_window_nothing_is_guessed(tmp_path):
    file = dicom(tmp_path / "x.dcm", np.array([[0, 4095]], np.uint16))
    with pytest.raises(DataError, match=r"12 bits.*no window.*pass window=LOW\.\.HIGH"):
        read_image(file)
    assert grey(file, View("each")) == [[0, 255]]


def test_monochrome1_is_inverted_and_eight_bits_stay(tmp_path):
    pixels = np.array([[0, 100, 255]], np.uint8)
    assert grey(dicom(tmp_path / "a.dcm", pixels)) == [[0, 100, 255]]
    inverted = dicom(tmp_path / "b.dcm", pixels, PhotometricInterpretation="MONOCHROME1")
    assert grey(inverted) == [[255, 155, 0]]


def test_colours(tmp_path):
    pixels = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    image = read_image(dicom(tmp_path / "us.dcm", pixels))
    assert np.array_equal(np.asarray(image), pixels)


def test_frames_are_chosen(tmp_path):
    frames = np.arange(5, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8) * 10
    file = dicom(tmp_path / "cine.dcm", frames)
    with pytest.raises(DataError, match="5 frames; choose one: pass frame=INDEX"):
        read_image(file)
    assert grey(file, View(frame=3)) == [[30, 30], [30, 30]]
    assert grey(file, View(frame=-1)) == [[20, 20], [20, 20]]
    with pytest.raises(DataError, match="no frame 5; it has 5"):
        grey(file, View(frame=5))


def test_an_enhanced_file_says_it_per_frame(tmp_path):
    from pydicom.dataset import Dataset as Record

    def group(centre):
        window, rescale, frame = Record(), Record(), Record()
        window.WindowCenter, window.WindowWidth, window.VOILUTFunction = centre, 100, "LINEAR_EXACT"
        rescale.RescaleSlope, rescale.RescaleIntercept = 1, -1000
        frame.FrameVOILUTSequence = [window]
        frame.PixelValueTransformationSequence = [rescale]
        return frame

    frames = np.full((2, 1, 1), 1050, np.uint16)
    groups = [group(50), group(100)]
    file = dicom(tmp_path / "e.dcm", frames, PerFrameFunctionalGroupsSequence=groups)
    assert grey(file, View(frame=0)) == [[128]]
    assert grey(file, View(frame=1)) == [[0]]


def test_damaged_files_and_files_without_pixels(tmp_path):
    (tmp_path / "a.dcm").write_bytes(b"no such thing")
    with pytest.raises(DataError, match=r"a\.dcm: not readable as DICOM"):
        read_image(tmp_path / "a.dcm")
    file = dicom(tmp_path / "b.dcm", np.zeros((4, 4), np.uint8))
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"b\.dcm: not readable as DICOM"):
        read_image(file)
    from pydicom import dcmread

    data = dcmread(dicom(tmp_path / "c.dcm", np.zeros((4, 4), np.uint8)))
    del data.PixelData
    data.save_as(tmp_path / "c.dcm")
    with pytest.raises(DataError, match="a DICOM file without pixels"):
        read_image(tmp_path / "c.dcm")


def test_a_file_without_an_ending_is_known_by_its_mark(tmp_path):
    file = dicom(tmp_path / "IM0001", np.array([[7]], np.uint8))
    assert grey(file) == [[7]]
    assert read_header(file) == ("MRN-0042", 1)


# --- 16 bits


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_need_a_window(tmp_path, name):
    file = tmp_path / name
    Image.fromarray(np.array([[0, 1000, 2000, 60000]], np.uint16)).save(file)
    with pytest.raises(
        DataError, match=r"values 0 to 60000; the window is not guessed: pass window"
    ):
        read_image(file)
    assert grey(file, View("0..2000")) == [[0, 128, 255, 255]]
    assert grey(file, View("each"))[0][::3] == [0, 255]


def test_a_constant_image_has_no_range_and_is_black(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(np.full((1, 2), 500, np.uint16)).save(file)
    assert grey(file, View("each")) == [[0, 0]]


def test_decimals_that_are_no_numbers(tmp_path):
    Image.fromarray(np.array([[0.5, np.nan]], np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match="some values are not finite"):
        grey(tmp_path / "a.tif", View("0..1"))


@pytest.mark.parametrize("window", ["5..5", "9..1", "40/400", "full", ".."])
def test_windows_that_are_none(window):
    with pytest.raises(SpecError, match=r"window: expected LOW\.\.HIGH"):
        View(window)


def test_the_window_is_part_of_what_a_data_set_is(tmp_path):
    file = tmp_path / "a.png"
    Image.fromarray(np.array([[0, 60000]], np.uint16)).save(file)

    def hashes(image):
        about = {"labels": [0], "splits": ["test"], "class_names": ("a",)}
        return image_hashes(Dataset(name="d", images=(image,), **about), tmp_path)

    narrow, wide = (Picture(file, View(w)) for w in ("0..100", "0..60000"))
    assert hashes(narrow) != hashes(wide)
    assert hashes(file) == hashes(Picture(file))


# --- NIfTI


def test_slices_look_as_radiologists_look(tmp_path):
    values = np.arange(24, dtype=np.int16).reshape(2, 3, 4)  # right, front, top
    file = nifti(tmp_path / "v.nii.gz", values)
    axial = grey(file, View("0..255", 1, "axial"))
    # the first row is the front; the first column is the patient's right
    assert axial == [[21, 9], [17, 5], [13, 1]]
    assert grey(file, View("0..255", 2, "coronal")) == values[:, 2, :][::-1, ::-1].T.tolist()
    assert grey(file, View("0..255", 0, "sagittal")) == values[0][::-1, ::-1].T.tolist()
    assert grey(file, View("0..255", -1, "axial")) == values[:, :, 2][::-1, ::-1].T.tolist()


@pytest.mark.parametrize("order", [(2, 0, 1), (1, 2, 0), (0, 2, 1)])
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, 1, -1), (1, -1, 1)])
def test_the_same_patient_stored_otherwise_looks_the_same(tmp_path, order, flips):
    import nibabel

    values = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    plain = nibabel.Nifti1Image(values, np.eye(4))
    moves = nibabel.orientations.ornt_transform(
        [[0, 1], [1, 1], [2, 1]], list(zip(order, flips, strict=True))
    )
    nibabel.save(plain.as_reoriented(moves), tmp_path / "other.nii")
    nibabel.save(plain, tmp_path / "plain.nii")
    for plane, count in {"sagittal": 3, "coronal": 4, "axial": 5}.items():
        view = View("0..60", count - 1, plane)
        assert grey(tmp_path / "other.nii", view) == grey(tmp_path / "plain.nii", view), plane


def test_volumes_need_a_plane_a_slice_and_a_window(tmp_path):
    file = nifti(tmp_path / "v.nii", np.zeros((2, 3, 4), np.int16))
    with pytest.raises(
        DataError, match=r"a volume of 2 x 3 x 4; choose slices: pass plane=axial\|"
    ):
        read_image(file)
    with pytest.raises(DataError, match=r"the window is not guessed: pass window=LOW"):
        grey(file, View(frame=0, plane="axial"))
    with pytest.raises(DataError, match="no axial slice 4; it has 4"):
        grey(file, View("0..1", 4, "axial"))
    with pytest.raises(
        DataError, match=r"expected a volume of three axes, got shape \(2, 3, 4, 5\)"
    ):
        grey(nifti(tmp_path / "t.nii", np.zeros((2, 3, 4, 5), np.int16)), View("0..1", 0, "axial"))
    (tmp_path / "bad.nii.gz").write_bytes(b"none")
    with pytest.raises(DataError, match=r"bad\.nii\.gz: not readable as NIfTI"):
        grey(tmp_path / "bad.nii.gz", View("0..1", 0, "axial"))


def test_the_display_range_of_the_file_is_a_window(tmp_path):
    import nibabel

    image = nibabel.Nifti1Image(np.array([[[0]], [[50]], [[100]]], np.int16), np.eye(4))
    image.header["cal_max"] = 100
    nibabel.save(image, tmp_path / "v.nii")
    assert grey(tmp_path / "v.nii", View(frame=0, plane="axial")) == [[255, 128, 0]]
