"""A table of images with several findings each, which do not exclude each other."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlmcal.data.arrays import arrays_of
from vlmcal.data.assemble import Rows, as_folder, as_templates, assemble
from vlmcal.data.base import DATASETS
from vlmcal.data.data_cards import find_card
from vlmcal.data.label_column import filled
from vlmcal.data.manifest import offer_groups, split_cells
from vlmcal.data.problems import Findings
from vlmcal.data.splits import split_alias, stratified_split
from vlmcal.errors import DataError, located, nearest
from vlmcal.io.column_names import joined, other_meaning
from vlmcal.io.finding_columns import NOTHING, listed_findings, truth_values
from vlmcal.io.multi_label import decided
from vlmcal.io.table_files import Table, read_table
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed

IMAGE_COLUMNS: Final = ("image", "path", "imageindex", "imagepath", "filename", "file", "dicomid")
LIST_COLUMNS: Final = ("findinglabels", "findings", "labels", "label", "finding")


@dataclass(frozen=True)
class FindingImages:
    """Images, and whether each finding is there.

    Attributes:
        dataset: The images; every label is 0, of the one class "image".
        names: L names of the findings.
        truth: (N, L) of 1, 0 and NaN (unknown); None where nothing is known.
        rule: Where the truths stand and what was decided about them.
    """

    dataset: Dataset
    names: tuple[str, ...]
    truth: FloatArray | None
    rule: str

    def of(self, finding: str) -> Dataset:
        """One finding as two classes, "no NAME" and NAME: the images whose truth is known.

        Raises:
            DataError: No such finding, or nobody knows it of any image.
        """
        if finding not in self.names or self.truth is None:
            raise DataError(f'no finding "{finding}"; {nearest(finding, self.names)}')
        truth = self.truth[:, self.names.index(finding)]
        known = np.flatnonzero(np.isfinite(truth))
        if not known.size:
            raise DataError(f'finding "{finding}": its truth is known of no image')
        rows = self.dataset.subset(known)
        left = len(truth) - known.size
        said = (f"{left:,} images whose {finding} is unknown are left out",) if left else ()
        return replace(
            rows,
            name=f"{rows.name}: {finding}",
            labels=truth[known].astype(np.int64),
            class_names=(f"no {finding}", finding),
            remarks=(*rows.remarks, self.rule, *said),
        )


def read_finding_images(
    path: str | Path,
    *,
    findings: Sequence[str] = (),
    image: str | None = None,
    labels: str | None = None,
    uncertain: str | None = None,
    blank: str | None = None,
    image_root: str | Path = "",
    split: str = "split",
    group: str = "group",
    id: str = "id",
    ignore: Sequence[str] = (),
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
    labels_needed: bool = True,
) -> FindingImages:
    r"""Read a table with one image per row and the truths of several findings.

    Truths stand in a column for each finding (1, 0, -1 for uncertain, empty; as CheXpert has them), or in
    one column with the names of those that are there (``Edema|Mass``, ``No Finding``; as the NIH has them).
    What uncertain and empty mean is said, never guessed.

    Args:
        path: CSV, TSV, JSONL, Parquet or XLSX; or an NPZ file with images and truths (N, L), as ChestMNIST's.
        findings: L names; default: every column that holds truths, or all names of the one column. Columns
            such as "No Finding" are left out unless named here.
        image: Column with the image path; default: the one called image, path, Image Index, ...
        labels: Column with the names; default: the one called Finding Labels, labels, ...
        uncertain: What -1 means: "ignore" (unknown), "positive" or "negative".
        blank: What an empty truth means: "ignore" or "negative".
        image_root: Folder that relative image paths start from; default: the folder of the file.
        split: Column with train, val, test or calibration; without it 50/20/30 is drawn, which keeps groups
            together and spreads the rarer findings.
        group: Column with the patient.
        id: Column with one distinct name per row; default: the image path as written.
        ignore: Columns that are no findings.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the file name.
        split_seed: Seed of the split that is drawn.
        labels_needed: Whether a table without truths is refused; else ``findings`` must be named.

    Raises:
        DataError: No column of images or truths, uncertain or empty ones without a rule.
        InvalidDataError: Lists all defective rows.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "chest.csv")
        >>> _ = file.write_text("image,Edema,Mass,split\na.png,1,0,val\nb.png,-1,1,test\n")
        >>> read = read_finding_images(file, uncertain="ignore")
        >>> read.names, read.truth.tolist(), read.dataset.splits.tolist()
        (('Edema', 'Mass'), [[1.0, 0.0], [nan, 1.0]], ['val', 'test'])
        >>> read.of("Edema").class_names, len(read.of("Edema"))
        (('no Edema', 'Edema'), 1)
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.suffix == ".npz":
        return _of_arrays(file, findings, uncertain, templates, name)
    with located(file):
        table = read_table(file)
        table.require_rows()
        for column in ignore:
            table.require(column, "ignore")
        picture = image or _called(table, IMAGE_COLUMNS, "images", "image")
        table.require(picture, "image")
        roles = {picture, *(c for c in (split, group, id) if c in table.columns)}
        for parameter, column in {"split": split, "group": group, "id": id}.items():
            if column != parameter:
                table.require(column, parameter)
        left = [n for n in table.names if n not in {*roles, *ignore}]
        names, written, where = _truths(table, left, list(findings), labels, labels_needed)
        truth, said = decided(written, uncertain, blank)
    texts = {n: [cell or None for cell in table.texts(n).tolist()] for n in table.names}
    problems = Findings(name or Path(file.name.removesuffix(".gz")).stem)
    images = filled(texts, picture, problems)
    rows = Rows(
        images=[as_folder(image_root, file.parent) / Path(cell).expanduser() for cell in images],
        labels=[0 if cell else -1 for cell in images],
        ids=filled(texts, id, problems) if id in texts else list(images),
        splits=split_cells(texts, split, problems) if split in texts else None,
        groups=filled(texts, group, problems) if group in texts else None,
    )
    if rows.groups is None:
        offer_groups(texts, {*roles, *names, *ignore}, rows.splits, problems)
    if rows.splits is None:
        rows.splits = _drawn(truth, rows.groups, len(images), split_seed, file)
    dataset = assemble(rows, ("image",), findings=problems, templates=as_templates(templates))
    return FindingImages(dataset, names, truth, f"{where}{said}")


