"""Predictions on disk: anybody's tables and arrays, and the toolkit's own exact pair."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeAlias, TypedDict, Unpack

import numpy as np

from vlmcal.errors import DataError, SpecError, SplitError, located, require_known
from vlmcal.io import predictions_npz, predictions_output, predictions_pair, predictions_table
from vlmcal.io.labels import is_seen
from vlmcal.io.packed import ending_of
from vlmcal.io.raw_predictions import Columns, RawConfidences, RawPredictions
from vlmcal.io.read_rows import ReadRows, parted, weighted
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.io.score_columns import Scores
from vlmcal.io.table_files import ENDINGS, is_dataset, is_table, table_of
from vlmcal.io.table_output import TABLES, full_ending
from vlmcal.io.weights import sampling_weights
from vlmcal.types.arrays import FloatArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions, from_probabilities
from vlmcal.types.probability_rows import row_tolerance, unit_rows
from vlmcal.types.split import Split, as_split

Reader: TypeAlias = Callable[[Path, Scores, Columns], RawPredictions | RawConfidences]
_READERS: Final[dict[str, Reader]] = {
    ".npz": predictions_npz.read,
    ".npy": predictions_npz.read_pair,
    **dict.fromkeys(ENDINGS, predictions_table.read),
}
_OWN: Final = ".safetensors"
_WRITERS: Final[dict[str, Callable[[Predictions, Path, str | None], None]]] = {
    _OWN: predictions_pair.save,
    ".npz": predictions_output.save_npz,
    **dict.fromkeys(TABLES, predictions_output.save),
}
_PICKLE: Final = "Pickles can run any code: save the arrays with numpy.savez, a table as .csv"
_INSTEAD: Final = {
    **dict.fromkeys((".xls", ".xlsb", ".ods"), "Save the sheet as .xlsx or .csv"),
    **dict.fromkeys((".zip", ".7z", ".tar", ".tgz"), "Unpack it first"),
    **dict.fromkeys((".pkl", ".pickle", ".pt", ".pth", ".joblib", ".rds"), _PICKLE),
    **dict.fromkeys((".h5", ".hdf5", ".mat"), "Save the arrays with numpy.savez as .npz"),
}
_KINDS: Final = ("logits", "probs", "percent")


class ReadingOptions(TypedDict, total=False):
    """What a user says about a file; see :func:`load_predictions`."""

    scores: Scores | None
    labels: str | None
    group: str | None
    ids: str | None
    split: Split | None
    class_names: Sequence[str] | None
    exclude: Sequence[str]
    renormalise: bool
    prefix: str | None
    positive: str | None
    positive_label: str | None
    labels_file: str | Path | None
    first_label: int | None
    by: Sequence[str]
    sheet: str | None
    labels_needed: bool
    known_classes: Sequence[str]
    weight: str | None
    sampling: Mapping[str, float] | None


Rows: TypeAlias = ReadRows[Predictions | Confidences]


def load_predictions(path: str | Path | Any, **options: Unpack[ReadingOptions]) -> Predictions:
    r"""Load class scores and labels from a file; ``print(reading_plan(...))`` says how it is read.

    - Tables (``.csv``, ``.tsv``, ``.jsonl``, ``.json``, ``.parquet``, ``.xlsx``, each also ``.gz``,
      and folders of ``datasets``): a column with the label, and one column per class, named after it
      (``cat``, ``prob_cat``, ``P(Cat)``) or after its number; or one column with the score of the positive
      one of two classes.
      Other columns are left out; what is unclear is an error.
    - ``.npz``: an array ``logits`` or ``probs`` (N, K) and ``labels`` (N,), optionally ``ids``, ``groups``,
      ``class_names``, ``split`` and ``extra_...`` arrays. Pickled objects are refused.
    - ``.npy``: ``x_logits.npy`` with ``x_labels.npy`` or ``labels.npy`` beside it.
    - ``.safetensors`` with its ``.json``, as written by :func:`save_predictions`: everything as it was.

    Args:
        path: The file; or a ``datasets.Dataset`` or data frame of pandas, which is read as such a table.
        **options: ``scores``: "logits", "probs" or "percent", what the numbers are; not guessed, only the
            toolkit's own format knows it. ``labels``: column or array with the labels; default ``label`` or a
            usual name. ``group``: column with the units, such as patients; default ``group`` / ``groups``.
            ``ids``: column with one distinct name per row; default ``id`` / ``ids``. ``split``: which split
            the rows are from; default: what the file says, else "test", so that nothing is ever fitted on
            rows of unknown origin.
            ``class_names``: columns of the classes in order, each as COLUMN or COLUMN=NAME. ``prefix``: what
            the names of the class columns start with. ``positive``: the column with the score of the positive
            class, or the positive one of two classes. ``positive_label``: the positive label value.
            ``labels_file``: a second file with the labels, joined by ``ids``. ``first_label``: number of the
            first class, for integer labels. ``exclude``: columns to leave out. ``renormalise``: divide
            probabilities by their sum (if within 1e-2 of 1). ``by``: columns that part the rows into
            subgroups; ``age:45:65`` cuts its numbers into bands. ``sheet``: of a workbook. ``labels_needed``:
            False reads rows without labels, too. ``known_classes``: class names of the rows that these belong
            to. ``weight``: column with weights of the rows (``read_predictions(...).weights``). ``sampling``:
            share of the rows of each class that was sampled; weights are 1 / share.

    Raises:
        DataError: Unreadable file, missing or unclear columns, labels outside the class list, NaN or
            infinity, rows that do not sum to 1, logits passed as probabilities or the reverse.
        SplitError: ``split`` contradicts the file.
        SpecError: ``scores`` is missing, or an option is unknown.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = file.write_text("cat,dog,label\n0.9,0.1,cat\n0.4,0.6,cat\n")
        >>> p = load_predictions(file, scores="probs")
        >>> p.class_names, p.labels.tolist(), p.split
        (('cat', 'dog'), [0, 0], 'test')
    """
    data = read_predictions(path, **options).data
    if isinstance(data, Confidences):
        raise DataError(
            f"{path}: one confidence per row and no scores of classes; read it with "
            "vlmcal.io.predictions.read_predictions(...).data, which gives Confidences"
        )
    return data


def reading_plan(path: str | Path | Any, **options: Unpack[ReadingOptions]) -> ReadingPlan:
    r"""How :func:`load_predictions` reads a file, to be printed before any number.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = file.write_text("age,p_cat,p_dog,label\n61.5,0.9,0.1,cat\n70,0.4,0.6,dog\n")
        >>> print(reading_plan(file, scores="probs"))
        reading mine.csv: CSV, 2 rows
          label    column "label" (names of classes)
          classes  2: cat, dog (p_* match the label values)
          scores   probabilities (as said)
          left out age (named like an age)
    """
    return read_predictions(path, **options).plan


def read_predictions(path: str | Path | Any, **options: Unpack[ReadingOptions]) -> Rows:
    """Rows of a file with the plan of how they were read; options as :func:`load_predictions`.

    Tables of predictions with one confidence each give Confidences.

    Raises:
        DataError: As :func:`load_predictions`.
        SplitError: As there.
        SpecError: As there.
    """
    for name in options:
        require_known(name, ReadingOptions.__annotations__, "no option")
    weight, shares = options.pop("weight", None), options.pop("sampling", None)
    if weight and shares:
        raise SpecError("weight and sampling both give weights; name one of them")
    columns = _columns(options)
    rows = parted(
        lambda by: _rows(path, replace(columns, by=by), options), options.get("by"), weight
    )
    if not shares:
        return rows
    with located(rows.plan.file):
        if isinstance(rows.data, Confidences):
            raise DataError("sampling fractions by class need scores of classes")
        return weighted(rows, sampling_weights(rows.data, shares))


def _rows(path: str | Path | Any, columns: Columns, options: ReadingOptions) -> Rows:
    if is_table(path):
        form = "datasets.Dataset" if is_dataset(path) else "data frame"
        at_hand = partial(predictions_table.read_columns, table_of(path), form)
        return _read(at_hand, Path(form), columns, options)
    file = Path(path).expanduser()
    if not file.is_file() and not (file.is_dir() and (file / "state.json").is_file()):
        what = "a folder, but not of datasets.save_to_disk" if file.is_dir() else "no such file"
        raise DataError(f"{file}: {what}")
    ending = ending_of(file)
    if ending == _OWN:
        return _own(file, columns, options)
    read = predictions_table.read if file.is_dir() else _READERS.get(ending)
    if read is None:
        raise DataError(
            f'{file}: unknown kind of file "{file.suffix}"; expected one of {", ".join([_OWN, *_READERS])}'
            + (f". {hint}" if (hint := _INSTEAD.get(file.suffix.lower())) else "")
        )
    return _read(read, file, columns, options)


def _read(read: Reader, file: Path, columns: Columns, options: ReadingOptions) -> Rows:
    scores, split = options.get("scores"), options.get("split")
    if scores not in _KINDS:
        raise SpecError(
            f'{file}: say what the numbers are: scores="logits" or scores="probs"; got {scores!r}'
        )
    with located(file):
        raw = read(file, scores, columns)
        if isinstance(raw, RawConfidences):
            if options.get("renormalise"):
                raise DataError("renormalise= is for rows of probabilities, not for single ones")
            return _checked_confidences(raw, scores, split)
        return _checked(raw, scores, split, bool(options.get("renormalise")))


def _columns(options: ReadingOptions) -> Columns:
    known = Columns.__dataclass_fields__
    given: dict[str, Any] = {k: v for k, v in options.items() if k in known and v is not None}
    for name in {"class_names", "known_classes", "exclude", "by"} & given.keys():
        given[name] = tuple(map(str, given[name]))
    if "labels_file" in given:
        given["labels_file"] = Path(given["labels_file"])
    return Columns(**given)


def save_predictions(
    predictions: Predictions, path: str | Path, *, scores: Scores | None = None
) -> None:
    """Save predictions; the ending of ``path`` chooses the format of :func:`load_predictions`.

    Only ``.safetensors`` (with a ``.json`` beside it) keeps everything exactly: scores, kind, split,
    ids, groups, extras, resolution, provenance. NPZ and tables keep scores, labels, ids, groups and class
    names (NPZ also split and extras), in the scale that the scores were read in: probabilities stay
    probabilities. Tables keep the names of the score columns, and write class names as labels. The file
    appears in one step, or not at all.

    Args:
        predictions: What to save.
        path: ``.safetensors``, ``.npz``, or a table: ``.csv``, ``.tsv``, ``.jsonl``, ``.parquet``, ``.xlsx``,
            each also ``.gz``; "-" is standard output (CSV).
        scores: "logits", "probs" or "percent", instead of the scale of the input.

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
    _WRITERS[full_ending(file, _WRITERS)](predictions, file, scores)


