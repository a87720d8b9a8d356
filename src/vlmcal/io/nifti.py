"""Slices of NIfTI volumes, as radiologists look at them. Needs the extra ``nifti``."""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.errors import DataError
from vlmcal.extras import naming_extras
from vlmcal.io.shown import explained, require_pixels
from vlmcal.io.windows import by_view, windowed
from vlmcal.types.picture import PLANES, View

NIFTI_SUFFIXES: Final = (".nii", ".nii.gz")
# Of a volume that counts to right, front and top.
_AXIS: Final = {"sagittal": 0, "coronal": 1, "axial": 2}


def is_nifti(name: str) -> bool:
    """Whether a file name is that of a volume."""
    return name.lower().endswith(NIFTI_SUFFIXES)


def n_slices(path: Path, plane: str) -> int:
    """Slices of a volume across a plane.

    Raises:
        DataError: Not a readable volume of three axes.
        MissingExtraError: nibabel is not installed.
    """
    _, shape, order, _ = _opened(path)
    return int(shape[order[_AXIS[plane]]])


def nifti_slice(path: Path, view: View) -> Image.Image:
    """One slice in RGB: of the plane stated, counted from the patient's left, back or feet.

    The top of the picture is the front (axial) or the head; its left side is the patient's right (axial,
    coronal) or front (sagittal). Values go through the window stated, else through the display range of the
    file (``cal_min``, ``cal_max``) where it has one.

    Source: Cox et al., NIfTI-1 data format, https://nifti.nimh.nih.gov/nifti-1.

    Args:
        path: ``.nii`` or ``.nii.gz``.
        view: Plane, slice (``frame``; -1 is the middle) and window.

    Raises:
        DataError: Unreadable, not three axes, no plane or slice chosen, or a window is needed.
        MissingExtraError: nibabel is not installed.
    """
    flat, (low, high) = _slice(path, view)
    if not view.window and high > low:
        return Image.fromarray(windowed(flat, low, high)).convert("RGB")
    return Image.fromarray(by_view(flat, view, str(path), "a volume of grey values")).convert("RGB")


def nifti_range(path: Path, view: View) -> tuple[float, float]:
    """Smallest and largest finite value of one slice.

    Raises:
        DataError: As :func:`nifti_slice`; or no value is finite.
        MissingExtraError: nibabel is not installed.
    """
    flat = _slice(path, view)[0]
    finite = flat[np.isfinite(flat)]
    if not finite.size:
        raise DataError(f"{path}: no value is a finite number; repair the file")
    return float(finite.min()), float(finite.max())


def _slice(path: Path, view: View) -> tuple[NDArray[Any], tuple[float, float]]:
    """Values of one slice, turned as it is looked at, and the display range of the file."""
    volume, shape, order, signs = _opened(path)
    if not view.plane or view.frame is None:
        sizes = " x ".join(map(str, shape))
        raise DataError(
            f"{path}: a volume of {sizes}; choose slices: pass plane={'|'.join(PLANES)} and pass "
            "frame=INDEX from 0 (-1 is the middle) or frame=all"
        )
    across = order[_AXIS[view.plane]]
    count = shape[across]
    if view.frame >= count:
        raise DataError(f"{path}: no {view.plane} slice {view.frame}; it has {count}, from 0")
    number = count // 2 if view.frame == -1 else view.frame
    width, height = (size for axis, size in enumerate(shape) if axis != across)
    require_pixels(width, height, str(path))
    index: list[Any] = [slice(None)] * 3
    index[across] = number if signs[across] > 0 else count - 1 - number
    with explained(path, "NIfTI"):
        flat = np.asarray(volume.dataobj[(*index, *(0 for _ in volume.shape[3:]))])
    left = [axis for axis in range(3) if axis != across]
    wanted = [axis for axis in order if axis != across]  # canonical order: right, front, top
    flat = flat if left == wanted else flat.T
    flat = flat[tuple(slice(None, None, -1 if signs[axis] > 0 else 1) for axis in wanted)].T
    limits = (float(volume.header["cal_min"]), float(volume.header["cal_max"]))
    return flat, limits


def _opened(path: Path) -> tuple[Any, tuple[int, ...], list[int], list[int]]:
    """A volume, its shape, its axis for each of right, front and top, and the direction of each axis."""
    with explained(path, "NIfTI"), naming_extras():
        import nibabel as nib

        volume = nib.load(path)
        shape = tuple(map(int, volume.shape))
        orientation = nib.io_orientation(volume.affine)
    if len(shape) < 3 or any(n != 1 for n in shape[3:]):
        raise DataError(
            f"{path}: expected a volume of three axes, got shape {shape}; write each volume of a series to "
            "a file of its own (nibabel.four_to_three)"
        )
    if np.isnan(orientation).any():
        raise DataError(
            f"{path}: the affine does not say which way the axes run; repair the header"
        )
    order = [int(np.flatnonzero(orientation[:, 0] == axis)[0]) for axis in range(3)]
    return volume, shape[:3], order, [int(sign) for sign in orientation[:, 1]]
