"""Writing probabilities and sets of findings: a column for each finding, called as it was read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from vlmcal.io.npz import write_npz
from vlmcal.io.predictions_output import row_arrays
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
    read = rows.provenance.get("reading", {})
    known = tuple(read.get("classes", ())) == rows.names
    heads = tuple(read.get("columns") or ()) if known else ()
    if not heads or set(heads) & set(rows.names):
        heads = tuple(f"prob_{name}" for name in rows.names)
    columns = {head: rows.probabilities[:, at] for at, head in enumerate(heads)}
    _write(path, rows, {"probs": rows.probabilities}, columns)


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
    members = {name: sets.sets[:, at].astype(np.int64) for at, name in enumerate(sets.names)}
    _write(path, sets, {"sets": sets.sets}, {"findings": sets.listed(), **members})


def _write(
    path: str | Path,
    rows: MultiLabel | FindingSets,
    arrays: Mapping[str, Any],
    columns: Mapping[str, Any],
) -> None:
    """Write which rows they are and their truths, with arrays in an NPZ and with columns in a table."""
    file = Path(path).expanduser()
    if full_ending(file, ENDINGS) == ".npz":
        names = {"class_names": np.asarray(rows.names)}
        write_npz(file, {**arrays, **names, **row_arrays(rows)})
        return
    truths = {}
    if rows.labelled:
        for at, name in enumerate(rows.names):
            truth = rows.labels[:, at].tolist()
            truths[f"{name}_true"] = [None if value != value else int(value) for value in truth]
    groups = {} if rows.groups is None else {"group": rows.groups}
    write_table({"id": rows.ids, **groups, **truths, **columns}, file)
