"""Predictions in CSV, TSV and Parquet files: one column per class and a label column."""

from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError, nearest
from vlmcal.io.atomic import atomic_write
from vlmcal.io.labels import label_index, misleading_names
from vlmcal.io.raw_predictions import Columns, RawPredictions
from vlmcal.types.predictions import Predictions

_SEPARATORS: Final = {".csv": ",", ".tsv": "\t"}
_LABEL, _GROUP, _ID = "label", "group", "id"


def read(file: Path, scores: Literal["logits", "probs"], columns: Columns) -> RawPredictions:
    """Scores, labels and the rest of a table; see :func:`vlmcal.io.predictions.load_predictions`.

    Raises:
        DataError: Not readable, or its columns are missing or unclear.
    """
    asked = {"labels": columns.labels, "group": columns.group, "ids": columns.ids}
    names = {
        "labels": columns.labels or _LABEL,
        "group": columns.group or _GROUP,
        "ids": columns.ids or _ID,
    }
    table = _read(file, tuple(names.values()))
    for parameter, name in names.items():
        needed = parameter == "labels" or asked[parameter] is not None
        if needed and name not in table.column_names:
            hint = nearest(name, table.column_names)
            raise DataError(f'no column "{name}"; rename a column or pass {parameter}=NAME: {hint}')
    if table.num_rows == 0:
        raise DataError("the file has a header but no rows")
    classes = _class_columns(table, {*names.values(), *columns.exclude}, columns.class_names)
    return RawPredictions(
        scores=np.stack([_numbers(table, name) for name in classes], axis=1),
        labels=label_index(_text(table, names["labels"]), classes, f'column "{names["labels"]}"'),
        class_names=classes,
        ids=_optional(table, names["ids"]),
        groups=_optional(table, names["group"]),
        source=file.name,
    )


def _read(file: Path, text_columns: tuple[str, ...]) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    if file.stat().st_size == 0:
        raise DataError("the file is empty (0 bytes)")
    try:
        if file.suffix.lower() == ".parquet":
            table = pyarrow.parquet.read_table(file)
        else:
            separator = _SEPARATORS[file.suffix.lower()]
            table = pyarrow.csv.read_csv(
                file,
                parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
                convert_options=pyarrow.csv.ConvertOptions(
                    column_types=dict.fromkeys(text_columns, pa.string())
                ),
            )
    except (pa.ArrowInvalid, pa.ArrowKeyError, OSError) as error:
        raise DataError(f"not readable as a {file.suffix} table ({error})") from error
    names = table.column_names
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"column names occur twice: {', '.join(twice)}; give each its own name")
    return table


def _class_columns(
    table: Any, taken: set[str], class_names: tuple[str, ...] | None
) -> tuple[str, ...]:
    left = [name for name in table.column_names if name not in taken]
    if "" in left:
        raise DataError(
            "a column has no name; such a column often is a row number (in pandas, save with index=False). "
            'Name it, or pass exclude=[""]'
        )
    for name in left:
        if not _is_number(table.schema.field(name).type):
            _refuse_text(table, name)
    if not left:
        raise DataError(
            f"no class columns; found only {', '.join(table.column_names)}. Expected one numeric column per "
            "class, named after it"
        )
    if class_names is None:
        return tuple(left)
    missing = [name for name in class_names if name not in left]
    if missing:
        raise DataError(f'no column for class "{missing[0]}"; {nearest(missing[0], left)}')
    extra = [name for name in left if name not in class_names]
    if extra:
        raise DataError(
            f"{len(left)} numeric columns for {len(class_names)} class names; not in the class list: "
            f"{', '.join(extra[:5])}. Pass exclude={extra[:5]} if they are no classes"
        )
    return class_names


def _is_number(kind: Any) -> bool:
    import pyarrow.types as pt

    return bool(pt.is_integer(kind) or pt.is_floating(kind))


def _refuse_text(table: Any, name: str) -> NoReturn:
    import pyarrow.types as pt

    example = ""
    kind = table.schema.field(name).type
    if pt.is_null(kind):
        example = "it is empty"
    elif pt.is_string(kind) or pt.is_large_string(kind):
        row, value = _first_text(table.column(name).to_pylist())
        example = f'first "{value}" in data row {row}'
    else:
        example = f"its type is {kind}"
    raise DataError(
        f'column "{name}" is not numeric ({example}), so it is no class column. Repair it, pass '
        f'exclude=["{name}"] (--exclude {name}) to leave it out, or name it as labels, group or ids'
    )


def _first_text(cells: list[str | None]) -> tuple[int, str | None]:
    for row, cell in enumerate(cells, 1):
        try:
            float(cell or "nan")
        except ValueError:
            return row, cell
    return 1, cells[0]


def _numbers(table: Any, name: str) -> NDArray[Any]:
    column: NDArray[Any] = table.column(name).to_numpy()  # empty cells become NaN
    return column


def _text(table: Any, name: str) -> NDArray[Any]:
    column = table.column(name)
    empty = column.null_count
    values: NDArray[Any] = column.to_numpy()
    blank = empty or (values.dtype.kind == "O" and bool((values == "").any()))
    if blank:
        rows = [row for row, value in enumerate(column.to_pylist(), 1) if value in (None, "")]
        raise DataError(
            f'column "{name}" is empty in {len(rows)} rows, first in data row {rows[0]}'
        )
    return values.astype(np.str_) if values.dtype.kind == "O" else values


def _optional(table: Any, name: str) -> NDArray[Any] | None:
    return _text(table, name) if name in table.column_names else None


def save(predictions: Predictions, file: Path) -> None:
    """Write predictions as a table, labels as indices.

    Raises:
        DataError: Class names clash with the other columns or would make integer labels unclear.
        StoreError: The file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    names = predictions.class_names
    clash = sorted({_LABEL, _GROUP, _ID, ""} & set(names)) or misleading_names(names)
    if clash or len(set(names)) < len(names):
        what = f'a class called "{clash[0]}"' if clash else "two classes of the same name"
        raise DataError(f"{file}: a table cannot carry {what}; save as .safetensors or .npz")
    logits = predictions.kind == "logits"
    scores = predictions.logits if logits else predictions.probabilities()
    columns: dict[str, Any] = {_ID: predictions.ids, _LABEL: predictions.labels}
    if predictions.groups is not None:
        columns[_GROUP] = predictions.groups
    columns |= {name: scores[:, index] for index, name in enumerate(names)}
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    if file.suffix.lower() == ".parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        options = pyarrow.csv.WriteOptions(delimiter=_SEPARATORS[file.suffix.lower()])
        pyarrow.csv.write_csv(table, sink, options)
    atomic_write(file, sink.getvalue().to_pybytes())