# What says nothing of a file that says everything itself.
_UNUSED: Final = (
    *("labels", "labels_file", "group", "ids", "exclude", "by", "prefix"),
    *("positive", "positive_label", "first_label", "sheet"),
)


def _own(file: Path, columns: Columns, options: ReadingOptions) -> Rows:
    predictions = predictions_pair.load(file)
    stored: Scores = "logits" if predictions.kind == "logits" else "probs"
    wanted = {
        "scores": (options.get("scores"), stored),
        "split": (options.get("split"), predictions.split),
        "class_names": (columns.class_names, predictions.class_names),
    }
    for name, (asked, held) in wanted.items():
        if asked is not None and asked != held:
            raise DataError(f"{file}: {name} is {held!r} in the file, but {asked!r} was asked for")
    if options.get("renormalise"):
        raise SpecError(
            f"{file}: renormalise= is for foreign probabilities; these are as they were saved"
        )
    try:
        columns.refuse("has no use", *_UNUSED)
    except DataError as error:
        raise DataError(
            f"{file}: this format knows its own columns; drop labels=, group=, ids=, by=, exclude= and all "
            f"that tells how a table is read: {error}"
        ) from error
    plan = ReadingPlan(
        file=file.name,
        form="vlmcal's own format",
        rows=len(predictions),
        scores=predictions.kind.replace("_", "-"),
        label="as saved" if predictions.labelled else "",
        classes=predictions.class_names,
        rule="as saved",
        unit="" if predictions.groups is None else "as saved",
    )
    return Rows(predictions, plan, {})


