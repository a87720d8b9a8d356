"""A table of images and labels: CSV, TSV, Parquet or JSONL."""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from vlmcal.data.assemble import Rows, as_folder, as_templates, assemble
from vlmcal.data.base import DATASETS, ByName, accepts
from vlmcal.data.frames import Frame, show_as
from vlmcal.data.label_column import filled, labels_of
from vlmcal.data.problems import Findings, shown
from vlmcal.data.splits import groups_on_two_sides, split_alias, split_names
from vlmcal.data.table import Table, missing_column, read_table
from vlmcal.errors import nearest
from vlmcal.io.column_names import words
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed
from vlmcal.types.picture import Plane

_GROUPS = {"patient", "patientid", "subject", "participant", "donor", "slide", "slideid", "study"}
_NUMBERED = {"id", "uid", "no", "nr", "number", "name", "code"}


@DATASETS.register("manifest")
@accepts(ByName((".csv", ".tsv", ".parquet", ".jsonl", ".csv.gz", ".tsv.gz", ".jsonl.gz")))
def manifest(
    path: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    image_root: str | Path = "",
    image: str = "image",
    label: str = "label",
    split: str = "split",
    group: str = "group",
    id: str = "id",
    class_name: str = "class",
    ignore: Sequence[str] = (),
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
    window: str = "",
    frame: Frame = None,
    frame_column: str = "",
    plane: Plane | None = None,
    by_patient: bool = True,
) -> Dataset:
    r"""Load a table with one image per row.

    Columns ``image`` and ``label`` are needed; ``split``, ``group``, ``id`` and ``class`` are used
    if there; others are ignored. What a label means is never guessed:

    - If any label is not an integer, labels are class names; the classes are ``class_names`` or, without
      that list, the names that occur, sorted.
    - If all labels are integers, they count from 0 into ``class_names``, or into the names that the
      ``class`` column gives for each of them. One of the two is needed.

    Args:
        path: A ``.csv``, ``.tsv``, ``.jsonl`` (also with ``.gz`` after it) or ``.parquet`` file.
        class_names: K names in label order.
        image_root: Folder that relative image paths start from; default: the folder of the file.
        image: Name of the column with the image path.
        label: Name of the column with the class name or index.
        split: Name of the column with train, val, test or calibration. Without it, a stratified split
            50/20/30 is drawn (:func:`vlmcal.data.splits.stratified_split`).
        group: Name of the column with the patient or slide. A column that seems to hold patients and is not
            named is remarked on, never used.
        id: Name of the column with one distinct name per row; default: the image path as written.
        class_name: Name of the column with the class name that belongs to an integer label.
        ignore: Columns that are none of these although their name is similar.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the file name.
        split_seed: Seed of the split if there is no split column.
        window: "LOW..HIGH" for images of more than 8 bits (:class:`vlmcal.types.picture.View`); DICOM files
            mostly have their own.
        frame: Of series and volumes: a number from 0, "middle", or "all" (a row each).
        frame_column: Column with the number of each row's frame; ids are then "image[frame]".
        plane: Of NIfTI volumes.
        by_patient: Whether the patient of DICOM files is their group, where there is no group column.

    Raises:
        InvalidDataError: Lists all defective rows and columns at once.
        DataError: The file cannot be read at all.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "eyes.csv")
        >>> _ = table.write_text("image,label,split\na.png,sick,train\nb.png,well,test\n")
        >>> data = manifest(table)
        >>> data.class_names, data.labels.tolist(), data.splits.tolist()
        (('sick', 'well'), [0, 1], ['train', 'test'])
    """
    file = Path(path).expanduser()
    table = read_table(file)
    findings = Findings(name or Path(file.name.removesuffix(".gz")).stem)
    names = {"split": split, "group": group, "id": id, "class_name": class_name}
    known = (*ignore, *filter(None, [frame_column]))
    _require_columns(table, {"image": image, "label": label}, names, known, findings)
    if image not in table or label not in table:
        findings.raise_errors()
    images = filled(table, image, findings)
    labels, classes = labels_of(table, label, class_name, class_names, findings)
    rows = Rows(
        images=[as_folder(image_root, file.parent) / Path(cell).expanduser() for cell in images],
        labels=[code if cell else -1 for code, cell in zip(labels, images, strict=True)],
        ids=filled(table, id, findings) if id in table else list(images),
        splits=split_cells(table, split, findings) if split in table else None,
        groups=filled(table, group, findings) if group in table else None,
    )
    numbers = _numbers(table, frame_column, findings) if frame_column else []
    if numbers and id not in table:
        rows.ids = [f"{name}[{n}]" for name, n in zip(rows.ids, numbers, strict=True)]
    show_as(
        rows,
        findings,
        window=window,
        frame=frame,
        frames=numbers,
        plane=plane,
        by_patient=by_patient,
    )
    if rows.groups is None:
        offer_groups(table, {image, label, split, id, class_name, *known}, rows.splits, findings)
    return assemble(
        rows, classes, findings=findings, templates=as_templates(templates), split_seed=split_seed
    )


