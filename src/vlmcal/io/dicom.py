"""DICOM images: modality LUT, window, photometric interpretation, frames. Needs the extra ``dicom``.

Nothing but pixels, and the patient id where it is asked for, leaves this module.
"""

import io
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.errors import DataError
from vlmcal.extras import naming_extras
from vlmcal.io.shown import explained, require_pixels
from vlmcal.io.windows import by_view, windowed
from vlmcal.types.picture import View

DICOM_SUFFIXES: Final = (".dcm", ".dicom", ".dic")
_PREAMBLE, _MARK = 128, b"DICM"


class Header(NamedTuple):
    """What grouping and choosing need.

    Attributes:
        patient: The patient id; "" where the file has none.
        frames: How many images the file holds.
    """

    patient: str
    frames: int


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM by its ending, or, where it has none, by the mark at byte 128."""
    if path.suffix:
        return path.name.lower().endswith(DICOM_SUFFIXES)
    try:
        with path.open("rb") as stream:
            stream.seek(_PREAMBLE)
            return stream.read(len(_MARK)) == _MARK
    except OSError:
        return False


def read_header(source: Path | io.BytesIO) -> Header:
    """Patient and number of frames, without the pixels.

    Raises:
        DataError: Not a DICOM file.
        MissingExtraError: pydicom is not installed.
    """
    with explained(source, "DICOM", _packed), naming_extras():
        import pydicom

        tags = ["PatientID", "NumberOfFrames"]
        found = pydicom.dcmread(source, stop_before_pixels=True, specific_tags=tags)
        patient = str(found.get("PatientID", "") or "").strip()
        return Header(patient, int(found.get("NumberOfFrames", 1) or 1))


def dicom_image(content: bytes, view: View, name: str) -> Image.Image:
    """One image in RGB as a reading station shows it.

    Stored values become those of the modality (rescale slope and intercept, or its LUT), then the window: the
    stated one, else the VOI LUT or first window of the file. MONOCHROME1 is inverted, colours become RGB.

    Source: DICOM PS3.3 C.7.6.3, C.11.1 and C.11.2.

    Args:
        content: The file.
        view: Window and frame.
        name: Of the file, for messages.

    Raises:
        DataError: Not DICOM, no pixels, several frames and none chosen, or a window is needed.
        MissingExtraError: pydicom is not installed.
    """
    with explained(name, "DICOM", _packed), naming_extras():
        data, frame, values = _decoded(content, view, name)
    if values.ndim == 3:  # pydicom turns YBR into RGB
        return Image.fromarray(_eight(values, int(data.BitsStored))).convert("RGB")
    if data.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels import apply_color_lut

        colours = apply_color_lut(values, data)
        return Image.fromarray(_eight(colours[..., :3], 8 * colours.dtype.itemsize)).convert("RGB")
    grey = _grey(data, values, frame, view, name)
    if data.PhotometricInterpretation == "MONOCHROME1":
        grey = 255 - grey
    return Image.fromarray(grey).convert("RGB")


def dicom_range(content: bytes, view: View, name: str) -> tuple[float, float] | None:
    """Smallest and largest value of one frame, as the modality states them; None of colours.

    Raises:
        DataError: Not DICOM, no pixels, or several frames and none chosen.
        MissingExtraError: pydicom is not installed.
    """
    with explained(name, "DICOM", _packed), naming_extras():
        from pydicom.pixels import apply_modality_lut

        data, frame, values = _decoded(content, view, name)
        if values.ndim == 3 or data.PhotometricInterpretation == "PALETTE COLOR":
            return None
        rescale = _functional(data, frame, "PixelValueTransformationSequence")
        values = apply_modality_lut(values, data if rescale is None else rescale)
        return float(values.min()), float(values.max())


def _frame(frames: int, view: View, name: str) -> int:
    if frames == 1:
        return 0
    if view.frame is None:
        raise DataError(
            f"{name}: {frames} frames; choose one: pass frame=INDEX from 0 (-1 is the middle), or pass "
            "frame=all"
        )
    if view.frame >= frames:
        raise DataError(f"{name}: no frame {view.frame}; it has {frames}, counted from 0")
    return frames // 2 if view.frame == -1 else view.frame


def _eight(values: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    return windowed(values, 0, 2**bits - 1) if bits != 8 else values.astype(np.uint8)


def _grey(data: Any, values: NDArray[Any], frame: int, view: View, name: str) -> NDArray[np.uint8]:
    from pydicom.pixels import apply_modality_lut, apply_voi

    rescale = _functional(data, frame, "PixelValueTransformationSequence")
    values = apply_modality_lut(values, data if rescale is None else rescale)
    if view.window:
        return by_view(values, view, name, "")
    voi = _functional(data, frame, "FrameVOILUTSequence")
    voi = data if voi is None else voi
    if voi.get("VOILUTSequence"):
        bits = int(voi.VOILUTSequence[0].LUTDescriptor[2])
        return windowed(apply_voi(values, voi), 0, 2**bits - 1)
    if voi.get("WindowWidth"):
        return _by_window(values, voi, name)
    if int(data.BitsStored) == 8 and values.dtype == np.uint8:
        return np.asarray(values)
    return by_view(values, view, name, f"{data.BitsStored} bits, and the file has no window")


def _by_window(values: NDArray[Any], voi: Any, name: str) -> NDArray[np.uint8]:
    """The first window of the file, by the function that it names (C.11.2.1.2 and C.11.2.1.3)."""
    centre, width = (_first(voi.get(tag)) for tag in ("WindowCenter", "WindowWidth"))
    how = str(voi.get("VOILUTFunction") or "LINEAR").upper()
    if width <= 0 or (how == "LINEAR" and width < 1):
        raise DataError(
            f"{name}: the file's window has width {width:g}; pass window=LOW..HIGH to state one"
        )
    if how == "SIGMOID":
        slope = np.clip(-4.0 * (values.astype(np.float64) - centre) / width, -700, 700)
        return windowed(1.0 / (1.0 + np.exp(slope)), 0, 1)
    if how == "LINEAR_EXACT":
        return windowed(values, centre - width / 2, centre + width / 2)
    if width == 1:
        return np.where(values > centre - 0.5, 255, 0).astype(np.uint8)
    half = (width - 1) / 2
    return windowed(values, centre - 0.5 - half, centre - 0.5 + half)


def _first(value: Any) -> float:
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _functional(data: Any, frame: int, sequence: str) -> Any:
    """What an enhanced file says of one frame, or of all of them; None where it says nothing."""
    per_frame = data.get("PerFrameFunctionalGroupsSequence")
    shared = data.get("SharedFunctionalGroupsSequence")
    places = (per_frame[frame] if per_frame else None, shared[0] if shared else None)
    return next((place.get(sequence)[0] for place in places if place and place.get(sequence)), None)


def _decoded(content: bytes, view: View, name: str) -> tuple[Any, int, NDArray[Any]]:
    """The data set, the place of the frame that is shown, and its values as they are stored."""
    import pydicom
    from pydicom.pixels import pixel_array

    data = pydicom.dcmread(io.BytesIO(content))
    if "PixelData" not in data:
        raise DataError(f"{name}: a DICOM file without pixels ({_kind(data)})")
    frame = _frame(int(data.get("NumberOfFrames", 1) or 1), view, name)
    require_pixels(int(data.get("Columns") or 0), int(data.get("Rows") or 0), name)
    return data, frame, pixel_array(data, index=frame)


def _kind(data: Any) -> str:
    uid = data.get("SOPClassUID")
    return str(uid.name) if uid is not None else "of no stated kind"


def _packed(text: str) -> str:
    """Advice where pydicom says that it cannot read a compressed form."""
    if "decompress" not in text and "plugin" not in text:
        return ""
    return (
        "; a compressed form that pydicom reads only with another package (pip install "
        "pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg), or convert it: gdcmconv --raw IN OUT"
    )
