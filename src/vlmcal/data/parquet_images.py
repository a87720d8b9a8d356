"""Image sets of Hugging Face: Parquet files with the images inside, from a folder or by hub id."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from vlmcal.data.assemble import Rows, as_templates, assemble
from vlmcal.data.base import DATASETS, accepts
from vlmcal.data.frames import show_as
from vlmcal.data.label_column import labels_of
from vlmcal.data.problems import Findings, shown
from vlmcal.data.splits import split_alias, split_of_file
from vlmcal.data.table import missing_column
from vlmcal.errors import DataError
from vlmcal.extras import naming_extras
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed
from vlmcal.types.picture import Cell, Picture, View


class _Schema(NamedTuple):
    """Columns of the files, those that hold images, and class names of those that hold classes."""

    columns: tuple[str, ...]
    images: tuple[str, ...]
    classes: Mapping[str, Sequence[str]]


def parquet_files(path: Path) -> list[Path]:
    """Parquet files of a folder: in it, in ``data`` and in its folders that are called like splits."""
    if not path.is_dir():
        return [path] if path.name.lower().endswith(".parquet") else []
    places = [path, path / "data"]
    places += [p for p in sorted(path.iterdir()) if p.is_dir() and split_alias(p.name)]
    found = [f for place in places if place.is_dir() for f in sorted(place.glob("*.parquet"))]
    return list(dict.fromkeys(found))


def _fits(path: Path) -> bool:
    files = parquet_files(path)
    try:
        return bool(files) and bool(_schema(files[0]).images)
    except DataError:
        return False


@DATASETS.register("parquet_images")
@accepts(_fits)
def parquet_images(
    path: str | Path = "",
    *,
    repo: str = "",
    revision: str | None = None,
    image: str = "image",
    label: str = "label",
    group: str = "",
    id: str = "",
    class_names: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
    window: str = "",
) -> Dataset:
    """Load Parquet files that hold their images, as ``datasets`` and the hub write them.

    Images are read where they lie, nothing is unpacked. The column of images and that of classes, with their
    names, are those that the file's own description (``Image``, ``ClassLabel``) says. The split is that of
    the file name (``train-00000-of-00002.parquet``) or folder.

    Args:
        path: The folder (its ``data`` and folders of splits are looked into), or one file.
        repo: Instead, the id of a data set on the hub, "owner/name": its Parquet files are downloaded into
            the hub's cache. Needs the extra ``train``.
        revision: Branch, tag or commit on the hub.
        image: Column of images; another one is taken where it is the only one of images.
        label: Column of labels; another one is taken where it is the only one that is described as such.
        group: Column with the patient or slide.
        id: Column with one distinct name per row; default: "split/row".
        class_names: K names in label order.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the name of the path, or the repo.
        split_seed: Seed of the stratified 50/20/30 split where no file names a split.
        window: "LOW..HIGH" for images of more than 8 bits (:class:`vlmcal.types.picture.View`).

    Raises:
        InvalidDataError: Labels or splits that cannot be used, all at once.
        DataError: No such files or columns, or the hub cannot be reached.
        MissingExtraError: ``repo`` without huggingface_hub.

    Example:
        >>> import tempfile, pyarrow as pa, pyarrow.parquet as pq
        >>> file = Path(tempfile.mkdtemp(), "train-00000-of-00001.parquet")
        >>> pq.write_table(pa.table({"image": [{"bytes": b"...", "path": "a.png"}], "label": ["cat"]}), file)
        >>> data = parquet_images(file)
        >>> data.class_names, data.splits.tolist(), str(data.images[0]).rpartition("/")[2]
        (('cat',), ['train'], 'train-00000-of-00001.parquet[image 0]')
    """
    if bool(repo) == bool(str(path)):
        raise DataError('parquet_images: pass either path=FOLDER or repo="owner/name"')
    top = _from_hub(repo, revision) if repo else Path(path).expanduser()
    files = parquet_files(top) if top.exists() else []
    if not files:
        raise DataError(f"{top}: no such folder, or no .parquet files in it, in data or in splits")
    findings = Findings(name or repo.rpartition("/")[2] or top.resolve().name)
    schema = _schema(files[0])
    pictures = _one(image, schema.images, "image", files[0], schema)
    labelled = _one(label, tuple(schema.classes), "label", files[0], schema)
    columns = [column for column in (labelled, group, id) if column]
    for what, column in (("group", group), ("id", id)):
        if column and column not in schema.columns:
            table: dict[str, Any] = dict.fromkeys(schema.columns)
            raise DataError(f"{files[0]}: {missing_column(column, what, table)}")
    rows, cells = Rows(groups=[] if group else None), list[str | None]()
    counts: Counter[str] = Counter()
    splits = [split_of_file(file) for file in files]
    rows.splits = [] if any(splits) else None
    for file, split in zip(files, splits, strict=True):
        found = _read(file, columns)
        n = len(found[labelled])
        rows.images += [Picture(file, View(), Cell(pictures, row)) for row in range(n)]
        # Counted over the files of a split, so that an id does not depend on how many files there are.
        made = [f"{split}/{counts[split] + row}".lstrip("/") for row in range(n)]
        rows.ids += [cell or "" for cell in found[id]] if id else made
        counts[split] += n
        cells += found[labelled]
        if rows.groups is not None:
            rows.groups += [cell or "" for cell in found[group]]
        if rows.splits is not None:
            rows.splits += [split] * n
    unnamed = [f.name for f, split in zip(files, splits, strict=True) if not split]
    if rows.splits is not None and unnamed:
        findings.error(
            "unknown-split",
            f"some files name a split and others do not: {shown(unnamed)}; rename them to train-*.parquet "
            "and so on",
            unnamed,
        )
    named = list(schema.classes.get(labelled, ())) if class_names is None else list(class_names)
    rows.labels, classes = labels_of({labelled: cells}, labelled, "", named or None, findings)
    show_as(rows, findings, window=window)
    return assemble(
        rows, classes, findings=findings, templates=as_templates(templates), split_seed=split_seed
    )


def _from_hub(repo: str, revision: str | None) -> Path:
    with naming_extras():
        from huggingface_hub import snapshot_download
    try:
        return Path(
            snapshot_download(
                repo, repo_type="dataset", revision=revision, allow_patterns=["*.parquet"]
            )
        )
    except Exception as error:  # the hub raises errors of several packages
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DataError(
            f'hub data set "{repo}": cannot be had ({reason}); check the name and the connection, or give '
            "a folder of its Parquet files as path"
        ) from error


def _one(wanted: str, told: Sequence[str], what: str, file: Path, schema: _Schema) -> str:
    """The column that is wanted, or the only one that the file describes so."""
    if wanted in (told if what == "image" else schema.columns):
        return wanted
    if wanted == what and len(told) == 1:
        return told[0]
    table: dict[str, Any] = dict.fromkeys(schema.columns)
    several = f" ({', '.join(told)} could be it)" if told else ""
    raise DataError(f"{file}: {missing_column(wanted, what, table)}{several}")


def _schema(file: Path) -> _Schema:
    """What a file says of its columns, in its types and in the note that ``datasets`` leaves."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: not a readable Parquet file ({error})") from error
    note = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = (note.get("info") or {}).get("features") or {}
    features = features if isinstance(features, dict) else {}
    images = [
        field.name
        for field in schema
        if (features.get(field.name) or {}).get("_type") == "Image"
        or (pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0)
    ]
    classes = {
        column: tuple(map(str, about["names"]))
        for column, about in features.items()
        if isinstance(about, dict) and about.get("_type") == "ClassLabel" and about.get("names")
    }
    return _Schema(tuple(schema.names), tuple(images), classes)


def _read(file: Path, columns: Sequence[str]) -> dict[str, list[str | None]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, columns=list(columns))
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file}: not readable like the first file ({error})") from error
    lacking = [column for column in columns if column not in table.column_names]
    if lacking:
        raise DataError(f'{file}: no column "{lacking[0]}", which the first file has')
    return {
        column: [None if value is None else str(value) for value in table[column].to_pylist()]
        for column in columns
    }