def _of_arrays(
    file: Path,
    findings: Sequence[str],
    uncertain: str | None,
    templates: str | Sequence[str] | None,
    name: str,
) -> FindingImages:
    """Images and truths (N, L) that lie in an NPZ file, as in MedMNIST's ChestMNIST."""

    def truths(values: Any, n: int, where: str) -> FloatArray:
        found = np.asarray(values, dtype=np.float64)
        if found.ndim != 2 or len(found) != n or not np.isin(found, (-1.0, 0.0, 1.0)).all():
            raise DataError(
                f"{where}: expected truths of shape ({n}, L), each 1, 0 or -1, got shape {found.shape}"
            )
        return found

    content = arrays_of(file, truths)
    card = find_card(file.stem.partition("_")[0])
    held = content.get("class_names", () if card is None else tuple(card.classes))
    names = tuple(map(str, findings or held))
    written = np.asarray(truths(content["labels"], len(content["images"]), str(file)))
    if len(names) != written.shape[1]:
        raise DataError(
            f"{file}: truths of {written.shape[1]} findings, and {len(names)} names of them; name all of "
            "them in the order of the columns (--findings; findings=[...])"
        )
    truth, said = decided(written, uncertain, None)
    splits = content.get("splits")
    drawn = [split_alias(str(cell)) or "" for cell in splits] if splits is not None else None
    dataset = Dataset(
        name=name or file.stem,
        images=content["images"],
        labels=np.zeros(len(written), dtype=np.int64),
        splits=np.asarray(drawn or _drawn(truth, None, len(written), 0, file)),
        class_names=("image",),
        ids=content.get("ids", np.arange(len(written)).astype(np.str_)),
        templates=as_templates(templates),
    )
    where = "truths in the array of labels, names " + (
        "as given" if findings else "in the file" if "class_names" in content else "of the card"
    )
    return FindingImages(dataset, names, truth, f"{where}{said}")


