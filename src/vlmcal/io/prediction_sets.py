"""Label sets on disk: NPZ and safetensors keep everything, tables keep what a spreadsheet can hold."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError, located
from vlmcal.io.json_text import parse_json
from vlmcal.io.labels import label_index
from vlmcal.io.npz import read_npz, write_npz
from vlmcal.io.predictions_output import require_heads, row_arrays, row_columns
from vlmcal.io.table_files import read_table
from vlmcal.io.table_output import TABLES, full_ending, write_table
from vlmcal.io.tensor_pair import PairFormat
from vlmcal.types.prediction_sets import PredictionSets

_NEEDED: Final = ("sets", "labels", "alpha")
_FIXED: Final = ("id", "label", "group", "alpha", "set")
_JOIN: Final = " | "
_KEYS: Final = frozenset(("alpha", "class_names", "ids", "groups", "provenance"))
_PAIR: Final = PairFormat("vlmcal.prediction_sets", 1, _KEYS, "label sets")


def save_prediction_sets(sets: PredictionSets, path: str | Path) -> None:
    r"""Save label sets; the ending of ``path`` chooses the format.

    - ``.npz``: arrays ``sets`` (N, K) bool, ``labels`` (N,), ``alpha``, ``ids``, ``class_names``, optionally
      ``groups``, and ``provenance`` as JSON text.
    - ``.safetensors`` with a ``.json`` beside it: the same.
    - Tables (``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.xlsx``, each also ``.gz``): columns ``id``,
      ``label`` (name), optionally ``group``, ``alpha``, ``set`` (names joined by a bar, for readers) and one
      0/1 column per class; no provenance.

    A file appears in one step, or not at all; "-" is standard output (CSV).

    Raises:
        DataError: Unknown ending, class names that a table cannot carry, or provenance that is not plain.
        StoreError: The folder cannot be written to, or the disk is full.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "sets.csv")
        >>> s = PredictionSets(sets=[[True, True]], labels=[1], alpha=0.1, class_names=("cat", "dog"))
        >>> save_prediction_sets(s, file)
        >>> file.read_text()
        'id,label,alpha,set,cat,dog\n0,dog,0.1,cat | dog,1,1\n'
    """
    file = Path(path).expanduser()
    _format(file).save(sets, file)


def load_prediction_sets(path: str | Path) -> PredictionSets:
    """Load what :func:`save_prediction_sets` wrote.

    Raises:
        DataError: No such file, damaged, or parts are missing; the message says which.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "sets.npz")
        >>> save_prediction_sets(PredictionSets(sets=[[True, False]], labels=[1], alpha=0.1), file)
        >>> load_prediction_sets(file).covered().tolist()
        [False]
    """
    file = Path(path).expanduser()
    kind = _format(file)
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    with located(file):
        return PredictionSets(**kind.load(file))


class _Format(NamedTuple):
    save: Callable[[PredictionSets, Path], None]
    load: Callable[[Path], dict[str, Any]]


def _format(file: Path) -> _Format:
    return _FORMATS[full_ending(file, _FORMATS)]


def _plain(sets: PredictionSets, file: Path) -> str:
    try:
        return json.dumps(sets.provenance, ensure_ascii=False)
    except TypeError as error:
        raise DataError(
            f"{file}: the provenance must be plain data (text, numbers, lists, mappings): {error}"
        ) from error


def _save_npz(sets: PredictionSets, file: Path) -> None:
    arrays = {
        **row_arrays(sets),
        "sets": sets.sets,
        "labels": sets.labels,
        "alpha": np.asarray(sets.alpha),
        "class_names": np.asarray(sets.class_names, dtype=np.str_),
        "provenance": np.asarray(_plain(sets, file)),
    }
    write_npz(file, arrays, compress=True)


def _load_npz(file: Path) -> dict[str, Any]:
    arrays = read_npz(file)
    missing = [name for name in _NEEDED if name not in arrays]
    if missing:
        raise DataError(f"holds no {', '.join(missing)}; expected the arrays {', '.join(_NEEDED)}")
    return {
        "sets": arrays["sets"],
        "labels": arrays["labels"],
        "alpha": float(arrays["alpha"]),
        "ids": arrays.get("ids"),
        "groups": arrays.get("groups"),
        "class_names": tuple(arrays["class_names"].tolist()) if "class_names" in arrays else (),
        "provenance": parse_json(str(arrays.get("provenance", "{}"))),
    }


def _save_pair(sets: PredictionSets, file: Path) -> None:
    record = {
        "alpha": sets.alpha,
        "class_names": sets.class_names,
        "ids": sets.ids.tolist(),
        "groups": None if sets.groups is None else sets.groups.tolist(),
        "provenance": parse_json(_plain(sets, file)),
    }
    _PAIR.save(file, {"sets": sets.sets, "labels": sets.labels}, record)


def _load_pair(file: Path) -> dict[str, Any]:
    record, arrays = _PAIR.load(file)
    kept = ("alpha", "ids", "groups", "provenance")
    return {
        **arrays,
        **{name: record[name] for name in kept},
        "class_names": tuple(record["class_names"]),
    }


def _save_table(sets: PredictionSets, file: Path) -> None:
    names = sets.class_names
    require_heads(names, _FIXED, file)
    columns = row_columns(sets)
    columns["alpha"] = np.full(len(sets), sets.alpha)
    columns["set"] = [
        _JOIN.join(name for name, member in zip(names, row, strict=True) if member)
        for row in sets.sets.tolist()
    ]
    columns |= {name: sets.sets[:, i].astype(np.int8) for i, name in enumerate(names)}
    write_table(columns, file)


def _load_table(file: Path) -> dict[str, Any]:
    table = read_table(file)
    missing = [name for name in ("id", "alpha") if name not in table.columns]
    if missing:
        raise DataError(f'no column "{missing[0]}"; expected id, label, alpha and one per class')
    names = tuple(name for name in table.names if name not in _FIXED)
    members = np.stack([table.texts(name) for name in names], axis=1)
    if not np.isin(members, ("0", "1")).all():
        wrong = members[~np.isin(members, ("0", "1"))][0]
        raise DataError(f'class columns hold only 0 and 1, got "{wrong}"')
    alphas = np.unique(table.texts("alpha")).tolist()
    if len(alphas) != 1:
        raise DataError(f"alpha: expected one value for all rows, got {alphas[:3]}")
    return {
        "sets": members == "1",
        "labels": label_index(table.texts("label"), names, "label")
        if "label" in table.columns
        else None,
        "alpha": float(alphas[0]),
        "ids": table.texts("id"),
        "groups": table.texts("group") if "group" in table.columns else None,
        "class_names": names,
    }


_FORMATS: Final = {
    ".npz": _Format(_save_npz, _load_npz),
    ".safetensors": _Format(_save_pair, _load_pair),
    **dict.fromkeys(TABLES, _Format(_save_table, _load_table)),
}