def _checked_confidences(raw: RawConfidences, scores: Scores, split: Split | None) -> Rows:
    if scores == "logits":
        raise DataError(
            "a table of predictions with one confidence each: confidences are probabilities; pass "
            '--probs (scores="probs") instead of --logits'
        )
    data = Confidences(
        confidence=raw.confidence,
        correct=raw.correct,
        ids=raw.ids,
        groups=raw.groups,
        split=split or "test",
        provenance={"source": raw.source, "reading": raw.plan.to_dict()},
    )
    return Rows(data, raw.plan, raw.strata)


def _checked(raw: RawPredictions, scores: Scores, split: Split | None, renormalise: bool) -> Rows:
    if split and raw.split not in (None, "unknown", split):
        raise SplitError(f'split is "{raw.split}" in the file, but "{split}" was asked for')
    plan = raw.plan
    _require_names(raw.class_names)
    fields: dict[str, Any] = {
        "labels": raw.labels,
        "ids": raw.ids,
        "groups": raw.groups,
        "class_names": raw.class_names,
        "split": as_split(split or raw.split or "test"),
        "extras": raw.extras,
    }
    if scores == "logits":
        if renormalise:
            raise SpecError(
                'renormalise=True is for probabilities; it makes no sense for scores="logits"'
            )
        _refuse_probabilities(raw.scores)
    else:
        rows = unit_rows(raw.scores, renormalise=renormalise)
        if rows.note:
            plan = replace(plan, notes=(*plan.notes, rows.note))
    fields["provenance"] = {"source": raw.source, "scores": scores, "reading": plan.to_dict()}
    if scores == "logits":
        return Rows(Predictions(logits=raw.scores, **fields), plan, raw.strata)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the plan says what was renormalised
        data = from_probabilities(raw.scores, renormalise=renormalise, **fields)
    return Rows(data, plan, raw.strata)


def _require_names(class_names: Sequence[str]) -> None:
    """Refuse class names that cannot be seen, and "nan", which is an empty cell that was written out."""
    for at, name in enumerate(class_names):
        if not is_seen(name):
            raise DataError(f"class_names: the name of class {at} is empty")
        if name.strip().lower() == "nan":
            raise DataError(f"class_names: the name of class {at} is nan, which is no name")


def _refuse_probabilities(values: FloatArray) -> None:
    if values.ndim != 2 or values.shape[1] < 2 or values.dtype.kind != "f" or not values.size:
        return
    if values[:1000].min() < 0 or not np.isfinite(values).all() or values.min() < 0:
        return
    if np.abs(values.sum(axis=1, dtype=np.float64) - 1).max() < max(1e-3, row_tolerance(values)):
        raise DataError(
            "all rows are non-negative and sum to 1: these are probabilities, not logits; pass "
            'scores="probs" (--probs)'
        )
