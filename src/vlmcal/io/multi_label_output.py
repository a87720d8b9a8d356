"""Writing probabilities and sets of findings: a column for each finding, called as it was read."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from vlmcal.errors import DataError
from vlmcal.io.atomic import is_stream
from vlmcal.io.npz import write_npz
from vlmcal.io.table_output import TABLES, full_ending, write_table
from vlmcal.types.finding_sets import FindingSets
from vlmcal.types.multi_label import MultiLabel

ENDINGS: Final = (*TABLES, ".npz")


def save_multi_label(rows: MultiLabel, path: str | Path) -> None:
    r"""Write ids, units, truths (``NAME_true``) and probabilities (``prob_NAME``, or as they were called).

    :func:`vlmcal.io.multi_label.read_multi_label` reads the file again; unknown truths are empty cells.

    Args:
        rows: What to write.
        path: ``.npz`` or a table: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.xlsx``, each also ``.gz``;
            "-" is standard output (CSV).

    Raises:
        DataError: Another ending.
        StoreError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.csv")
        >>> rows = MultiLabel(probabilities=[[0.25]], labels=[[1]], names=("mass",), ids=["x"])
        >>> save_multi_label(rows, file)
        >>> file.read_text().splitlines()
        ['id,mass_true,prob_mass', 'x,1,0.25']
    """
    file = _checked(path)
    if file.suffix.lower() == ".npz":
        arrays: dict[str, Any] = {
            "probs": rows.probabilities,
            "class_names": np.asarray(rows.names),
        }
        _write_npz(file, arrays, rows)
        return
    read = rows.provenance.get("reading", {})
    known = tuple(read.get("classes", ())) == rows.names and read.get("columns")
    plain = tuple(read["columns"]) if known else ()
    heads = (
        plain
        if plain and not set(plain) & set(rows.names)
        else tuple(f"prob_{n}" for n in rows.names)
    )
    columns = _heads(rows)
    columns |= {head: rows.probabilities[:, at] for at, head in enumerate(heads)}
    write_table(columns, file)


def save_finding_sets(sets: FindingSets, path: str | Path) -> None:
    """Write ids, units, truths (``NAME_true``), the set as names (``findings``) and as 0 and 1 (``NAME``).

    Args:
        sets: What to write.
        path: As :func:`save_multi_label`; an NPZ holds ``sets`` (N, L).

    Raises:
        DataError: Another ending.
        StoreError: The file cannot be written.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.csv")
        >>> save_finding_sets(FindingSets(sets=[[True]], labels=[[np.nan]], names=("mass",), ids=["x"]), file)
        >>> file.read_text().splitlines()
        ['id,findings,mass', 'x,mass,1']
    """
    file = _checked(path)
    if file.suffix.lower() == ".npz":
        _write_npz(file, {"sets": sets.sets, "class_names": np.asarray(sets.names)}, sets)
        return
    columns = _heads(sets)
    columns["findings"] = sets.listed()
    columns |= {name: sets.sets[:, at].astype(np.int64) for at, name in enumerate(sets.names)}
    write_table(columns, file)


def _checked(path: str | Path) -> Path:
    file = Path(path).expanduser()
    if not is_stream(file) and full_ending(file) not in ENDINGS:
        raise DataError(
            f'{file}: unknown kind of file "{file.suffix}"; expected one of {", ".join(ENDINGS)}'
        )
    return file


def _heads(rows: MultiLabel | FindingSets) -> dict[str, Any]:
    columns: dict[str, Any] = {"id": rows.ids}
    if rows.groups is not None:
        columns["group"] = rows.groups
    if rows.labelled:
        for at, name in enumerate(rows.names):
            truth = rows.labels[:, at].tolist()
            columns[f"{name}_true"] = [None if value != value else int(value) for value in truth]
    return columns


def _write_npz(file: Path, arrays: dict[str, Any], rows: MultiLabel | FindingSets) -> None:
    arrays |= {"ids": rows.ids}
    if rows.groups is not None:
        arrays["groups"] = rows.groups
    if rows.labelled:
        arrays["labels"] = rows.labels
    write_npz(file, arrays)