@DATASETS.register("finding")
def finding(
    path: str | Path,
    *,
    finding: str,
    image: str | None = None,
    labels: str | None = None,
    uncertain: str | None = None,
    blank: str | None = None,
    image_root: str | Path = "",
    split: str = "split",
    group: str = "group",
    id: str = "id",
    ignore: Sequence[str] = (),
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
) -> Dataset:
    r"""One of several findings as two classes, "no NAME" and NAME, for every method of two classes.

    Images whose truth is unknown are left out; a split that is drawn is the same for all findings of a table.

    Args:
        path: CSV, TSV, JSONL, Parquet or XLSX, as for :func:`read_finding_images`.
        finding: Which one.
        image: Column with the image path.
        labels: Column with the names of the findings of each image, where they stand in one.
        uncertain: What -1 means: "ignore" (unknown), "positive" or "negative".
        blank: What an empty truth means: "ignore" or "negative".
        image_root: Folder that relative image paths start from.
        split: Column with train, val, test or calibration.
        group: Column with the patient.
        id: Column with one distinct name per row.
        ignore: Columns that are no findings.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the file name.
        split_seed: Seed of the split that is drawn.

    Raises:
        DataError: As :func:`read_finding_images`, or no such finding.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "chest.csv")
        >>> _ = file.write_text("image,Edema,Mass,split\na.png,1,0,val\nb.png,0,1,test\n")
        >>> finding(file, finding="Mass").labels.tolist()
        [0, 1]
    """
    read = read_finding_images(
        path, image=image, labels=labels, uncertain=uncertain, blank=blank, image_root=image_root,
        split=split, group=group, id=id, ignore=ignore, templates=templates, name=name,
        split_seed=split_seed,
    )  # fmt: skip
    return read.of(finding)


def _called(table: Table, known: Sequence[str], what: str, parameter: str) -> str:
    found = [n for n in table.names if joined(n) in known]
    if len(found) != 1:
        listed = ", ".join(found or table.names)
        raise DataError(
            f"{'no' if not found else 'more than one'} column of {what}; pass {parameter}=NAME, one of "
            f"{listed}"
        )
    return found[0]


def _truths(
    table: Table, left: list[str], wanted: list[str], listed: str | None, needed: bool
) -> tuple[tuple[str, ...], FloatArray | None, str]:
    """Names of the findings, their truths as written (N, L), and where they stand."""
    columns = {n: v for n in left if (v := truth_values(table, n)) is not None}
    if listed is not None:
        return _from_names(table, table.require(listed, "labels"), wanted)
    if wanted:
        if all(name in columns for name in wanted):
            return tuple(wanted), np.stack([columns[n] for n in wanted], axis=1), _where(wanted)
    else:
        found = [
            n for n, v in columns.items()
            if np.isfinite(v).any() and joined(n) not in NOTHING and not other_meaning(n)
        ]  # fmt: skip
        if found:
            return tuple(found), np.stack([columns[n] for n in found], axis=1), _where(found)
    lists = [n for n in left if joined(n) in LIST_COLUMNS and n not in columns]
    if len(lists) == 1:
        return _from_names(table, lists[0], wanted)
    if wanted and not needed and not any(name in table.columns for name in wanted):
        return tuple(wanted), None, "no truths"
    for name in wanted:
        table.require(name, "findings")
        if name not in columns:
            raise DataError(f'column "{name}" holds other values than 1, 0, -1 and empty cells')
    raise DataError(
        "no truths of findings: expected a column of 1, 0, -1 or empty cells for each finding, or one with "
        f'their names ("Edema|Mass") named by labels=NAME; there are {", ".join(table.names)}'
    )


def _where(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
    return f"truths in columns {shown}"


def _from_names(
    table: Table, column: str, wanted: list[str]
) -> tuple[tuple[str, ...], FloatArray, str]:
    parts = listed_findings(table.texts(column).tolist())
    count = Counter(name for row in parts for name in row if joined(name) not in NOTHING)
    names = tuple(wanted) or tuple(sorted(count))
    place = {joined(name): at for at, name in enumerate(names)}
    if not names:
        raise DataError(f'column "{column}" names no findings')
    never = [name for name in wanted if joined(name) not in set(map(joined, count))]
    if never:
        raise DataError(
            f'column "{column}" never names the finding "{never[0]}"; {nearest(never[0], sorted(count))}'
        )
    written = np.zeros((len(parts), len(names)))
    for at, row in enumerate(parts):
        if not row:
            written[at] = np.nan
        for name in row:
            if joined(name) in place:
                written[at, place[joined(name)]] = 1.0
    return names, written, f'names in column "{column}"'


def _drawn(
    truth: FloatArray | None, groups: Sequence[str] | None, n: int, seed: int, file: Path
) -> list[str]:
    """A split that spreads each row's rarest finding; unknown where there is nothing to fit on."""
    if truth is None:
        return ["unknown"] * n
    with located(file):
        return list(map(str, stratified_split(_rarest(truth), groups=groups, seed=seed)))


def _rarest(truth: FloatArray) -> IntArray:
    """(N,) 1 + the finding of each row that is rarest over all rows, 0 without any."""
    present = truth == 1
    rank = np.argsort(np.argsort(present.sum(axis=0), kind="stable"), kind="stable")
    code: IntArray = np.where(present, rank + 1, len(rank) + 1).min(axis=1) % (len(rank) + 1)
    return code
