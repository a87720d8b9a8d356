"""Images of Hugging Face's ``datasets``: at hand, saved to disk, or as the Parquet files of a repository."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from vlmcal.data.assemble import Rows, as_templates, assemble
from vlmcal.data.base import DATASETS, accepts
from vlmcal.data.label_column import labels_of
from vlmcal.data.parquet_images import parquet_files, parquet_images
from vlmcal.data.problems import Findings, shown
from vlmcal.data.splits import split_alias, split_names
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, located, nearest, require_known
from vlmcal.io.cache_dir import default_cache_dir
from vlmcal.io.table_files import arrow_of, is_dataset, saved_arrow
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed

_STORED: Final = ("dataset_dict.json", "state.json")
# An Arrow table, and the class lists of its columns.
Part: TypeAlias = tuple[Any, Mapping[str, tuple[str, ...]]]


@DATASETS.register("hugging_face")
@accepts(lambda path: any((path / name).is_file() for name in _STORED))
def hugging_face(
    source: str | Path | Any,
    *,
    image: str = "image",
    label: str = "label",
    group: str | None = None,
    id: str | None = None,
    class_names: Sequence[str] | None = None,
    images: str | Path = "",
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
) -> Dataset:
    """Load a ``datasets.Dataset`` with images, or several by split; nothing is fetched.

    Its class list (``ClassLabel``) names the classes. Images that lie inside it are written out once, under
    the SHA-256 of their bytes, as all else works on files.

    Args:
        source: A ``datasets.Dataset``; a mapping of splits to such (``DatasetDict``); the folder that
            ``save_to_disk`` wrote; or the folder of a repository with Parquet files, which are
            read where they lie (:func:`vlmcal.data.parquet_images.parquet_images`).
        image: Name of the column with the images; another one is taken where it is the only one of images.
        label: Name of the column with the class name or index.
        group: Name of the column with the patient or slide.
        id: Name of the column with one distinct name per row; default: "split/row".
        class_names: K names in label order, where the data set has no class list.
        images: Folder for the images; default: in the cache.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: that of the folder.
        split_seed: Seed of the stratified 50/20/30 split where there is but one part without a name.

    Raises:
        InvalidDataError: Lists all defective rows at once.
        DataError: No such columns, an unknown split, class lists that differ, or damaged files.

    Example:
        >>> hugging_face({"train": [["cat"]]})
        Traceback (most recent call last):
        ...
        vlmcal.errors.DataError: hugging_face: expected a datasets.Dataset, several by split, or a folder
    """
    if isinstance(source, str | Path) and parquet_files(Path(source).expanduser()):
        return parquet_images(
            source,
            image=image,
            label=label,
            group=group or "",
            id=id or "",
            class_names=class_names,
            templates=templates,
            name=name,
            split_seed=split_seed,
        )
    findings = Findings(name or (Path(source).name if isinstance(source, str | Path) else "images"))
    parts = {_split(key): part for key, part in _parts(source)}
    lists = {part[1][label] for part in parts.values() if label in part[1]}
    if len(lists) > 1:
        raise DataError(f'{findings.name}: the splits have different classes in "{label}"')
    folder = Path(images).expanduser() if str(images) else default_cache_dir() / "images"
    pictures = Pictures(Path(findings.name), folder)
    rows = Rows(splits=None if set(parts) == {""} else [], groups=[] if group else None)
    labels: list[str | None] = []
    for split, (table, _) in parts.items():
        held = _image_column(table, image, findings.name)
        for row, cell in enumerate(table.column(held)):
            rows.images.append(Path(pictures.take(cell.as_py())[0]))
            rows.ids.append(f"{split}/{row}".lstrip("/"))
        labels += _cells(table, label, findings.name)
        if id:
            rows.ids[-len(table) :] = [cell or "" for cell in _cells(table, id, findings.name)]
        if group and rows.groups is not None:
            rows.groups += [cell or "" for cell in _cells(table, group, findings.name)]
        if rows.splits is not None:
            rows.splits += [split] * len(table)
    rows.labels, classes = labels_of(
        {label: labels}, label, "", class_names or next(iter(lists), None), findings
    )
    return assemble(
        rows, classes, findings=findings, templates=as_templates(templates), split_seed=split_seed
    )


def _parts(source: Any) -> Iterator[tuple[str, Part]]:
    """The tables of a source, by the name of their split ("" where it has none)."""
    given = source if isinstance(source, Mapping) else {"": source}
    if all(map(is_dataset, given.values())):
        yield from ((str(key), arrow_of(data)) for key, data in given.items())
        return
    if not isinstance(source, str | Path):
        raise DataError("hugging_face: expected a datasets.Dataset, several by split, or a folder")
    folder = Path(source).expanduser()
    with located(folder):
        if (folder / "dataset_dict.json").is_file():
            saved = sorted(p for p in folder.iterdir() if (p / "state.json").is_file())
            yield from ((part.name, saved_arrow(part)) for part in saved)
        else:
            yield "", saved_arrow(folder)


def _split(key: str) -> str:
    if key and split_alias(key) is None:
        raise DataError(
            f'hugging_face: unknown split "{key}"; {nearest(key, split_names())}. Pass a mapping of splits '
            "to the parts that are meant"
        )
    return split_alias(key) or ""


def _image_column(table: Any, wanted: str, where: str) -> str:
    """The column called ``wanted``, or the only one that holds images."""
    import pyarrow.types as pt

    if wanted in table.column_names:
        return wanted
    held = [
        f.name
        for f in table.schema
        if pt.is_struct(f.type) and f.type.get_field_index("bytes") >= 0
    ]
    if len(held) == 1:
        return str(held[0])
    raise DataError(
        f'{where}: no column "{wanted}" with images; pass image= one of {shown(table.column_names)}'
    )


def _cells(table: Any, column: str, where: str) -> list[str | None]:
    require_known(column, table.column_names, f"{where}: no column", DataError)
    return [None if cell is None else str(cell) for cell in table.column(column).to_pylist()]
