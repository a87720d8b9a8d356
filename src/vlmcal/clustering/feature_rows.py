"""Features that were encoded elsewhere, as rows to cluster: from NPZ files, arrays and tables."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError, located
from vlmcal.io.feature_files import KEY, holds_features, read_features
from vlmcal.io.table_files import ENDINGS, Table, read_table
from vlmcal.types.arrays import FloatArray

_NUMBERED: Final = re.compile(r"(.*?)(\d+)$")
_IDS: Final = ("id", "ids", "image", "file", "path")


class FeatureRows(NamedTuple):
    """Rows to cluster.

    Attributes:
        ids: N names.
        features: (N, D).
        labels: (N,) classes as numbers to score against, or None.
    """

    ids: list[str]
    features: FloatArray
    labels: Any


def holds_rows(paths: Sequence[Path]) -> bool:
    """Whether the only path is a file (or folder) of features, by its name and content.

    Example:
        >>> holds_rows([Path("a.csv")]), holds_rows([Path("a.png")]), holds_rows([Path("a.csv")] * 2)
        (True, False, False)
    """
    if len(paths) != 1:
        return False
    return paths[0].suffix.lower() in (*ENDINGS, ".npz") or holds_features(paths[0])


def read_rows(path: Path, labels: str | None = None) -> FeatureRows:
    r"""Features from an NPZ file or folder with ``image_features``, or from numbered columns of a table.

    Args:
        path: The file. The features of a table are its columns NAME0, NAME1, ..., of one NAME.
        labels: Column of the table (key of the NPZ file) with the classes, to score against.

    Raises:
        DataError: Unreadable, no such labels, a cell that is no number, or not one group of columns.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "rows.csv")
        >>> _ = file.write_text("id,f0,f1,kind\na,1,0,x\nb,0,1,y\n")
        >>> rows = read_rows(file, "kind")
        >>> rows.ids, rows.features.shape, rows.labels.tolist()
        (['a', 'b'], (2, 2), [0, 1])
    """
    if holds_features(path) or path.suffix.lower() == ".npz":
        content = read_features(path)
        features: FloatArray = np.asarray(content[KEY], dtype=np.float64)
        ids = content.get("ids", np.arange(len(features)))
        if labels is not None and labels not in content:
            raise DataError(f'{path}: no "{labels}" to score against; it has {sorted(content)}')
        found = None if labels is None else content[labels]
    else:
        with located(path):
            table = read_table(path)
            features = _features(table)
            found = None if labels is None else table.texts(table.require(labels, "--labels"))
        named = next((name for name in table.names if name.lower() in _IDS), None)
        ids = np.arange(1, len(features) + 1) if named is None else table.texts(named)
    numbers = None if found is None else np.unique(found, return_inverse=True)[1]
    return FeatureRows([str(each) for each in ids.tolist()], features, numbers)


def _features(table: Table) -> FloatArray:
    groups: dict[str, list[str]] = {}
    for name in table.names:
        if found := _NUMBERED.fullmatch(name):
            groups.setdefault(found[1], []).append(name)
    several = [names for names in groups.values() if len(names) > 1]
    if len(several) != 1:
        raise DataError(
            f"expected the features in columns NAME0, NAME1, ..., of one NAME; {len(several)} such groups "
            f"among {', '.join(table.names[:8])}: rename them, or save them as {KEY} of an NPZ file"
        )
    columns = [np.asarray(table.numbers(name).values, dtype=np.float64) for name in several[0]]
    features = np.column_stack(columns)
    bad = np.argwhere(~np.isfinite(features))
    if len(bad):
        row, column = bad[0].tolist()
        raise DataError(
            f'column "{several[0][column]}", row {row + 1}: not a number ({len(bad)} such cells); fill or '
            "remove these rows"
        )
    return features
