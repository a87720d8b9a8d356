"""Images named on a command line or in a list: found, opened, and all problems said at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image

from vlmcal.errors import DataError
from vlmcal.io.dicom import DICOM_SUFFIXES, is_dicom
from vlmcal.io.images import UnreadableImage, raise_unreadable, read_image
from vlmcal.io.nifti import NIFTI_SUFFIXES
from vlmcal.io.shown import flattened, turned
from vlmcal.types.picture import Picture

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
            inside = sorted(
                p
                for p in path.rglob("*")
                if not _hidden(p.relative_to(path)) and not p.is_dir() and is_image(p)
            )
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


def require_readable(sources: Sequence[object]) -> None:
    """Open one after the other and keep none.

    Raises:
        DataError: Some cannot be read; lists all of them.
    """
    _opened(sources, keep=False)


def open_images(sources: Sequence[object]) -> list[Image.Image]:
    """RGB images from paths, uint8 arrays or PIL images.

    Raises:
        DataError: Some cannot be read; lists all of them.
    """
    return _opened(sources, keep=True)


def _opened(sources: Sequence[object], *, keep: bool) -> list[Image.Image]:
    images: list[Image.Image] = []
    problems: list[UnreadableImage] = []
    for row, source in enumerate(sources):
        if isinstance(source, Image.Image):
            images += [flattened(turned(source))] if keep else []
            continue
        try:
            image = read_image(source)  # type: ignore[arg-type]
            images += [image] if keep else []
        except DataError as error:
            named = isinstance(source, str | Path | Picture)
            name = str(source) if named else "array"
            problems.append(UnreadableImage(row, name, str(error).removeprefix(f"{name}: ")))
    raise_unreadable(problems, len(sources))
    return images
