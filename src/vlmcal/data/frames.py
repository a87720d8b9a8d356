"""Images of many grey values, frames and slices among rows: which are shown, and whose they are."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from vlmcal.data.assemble import Rows
from vlmcal.data.problems import Findings, shown
from vlmcal.errors import DataError
from vlmcal.io.dicom import Header, is_dicom, read_header
from vlmcal.io.nifti import is_nifti, n_slices
from vlmcal.io.parts import picture_bytes
from vlmcal.options import check
from vlmcal.types.limits import Whole
from vlmcal.types.picture import PLANES, Picture, Plane, View

Frame: TypeAlias = Whole | Literal["all", "middle"] | None
# what a data set's settings say of it, and predict needs again
KEYS: Final = ("window", "frame", "plane")


def as_shown(
    images: Sequence[Any], *, window: str = "", frame: Frame = None, plane: Plane | None = None
) -> list[Any]:
    """Images for prediction as those of a data set with these settings are shown; others than paths stay.

    Raises:
        SpecError: The window is no window.
        InvalidDataError: Series or volumes of which nobody says the frame.

    Example:
        >>> str(as_shown(["ct.png"], window="0..4095")[0]), as_shown(["photo.png"])
        ('ct.png', [PosixPath('photo.png')])
    """
    found: list[Any] = []
    findings = Findings("images to classify")
    for image in images:
        if not isinstance(image, str | Path | Picture):
            found.append(image)
            continue
        source = Path(image) if isinstance(image, str) else image
        rows = Rows(images=[source], labels=[0], ids=[str(source)])
        show_as(rows, findings, window=window, frame=frame, plane=plane, by_patient=False)
        found += rows.images
    findings.raise_errors()
    return found


def shown_settings(data: Mapping[str, Any]) -> dict[str, Any]:
    """Those settings of a data set that say how its images are shown, with their types.

    Raises:
        SpecError: One of another type.

    Example:
        >>> from vlmcal.options import Typed
        >>> shown_settings({"path": "scans", "frame": Typed("3"), "window": "0..400"})
        {'window': '0..400', 'frame': 3}
    """
    return check(as_shown, {key: data[key] for key in KEYS if key in data}, "images")


@dataclass
class _Row:
    """One image of the source, and the frames of it that become rows."""

    picture: Picture
    frames: list[int | None]
    patient: str = ""
    volume: bool = False


def show_as(
    rows: Rows,
    findings: Findings,
    *,
    window: str = "",
    frame: Frame = None,
    plane: Plane | None = None,
    by_patient: bool = True,
    frames: Sequence[int | None] = (),
) -> None:
    """Give rows the window, frame and plane they are shown in, and DICOM rows their patient as group.

    With ``frame="all"`` a series or volume becomes a row per frame; these are one group where nothing else
    says whose they are. Patients are numbered as they come ("patient 1"): no id of theirs is kept.

    Args:
        rows: What was read; changed in place.
        findings: Where frames that nobody chose are noted.
        window: As in :class:`vlmcal.types.picture.View`.
        frame: A number from 0, "middle", or "all".
        plane: Of volumes.
        by_patient: Whether the patient of DICOM files is their group, where no other groups are given.
        frames: (N,) a number per row, which wins over ``frame``.

    Raises:
        SpecError: The window is no window.
    """
    view = View(window, plane=plane or "")
    every = frame == "all"
    one = -1 if frame == "middle" else frame if isinstance(frame, int) else None
    chosen = list(frames) or [one] * len(rows.images)
    special = view != View() or any(number is not None for number in chosen)
    if not special and not any(_is_special(image) for image in rows.images):
        return
    found, unchosen, headers = [], [], 0
    for image, choice, name in zip(rows.images, chosen, rows.ids, strict=True):
        picture = image if isinstance(image, Picture) else Picture(image)
        row, count = _Row(replace(picture, view=view), [None]), 1
        try:
            if _dicom(picture):
                header = _header(picture)
                row.patient, count, headers = header.patient, header.frames, headers + 1
            elif picture.part is None and is_nifti(picture.name):
                row.volume = True
                count = n_slices(picture.file, plane) if plane else 2
        except (DataError, OSError):
            pass  # whoever reads the pixels says what is wrong, of all such files at once
        if count > 1 or row.volume:
            if (choice is None and not every) or (row.volume and not plane):
                unchosen.append(f"{name} ({'a volume' if row.volume else f'{count} frames'})")
            row.frames = [*range(count)] if every else [choice]
        found.append(row)
    if unchosen:
        findings.error(
            "frame",
            f"{len(unchosen)} images are series or volumes: {shown(unchosen)}; pass frame=INDEX (from 0), "
            f"pass frame=middle, or pass frame=all; of volumes also pass plane={'|'.join(PLANES)}",
            unchosen,
        )
    _name_patients(rows, found, by_patient and headers > 0, findings)
    _write(rows, found)


def _is_special(image: Path | Picture) -> bool:
    picture = image if isinstance(image, Picture) else Picture(image)
    return _dicom(picture) or is_nifti(picture.name)


def _dicom(picture: Picture) -> bool:
    return is_dicom(picture.file if picture.part is None else Path(picture.name or "cell.png"))


def _header(picture: Picture) -> Header:
    whole = picture.part is None
    return read_header(picture.file if whole else io.BytesIO(picture_bytes(picture)))


def _name_patients(rows: Rows, found: Sequence[_Row], wanted: bool, findings: Findings) -> None:
    several = any(len(row.frames) > 1 for row in found)
    if rows.groups is not None or not (wanted or several):
        return
    patients = {p: n for n, p in enumerate(dict.fromkeys(r.patient for r in found if r.patient), 1)}
    if wanted and patients:
        rows.groups = [
            f"patient {patients[row.patient]}" if row.patient else name
            for row, name in zip(found, rows.ids, strict=True)
        ]
        without = sum(not row.patient for row in found)
        findings.warning(
            "patients",
            f"{len(found) - without} images of {len(patients)} patients by their DICOM files, kept on one "
            f"side of every split{f'; {without} without a patient, each by itself' if without else ''} "
            "(by_patient=false takes every image by itself)",
        )
        return
    if wanted:
        findings.warning(
            "patients", "the DICOM files name no patient: images of one can lie on two sides"
        )
    if several:
        rows.groups = list(rows.ids)


def _write(rows: Rows, found: Sequence[_Row]) -> None:
    """The rows with one row per chosen frame."""
    index = [(place, frame) for place, row in enumerate(found) for frame in row.frames]
    many = {place for place, row in enumerate(found) if len(row.frames) > 1}
    images = [
        replace(found[place].picture, view=replace(found[place].picture.view, frame=frame))
        for place, frame in index
    ]
    plain = View()
    rows.images = [
        image.file if image.view == plain and image.part is None else image for image in images
    ]
    rows.ids = [
        f"{rows.ids[place]}[{frame}]" if place in many else rows.ids[place]
        for place, frame in index
    ]
    rows.labels = [rows.labels[place] for place, _ in index]
    if rows.splits is not None:
        rows.splits = [rows.splits[place] for place, _ in index]
    if rows.groups is not None:
        rows.groups = [rows.groups[place] for place, _ in index]
