"""A folder of class folders, with or without train, val and test above them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

from vlmcal.data.assemble import Rows, as_templates, assemble
from vlmcal.data.base import DATASETS, ByName, accepts
from vlmcal.data.frames import Frame, show_as
from vlmcal.data.problems import Findings, shown
from vlmcal.data.splits import split_alias
from vlmcal.errors import DataError
from vlmcal.io.image_files import IMAGE_SUFFIXES, is_image
from vlmcal.io.unicode_text import text_lines
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed
from vlmcal.types.picture import Plane

Layout: TypeAlias = Literal["classes", "splits"]


@DATASETS.register("folder")
@accepts(ByName(folders=True))
def folder(
    root: str | Path,
    *,
    layout: Layout | None = None,
    class_names: Mapping[str, str] | str | Path | None = None,
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
    window: str = "",
    frame: Frame = None,
    plane: Plane | None = None,
    by_patient: bool = True,
) -> Dataset:
    """Load ``root/class/image`` or ``root/split/class/image``.

    Class folders may be nested (``cat/2024/01.png`` belongs to ``cat``). Names that start with a dot,
    ``__MACOSX`` and files that are no images are skipped. Everything is sorted by name (code points), so
    the result is the same on every machine; the classes are the sorted union of the class folders of
    all splits; ids are paths relative to ``root``.

    Args:
        root: The folder.
        layout: "splits" if the folders below ``root`` are splits (train, val, test or another
            spelling that :func:`vlmcal.data.splits.split_alias` knows), "classes" if they are classes.
            None decides by their names and refuses a mixture.
        class_names: The name to show for each class folder, as a mapping or as a text file with lines
            "folder name", such as ImageNet's ``classnames.txt``. Default: the folder's own name.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the folder's name.
        split_seed: Seed of the stratified 50/20/30 split when the layout has none.
        window: "LOW..HIGH" for images of more than 8 bits (:class:`vlmcal.types.picture.View`); DICOM files
            mostly have their own.
        frame: Of series and volumes: a number from 0, "middle", or "all" (a row each).
        plane: Of NIfTI volumes.
        by_patient: Whether the patient of DICOM files is their group.

    Raises:
        InvalidDataError: Lists images outside class folders, empty class folders and the like at once.
        DataError: No such folder, or its layout is not clear.

    Example:
        >>> import tempfile
        >>> root = Path(tempfile.mkdtemp())
        >>> for part in ("train/cat/1.png", "test/cat/2.png", "test/dog/3.png"):
        ...     (root / part).parent.mkdir(parents=True, exist_ok=True)
        ...     (root / part).touch()
        >>> data = folder(root)
        >>> data.class_names, data.ids.tolist()
        (('cat', 'dog'), ['train/cat/1.png', 'test/cat/2.png', 'test/dog/3.png'])
    """
    top = Path(root).expanduser()
    if not top.is_dir():
        raise DataError(f"{top}: no such folder")
    findings = Findings(name or top.resolve().name)
    chosen = _layout(top) if layout is None else layout
    parts = _split_folders(top, findings) if chosen == "splits" else [("", top)]
    rows = Rows(splits=[] if chosen == "splits" else None)
    folders = [
        (split, directory) for split, part in parts for directory in _class_folders(part, findings)
    ]
    classes = sorted({directory.name for _, directory in folders})
    code = {directory: place for place, directory in enumerate(classes)}
    for split, directory in folders:
        images = _images(directory, findings)
        rows.images.extend(images)
        rows.labels.extend([code[directory.name]] * len(images))
        rows.ids.extend(image.relative_to(top).as_posix() for image in images)
        if rows.splits is not None:
            rows.splits.extend([split] * len(images))
    show_as(rows, findings, window=window, frame=frame, plane=plane, by_patient=by_patient)
    _refuse_other_bytes([*classes, *rows.ids], findings)
    return assemble(
        rows,
        _shown_names(classes, class_names, findings),
        findings=findings,
        templates=as_templates(templates),
        split_seed=split_seed,
    )


def _visible(directory: Path) -> list[Path]:
    found = (e for e in directory.iterdir() if e.name != "__MACOSX" and not e.name.startswith("."))
    return sorted(found, key=lambda entry: entry.name)


def _layout(top: Path) -> Layout:
    below = [entry.name for entry in _visible(top) if entry.is_dir()]
    if not below:
        raise DataError(f"{top}: no class folders in it; expected {top.name}/class/image.png")
    splits = [entry for entry in below if split_alias(entry)]
    if splits and len(splits) < len(below):
        others = shown(entry for entry in below if entry not in splits)
        raise DataError(
            f"{top}: some folders are named like splits ({shown(splits)}) and others are not ({others}); "
            'pass layout="splits" or layout="classes", or move the others away'
        )
    return "splits" if splits else "classes"


def _split_folders(top: Path, findings: Findings) -> list[tuple[str, Path]]:
    order = ("train", "val", "calibration", "test")
    named = [(split_alias(entry.name), entry) for entry in _visible(top) if entry.is_dir()]
    found = [(split, entry) for split, entry in named if split is not None]
    spellings: dict[str, list[str]] = {}
    for split, entry in found:
        spellings.setdefault(split, []).append(entry.name)
    for split, several in spellings.items():
        if len(several) > 1:
            findings.error(
                "two-folders", f'{shown(several)} all stand for "{split}"; keep one', several
            )
    if not found:
        raise DataError(f"{top}: none of its folders is a split; expected train, val or test")
    return sorted(found, key=lambda pair: order.index(pair[0]))


def _class_folders(part: Path, findings: Findings) -> list[Path]:
    entries = _visible(part)
    stray = [entry.name for entry in entries if not entry.is_dir() and is_image(entry)]
    if stray:
        findings.error(
            "stray-image",
            f"{len(stray)} images lie directly in {part}: {shown(stray)}; move them into class folders",
            stray,
        )
    return [entry for entry in entries if entry.is_dir()]


def _images(directory: Path, findings: Findings) -> list[Path]:
    files = _files(directory)
    images = [file for file in files if is_image(file)]
    if not images:
        suffixes = sorted({file.suffix.lower() or "no ending" for file in files})
        what = f"only files with {shown(suffixes)}" if files else "no files"
        findings.error(
            "empty-class",
            f"class folder {directory} has no images ({what}); expected "
            f"{', '.join(IMAGE_SUFFIXES)}. Convert them, or remove the folder",
            [str(directory)],
        )
    return images


def _files(directory: Path) -> list[Path]:
    files: list[Path] = []
    for entry in _visible(directory):
        if not entry.is_dir():
            files.append(entry)
        elif not (entry.is_symlink() and directory.resolve().is_relative_to(entry.resolve())):
            files.extend(_files(entry))  # a link back up would lead round and round
    return files


def _refuse_other_bytes(names: Iterable[str], findings: Findings) -> None:
    """Names that are not UTF-8 can be neither shown, nor written into results, nor read by a text tower."""
    found = [
        name.encode(errors="backslashreplace").decode()
        for name in names
        if any("\ud800" <= letter <= "\udfff" for letter in name)
    ]
    if found:
        findings.error(
            "file-name", f"{len(found)} names are not UTF-8: {shown(found)}; rename them", found
        )


def _shown_names(
    folders: Sequence[str], names: Mapping[str, str] | str | Path | None, findings: Findings
) -> list[str]:
    if names is None:
        return list(folders)
    given = names if isinstance(names, Mapping) else read_names(Path(names).expanduser())
    missing = [entry for entry in folders if entry not in given]
    if missing:
        findings.error(
            "no-class-names", f"no class name is given for the folders {shown(missing)}", missing
        )
    shown_names = [given.get(entry, entry) for entry in folders]
    twice = sorted({name for name in shown_names if shown_names.count(name) > 1})
    if twice:
        findings.error(
            "class-name", f"several folders have the same class name: {shown(twice)}", twice
        )
        return list(folders)
    return shown_names


def read_names(file: Path) -> dict[str, str]:
    """Class name of each folder from lines "folder class name", in the order of the file.

    Raises:
        DataError: No such file, or a line of one word.
    """
    if not file.is_file():
        raise DataError(f"{file}: no such file with class names")
    pairs = [line.split(maxsplit=1) for line in text_lines(file)]
    short = [" ".join(pair) for pair in pairs if len(pair) < 2]
    if short:
        raise DataError(f'{file}: expected lines "folder class name", got {shown(short)}')
    return {pair[0]: pair[1] for pair in pairs}
