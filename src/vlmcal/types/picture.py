"""An image that is more than one file of 8-bit pixels: which part of a file it is, and how it is shown."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias, get_args

from vlmcal.errors import SpecError, require_known

Plane: TypeAlias = Literal["axial", "coronal", "sagittal"]
PLANES: Final[tuple[str, ...]] = get_args(Plane)
EACH: Final = "each"  # word for a window from the smallest to the largest value of each image
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_WINDOW = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")


@dataclass(frozen=True)
class View:
    """How an image of many grey values, frames or slices is shown.

    Attributes:
        window: "LOW..HIGH": what is at most LOW is black, at least HIGH white, in the unit of the image
            (Hounsfield units in CT). "each": from the smallest to the largest value of each image. "": as the
            file says, where it does.
        frame: Which frame of a series, or slice of a volume, from 0; -1 is the middle. None: there is one.
        plane: Of a volume: "axial", "coronal" or "sagittal"; "" for pictures.

    Raises:
        SpecError: The window is neither, or the plane is none of these.

    Example:
        >>> View("-160..240").limits, View().limits
        ((-160.0, 240.0), None)
    """

    window: str = ""
    frame: int | None = None
    plane: str = ""

    def __post_init__(self) -> None:
        if self.window not in ("", EACH):
            found = _WINDOW.fullmatch(self.window)
            if found is None or float(found[1]) >= float(found[2]):
                raise SpecError(
                    f'window: expected LOW..HIGH with LOW below HIGH, such as -160..240, or "{EACH}", got '
                    f'"{self.window}"; a level L and a width W are L-W/2..L+W/2'
                )
        if self.plane:
            require_known(self.plane, PLANES, "plane: unknown plane")
        if self.frame is not None and self.frame < -1:
            raise SpecError(
                f"frame: expected a number from 0, or -1 for the middle, got {self.frame}"
            )

    @property
    def limits(self) -> tuple[float, float] | None:
        """LOW and HIGH of a window that is stated in numbers."""
        found = _WINDOW.fullmatch(self.window)
        return None if found is None else (float(found[1]), float(found[2]))


@dataclass(frozen=True)
class Bytes:
    """A stretch of a file, such as a member of a tar archive.

    Attributes:
        start: Its first byte.
        length: How many.
        name: Of the member.
    """

    start: int
    length: int
    name: str


@dataclass(frozen=True)
class Cell:
    """A cell of a Parquet file that holds a whole image.

    Attributes:
        column: Name of the column.
        row: Number of the row, from 0.
    """

    column: str
    row: int

    @property
    def name(self) -> str:
        """As it is said to people."""
        return f"{self.column} {self.row}"


@dataclass(frozen=True)
class Picture:
    """An image that is a part of a file, or is shown in a way that the file does not say.

    Stands for a path wherever a data set has one; read by :func:`vlmcal.io.images.read_image`.

    Attributes:
        file: The file.
        view: How it is shown.
        part: Which part of the file; None for all of it.

    Example:
        >>> str(Picture(Path("ct.dcm"), View(frame=3)))
        'ct.dcm[3]'
        >>> str(Picture(Path("a.tar"), part=Bytes(512, 9, "1.png")))
        'a.tar[1.png]'
    """

    file: Path
    view: View = View()
    part: Bytes | Cell | None = None

    def __str__(self) -> str:
        """The file, with its part or frame in brackets."""
        inside = self.part.name if self.part else self.view.frame
        return str(self.file) if inside is None else f"{self.file}[{inside}]"

    @property
    def name(self) -> str:
        """What tells the kind of image by its ending."""
        named = isinstance(self.part, Bytes)
        return self.part.name if named else "" if self.part else self.file.name  # type: ignore[union-attr]

    def is_file(self) -> bool:
        """Whether the file is there."""
        return os.path.isfile(self.file)

    @property
    def size(self) -> int:
        """Bytes that it takes in the file; of a cell those of the file."""
        return self.part.length if isinstance(self.part, Bytes) else self.file.stat().st_size
