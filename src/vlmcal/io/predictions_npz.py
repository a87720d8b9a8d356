"""Predictions in NPZ files: named arrays, no pickles."""

from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError, nearest
from vlmcal.io.labels import label_index
from vlmcal.io.npz import read_npz, write_npz
from vlmcal.io.raw_predictions import Columns, RawPredictions
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import as_split

_EXTRA: Final = "extra_"
_SCORES: Final = ("logits", "probs")
_FIXED: Final = ("class_names", "split")


def read(file: Path, scores: Literal["logits", "probs"], columns: Columns) -> RawPredictions:
    """Scores, labels and the rest of an NPZ file; see :func:`vlmcal.io.predictions.load_predictions`.

    Raises:
        DataError: Not readable, or its arrays are missing, unclear or of the wrong shape.
    """
    arrays = {name: a for name, a in read_npz(file).items() if name not in columns.exclude}
    names = {
        "labels": columns.labels or "labels",
        "group": columns.group or "groups",
        "ids": columns.ids or "ids",
    }
    values = _scores(arrays, scores)
    _require_known(arrays, names, columns)
    class_names = columns.class_names or tuple(
        str(name) for name in arrays.get("class_names", np.empty(0)).tolist()
    )
    known = class_names or tuple(str(index) for index in range(values.shape[1]))
    return RawPredictions(
        scores=values,
        labels=label_index(arrays[names["labels"]], known, names["labels"]),
        class_names=class_names,
        ids=arrays.get(names["ids"]),
        groups=arrays.get(names["group"]),
        split=as_split(str(arrays["split"])) if "split" in arrays else None,
        extras={n.removeprefix(_EXTRA): a for n, a in arrays.items() if n.startswith(_EXTRA)},
        source=file.name,
    )


def _scores(arrays: dict[str, NDArray[Any]], scores: str) -> NDArray[Any]:
    found = [name for name in _SCORES if name in arrays]
    if not found:
        near = [name for name in arrays if not name.startswith(_EXTRA)]
        raise DataError(f"no array logits or probs of shape (N, K); {nearest(scores, near)}")
    if len(found) > 1:
        other = next(name for name in found if name != scores)
        raise DataError(
            f'holds both logits and probs; keep one, or pass exclude=["{other}"] to use {scores}'
        )
    if found[0] != scores:
        raise DataError(
            f'holds "{found[0]}", but scores="{scores}" was asked for; pass scores="{found[0]}"'
        )
    values = arrays[scores]
    if values.ndim != 2:
        raise DataError(f"{scores}: expected shape (N, K), got {values.shape}")
    return values


def _require_known(
    arrays: dict[str, NDArray[Any]], names: dict[str, str], columns: Columns
) -> None:
    asked = {"labels": True, "group": columns.group is not None, "ids": columns.ids is not None}
    for parameter, name in names.items():
        if asked[parameter] and name not in arrays:
            near = [n for n in arrays if n not in _SCORES and not n.startswith(_EXTRA)]
            hint = nearest(name, near)
            raise DataError(f'no array "{name}"; rename one or pass {parameter}=NAME: {hint}')
    known = {*_SCORES, *_FIXED, *names.values()}
    unknown = [name for name in arrays if name not in known and not name.startswith(_EXTRA)]
    if unknown:
        raise DataError(
            f'unknown array "{unknown[0]}"; call it extra_{unknown[0]} to keep it, pass exclude={unknown} to '
            f"leave it out, or correct its name: {nearest(unknown[0], known)}"
        )


def save(predictions: Predictions, file: Path) -> None:
    """Write predictions as an NPZ file.

    Raises:
        StoreError: The file cannot be written.
    """
    arrays: dict[str, Any] = {
        "labels": predictions.labels,
        "ids": predictions.ids,
        "class_names": np.asarray(predictions.class_names, dtype=np.str_),
        "split": np.asarray(predictions.split),
    }
    if predictions.kind == "logits":
        arrays["logits"] = predictions.logits
    else:
        arrays["probs"] = predictions.probabilities()
    if predictions.groups is not None:
        arrays["groups"] = predictions.groups
    arrays |= {f"{_EXTRA}{name}": array for name, array in predictions.extras.items()}
    write_npz(file, arrays)
