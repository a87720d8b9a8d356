"""Predictions on disk: anybody's NPZ, CSV, TSV and Parquet files, and the toolkit's own exact pair."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

import numpy as np

from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.io import predictions_npz, predictions_pair, predictions_table
from vlmcal.io.raw_predictions import Columns, RawPredictions
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions, from_probabilities
from vlmcal.types.split import Split

Scores: TypeAlias = Literal["logits", "probs"]


class _Format(NamedTuple):
    read: Callable[[Path, Scores, Columns], RawPredictions]
    save: Callable[[Predictions, Path], None]


_FOREIGN: Final = {
    ".npz": _Format(predictions_npz.read, predictions_npz.save),
    ".csv": _Format(predictions_table.read, predictions_table.save),
    ".tsv": _Format(predictions_table.read, predictions_table.save),
    ".parquet": _Format(predictions_table.read, predictions_table.save),
}
_OWN: Final = ".safetensors"


def load_predictions(
    path: str | Path,
    *,
    scores: Scores | None = None,
    labels: str | None = None,
    group: str | None = None,
    ids: str | None = None,
    split: Split | None = None,
    class_names: Sequence[str] | None = None,
    exclude: Sequence[str] = (),
    renormalise: bool = False,
) -> Predictions:
    r"""Load class scores and labels from a file.

    - ``.csv``, ``.tsv``, ``.parquet``: one column per class, a column ``label`` with the index (from 0) or
      the name of the right class, optionally columns ``group`` and ``id``. Every other numeric column is a
      class; a column that is neither is an error.
    - ``.npz``: an array ``logits`` or ``probs`` (N, K) and ``labels`` (N,), optionally ``ids``, ``groups``,
      ``class_names``, ``split`` and ``extra_...`` arrays. Pickled objects are refused.
    - ``.safetensors`` with its ``.json``, as written by :func:`save_predictions`: everything as it was.

    Args:
        path: The file.
        scores: "logits" or "probs": what the numbers are. Not guessed; only the toolkit's own format
            knows it and needs no answer.
        labels: Column or array with the labels; default ``label`` (tables) or ``labels`` (NPZ).
        group: Column or array with the patient or slide; default ``group`` / ``groups``, if there.
        ids: Column or array with one distinct name per row; default ``id`` / ``ids``, if there.
        split: Which split the rows are from. Default: what the file says (own format, and NPZ with
            ``split``), else "test", so that nothing is ever fitted on rows of unknown origin.
        class_names: K names in order. In a table they must be the class columns, and choose their order.
        exclude: Columns or arrays to leave out.
        renormalise: Divide probabilities, rounded to few digits, by their sum (if within 1e-2 of 1).

    Raises:
        DataError: Unreadable file, missing or unclear columns, labels outside the class list, NaN or
            infinity, rows that do not sum to 1, logits passed as probabilities or the reverse.
        SplitError: ``split`` contradicts the file.
        SpecError: ``scores`` is missing.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = file.write_text("cat,dog,label\n0.9,0.1,cat\n0.4,0.6,cat\n")
        >>> p = load_predictions(file, scores="probs")
        >>> p.class_names, p.labels.tolist(), p.split
        (('cat', 'dog'), [0, 0], 'test')
    """
    file = Path(path).expanduser()
    columns = Columns(labels, group, ids, tuple(exclude), _names(class_names))
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    if file.suffix.lower() == _OWN:
        return _own(file, scores, split, columns)
    kind = _FOREIGN.get(file.suffix.lower())
    if kind is None:
        raise DataError(
            f'{file}: unknown kind of file "{file.suffix}"; expected one of {_endings()}'
        )
    if scores not in ("logits", "probs"):
        raise SpecError(
            f'{file}: say what the numbers are: scores="logits" or scores="probs"; got {scores!r}'
        )
    try:
        raw = kind.read(file, scores, columns)
        return _checked(raw, scores, split, renormalise)
    except DataError as error:
        text = str(error)
        raise type(error)(text if text.startswith(str(file)) else f"{file}: {text}") from error


def save_predictions(predictions: Predictions, path: str | Path) -> None:
    """Save predictions; the ending of ``path`` chooses the format of :func:`load_predictions`.

    Only ``.safetensors`` (with a ``.json`` beside it) keeps everything exactly: scores, kind, split,
    ids, groups, extras, resolution, provenance. NPZ and tables keep scores, labels, ids, groups and class
    names (NPZ also split and extras); log-probabilities are written there as probabilities. The file
    appears in one step, or not at all.

    Args:
        predictions: What to save.
        path: ``.safetensors``, ``.npz``, ``.csv``, ``.tsv`` or ``.parquet``.

    Raises:
        DataError: Unknown ending, or class names that a table cannot carry.
        StoreError: The folder cannot be written to, or the disk is full.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "run.safetensors")
        >>> save_predictions(Predictions(logits=[[2.0, 0.0]], labels=[0], split="val"), file)
        >>> load_predictions(file).split
        'val'
    """
    file = Path(path).expanduser()
    suffix = file.suffix.lower()
    if suffix == _OWN:
        predictions_pair.save(predictions, file)
        return
    if suffix not in _FOREIGN:
        raise DataError(
            f'{file}: unknown kind of file "{file.suffix}"; expected one of {_endings()}'
        )
    _FOREIGN[suffix].save(predictions, file)


def _endings() -> str:
    return ", ".join([_OWN, *_FOREIGN])


def _names(class_names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if class_names is None else tuple(map(str, class_names))


def _own(file: Path, scores: Scores | None, split: Split | None, columns: Columns) -> Predictions:
    predictions = predictions_pair.load(file)
    stored: Scores = "logits" if predictions.kind == "logits" else "probs"
    wanted = {
        "scores": (scores, stored),
        "split": (split, predictions.split),
        "class_names": (columns.class_names, predictions.class_names),
    }
    for name, (asked, held) in wanted.items():
        if asked is not None and asked != held:
            raise DataError(f"{file}: {name} is {held!r} in the file, but {asked!r} was asked for")
    unused = [
        word for word in (columns.labels, columns.group, columns.ids, *columns.exclude) if word
    ]
    if unused:
        raise DataError(
            f"{file}: this format knows its own columns; drop labels=, group=, ids= and exclude= "
            f"(got {unused[0]!r})"
        )
    return predictions


def _checked(
    raw: RawPredictions, scores: Scores, split: Split | None, renormalise: bool
) -> Predictions:
    if split and raw.split not in (None, "unknown", split):
        raise SplitError(f'split is "{raw.split}" in the file, but "{split}" was asked for')
    fields = {
        "ids": raw.ids,
        "groups": raw.groups,
        "class_names": raw.class_names,
        "split": split or raw.split or "test",
        "extras": raw.extras,
        "provenance": {"source": raw.source, "scores": scores},
    }
    if scores == "probs":
        return from_probabilities(raw.scores, raw.labels, renormalise=renormalise, **fields)
    if renormalise:
        raise SpecError(
            'renormalise=True is for probabilities; it makes no sense for scores="logits"'
        )
    _refuse_probabilities(raw.scores)
    return Predictions(logits=raw.scores, labels=raw.labels, **fields)


def _refuse_probabilities(values: FloatArray) -> None:
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind != "f" or not values.size:
        return
    if values.min() >= 0 and np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() < 1e-3:
        raise DataError(
            "all rows are non-negative and sum to 1: these are probabilities, not logits; pass "
            'scores="probs"'
        )