def _require_columns(
    table: Table,
    needed: dict[str, str],
    optional: dict[str, str],
    ignore: Sequence[str],
    findings: Findings,
) -> None:
    for parameter, column in needed.items():
        if column not in table:
            findings.error("missing-column", missing_column(column, parameter, table), [column])
    for parameter, column in optional.items():
        if column not in table and column not in (parameter, "class"):
            findings.error("missing-column", missing_column(column, parameter, table), [column])
    used = {*needed.values(), *optional.values(), *ignore}
    for column in table:
        wanted = [name for name in optional.values() if name not in table]
        if column not in used and (close := _similar(column, wanted)):
            findings.error(
                "unclear-column",
                f'column "{column}" is not used but looks like "{close}"; rename it, or pass '
                f'ignore=["{column}"]',
                [column],
            )


def offer_groups(
    table: Table, known: set[str], splits: Sequence[str] | None, findings: Findings
) -> None:
    """Remark on columns that seem to hold patients or slides, which are never guessed to be the groups."""
    for column in table:
        cells = [cell or "" for cell in table[column]]
        n = len(set(cells))
        named = set(words(column)) - _NUMBERED
        if column in known or n == len(cells) or not named or not named <= _GROUPS:
            continue
        if splits is None:
            where = "and the split that is drawn here does not keep them together"
        else:
            shared = groups_on_two_sides(np.asarray(splits), np.asarray(cells))
            where = f"and {len(shared)} of them lie in more than one split"
        findings.warning(
            "unnamed-group",
            f'column "{column}" has {n} values for {len(cells)} images {where}; it is not used. If one '
            f'patient or slide must stay on one side, pass group={column}; else pass ignore=["{column}"]',
            [column],
        )


def _similar(column: str, wanted: Sequence[str]) -> str | None:
    plain = re.sub(r"[\s_-]", "", column.lower())
    close = get_close_matches(plain, wanted, n=1, cutoff=0.85)
    return close[0] if close else None


def _numbers(table: Table, column: str, findings: Findings) -> list[int | None]:
    if column not in table:
        findings.error("missing-column", missing_column(column, "frame_column", table), [column])
        findings.raise_errors()
    cells = filled(table, column, findings)
    bad = [row for row, cell in enumerate(cells, 1) if cell and not cell.isdecimal()]
    if bad:
        findings.error(
            "bad-frame", f'column "{column}": no number from 0 in data rows {shown(bad)}', bad
        )
    return [int(cell) if cell.isdecimal() else None for cell in cells]


def split_cells(table: Table, column: str, findings: Findings) -> list[str]:
    """The split that each cell of a column names, "" (and an error in ``findings``) where it names none."""
    cells = filled(table, column, findings)
    known = {cell: split_alias(cell) for cell in set(cells)}
    for cell in sorted(cell for cell, split in known.items() if split is None and cell):
        where = [row for row, value in enumerate(cells, 1) if value == cell]
        findings.error(
            "unknown-split",
            f'unknown split "{cell}" in data rows {shown(where)}; {nearest(cell, split_names())}',
            where,
        )
    return [known[cell] or "" for cell in cells]
