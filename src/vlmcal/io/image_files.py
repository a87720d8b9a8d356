"""Images named on a command line or in a list: found, opened, and all problems said at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from vlmcal.errors import DataError
from vlmcal.io.dicom import DICOM_SUFFIXES, is_dicom
from vlmcal.io.images import UnreadableImage, raise_unreadable, tried
from vlmcal.io.nifti import NIFTI_SUFFIXES

IMAGE_SUFFIXES: Final = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
    *DICOM_SUFFIXES, *NIFTI_SUFFIXES,
)  # fmt: skip


def is_image(path: Path) -> bool:
    """Whether a file is an image by its name; one without an ending is, if it is DICOM inside.

    Example:
        >>> is_image(Path("a/B.JPG")), is_image(Path("brain.nii.gz")), is_image(Path("notes.gz"))
        (True, True, False)
    """
    return path.name.lower().endswith(IMAGE_SUFFIXES) or (not path.suffix and is_dicom(path))


def find_images(paths: Sequence[Path]) -> list[Path]:
    """The files named, and those inside folders that are named at any depth, sorted within a folder.

    Hidden files and folders are passed over.

    Raises:
        DataError: A path does not exist, or a folder holds no image; all of them at once.
    """
    found: list[Path] = []
    problems = []
    for path in paths:
        if path.is_dir():
            every = (p for p in path.rglob("*") if not _hidden(p.relative_to(path)))
            inside = sorted(p for p in every if not p.is_dir() and is_image(p))
            found += inside
            if not inside:
                problems.append(f"{path}: no images in this folder")
        elif path.exists():
            found.append(path)
        else:
            problems.append(f"{path}: does not exist")
    if problems:
        raise DataError("images to classify:\n  " + "\n  ".join(problems))
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in path.parts)


def open_images(sources: Sequence[object]) -> list[Image.Image]:
    """RGB images from paths, uint8 arrays or PIL images.

    Raises:
        DataError: Some cannot be read; lists all of them.
    """
    found = list(tried(sources))
    raise_unreadable([each for each in found if isinstance(each, UnreadableImage)], len(sources))
    return [each for each in found if isinstance(each, Image.Image)]
