"""Writing predictions as tables: in the names and the scale that they were read in."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlmcal.errors import DataError
from vlmcal.io.labels import misleading_names
from vlmcal.io.npz import write_npz
from vlmcal.io.table_output import write_table
from vlmcal.types.arrays import FloatArray
from vlmcal.types.finding_sets import FindingSets
from vlmcal.types.multi_label import MultiLabel
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

EXTRA: Final = "extra_"
_FIXED: Final = ("label", "group", "id", "")


def scale_of(predictions: Predictions) -> str:
    """What the scores were read as, else what they are: "logits", "probs" or "percent".

    Example:
        >>> scale_of(Predictions(logits=[[1.0, 0.0]], labels=[0]))
        'logits'
    """
    stated = predictions.provenance.get("scores")
    if stated in ("probs", "percent"):
        return str(stated)
    return "logits" if predictions.kind == "logits" else "probs"


def in_scale(predictions: Predictions, scale: str) -> FloatArray:
    """(N, K) scores as logits (log-probabilities where there are no logits), probabilities or percentages."""
    if scale == "logits":
        return predictions.logits
    factor = 100.0 if scale == "percent" else 1.0
    return predictions.probabilities() * factor


def require_heads(class_names: Sequence[str], taken: Sequence[str], file: Path) -> None:
    """Refuse class names that cannot be those of columns.

    Raises:
        DataError: They clash with the columns ``taken`` or would make integer labels unclear.
    """
    clash = sorted(set(taken) & set(class_names)) or misleading_names(class_names)
    if clash or len(set(class_names)) < len(class_names):
        what = f'a class called "{clash[0]}"' if clash else "two classes of the same name"
        raise DataError(f"{file}: a table cannot carry {what}; save as .safetensors or .npz")


def row_columns(rows: Predictions | PredictionSets) -> dict[str, Any]:
    """Columns that say which row it is: id, label by name where known, and group where there are some."""
    columns: dict[str, Any] = {"id": rows.ids}
    if rows.labelled:
        columns["label"] = np.asarray(rows.class_names, dtype=np.str_)[rows.labels]
    if rows.groups is not None:
        columns["group"] = rows.groups
    return columns


def row_arrays(rows: Predictions | PredictionSets | MultiLabel | FindingSets) -> dict[str, Any]:
    """Arrays that say which rows they are: ids, labels where known, and groups where there are some."""
    arrays: dict[str, Any] = {"ids": rows.ids}
    if rows.labelled:
        arrays["labels"] = rows.labels
    if rows.groups is not None:
        arrays["groups"] = rows.groups
    return arrays


def save_npz(predictions: Predictions, file: Path, scale: str | None = None) -> None:
    """Write predictions as an NPZ file.

    Args:
        predictions: What to write.
        file: Where.
        scale: "logits" or "probs"; None for that of the input.

    Raises:
        StoreError: The file cannot be written.
    """
    kind = "logits" if (scale or scale_of(predictions)) == "logits" else "probs"
    arrays: dict[str, Any] = {
        **row_arrays(predictions),
        "class_names": np.asarray(predictions.class_names, dtype=np.str_),
        "split": np.asarray(predictions.split),
        kind: in_scale(predictions, kind),
        **{f"{EXTRA}{name}": array for name, array in predictions.extras.items()},
    }
    write_npz(file, arrays)


def save(predictions: Predictions, file: Path, scale: str | None = None) -> None:
    """Write predictions as a table, labels as names; one column per class, called as it was read.

    Args:
        predictions: What to write.
        file: Its name ends as :data:`vlmcal.io.table_output.TABLES` says.
        scale: "logits", "probs" or "percent"; None for that of the input.

    Raises:
        DataError: Class names clash with the other columns or would make integer labels unclear.
        StoreError: The file cannot be written.
    """
    names = predictions.class_names
    read = predictions.provenance.get("reading", {})
    headers = tuple(read.get("columns", ())) if tuple(read.get("classes", ())) == names else ()
    if not headers:
        require_heads(names, _FIXED, file)
        headers = names
    columns = row_columns(predictions)
    scores = _columns_of(predictions, scale or scale_of(predictions), len(headers))
    for at, name in enumerate(headers):
        if name in columns:
            raise DataError(f'{file}: a score column is called "{name}"; save as .npz')
        columns[name] = scores[:, at]
    write_table(columns, file)


def _columns_of(predictions: Predictions, scale: str, count: int) -> FloatArray:
    scores = in_scale(predictions, scale)
    if count == scores.shape[1]:
        return scores
    # One score column was read: that of the positive class, the last one.
    if scale == "logits":
        return (scores[:, 1] - scores[:, 0])[:, None]
    return scores[:, 1:]
