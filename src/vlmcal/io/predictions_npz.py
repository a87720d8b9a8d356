"""Predictions in NPZ files and NPY pairs: named arrays, no pickles."""

from collections.abc import Iterable
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError, nearest, require_known
from vlmcal.io.column_names import CORRECT_NAMES, joined
from vlmcal.io.label_codes import as_integers, integer_codes
from vlmcal.io.labels import label_index
from vlmcal.io.npz import array_names, read_npy, read_npz
from vlmcal.io.packed import ending_of
from vlmcal.io.predictions_output import EXTRA
from vlmcal.io.raw_predictions import Columns, RawConfidences, RawPredictions
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.io.row_join import join, second_file
from vlmcal.io.score_columns import Scores
from vlmcal.io.table_files import read_table
from vlmcal.io.truth_columns import from_joined, refuse_column
from vlmcal.types.arrays import FloatArray
from vlmcal.types.probability_rows import look_like_percentages
from vlmcal.types.split import as_split

# Names of the scores by what they say; netcal, torchmetrics and scikit-learn call them so, too.
_LOGITS: Final = ("logits", "logit", "y_logits")
_PROBS: Final = (
    *("probs", "prob", "probabilities", "probas", "proba", "softmax", "y_prob", "y_proba"),
    "confidences",
)
_UNSAID: Final = ("scores", "predictions", "preds", "outputs", "y_score", "y_pred")
_SCORES: Final = (*_LOGITS, *_PROBS, *_UNSAID)
_LABELS: Final = (
    *("labels", "label", "ground_truth", "target", "targets", "y_true", "y", "gt", "truth"),
    "true_labels",
)
_FIXED: Final = ("class_names", "split")
_CLASS_NAMES: Final = ("classes", "classnames", "label_names", "target_names", "categories")


class Stated(NamedTuple):
    """What a file says about itself by its names; None where it does not.

    Attributes:
        scores: "logits" or "probs".
        split: Which split its rows are from.
    """

    scores: Scores | None
    split: Any


def stated(file: Path) -> Stated:
    """What the names of an NPZ file's arrays, or the name of an NPY file, say.

    Raises:
        DataError: The split is not readable.

    Example:
        >>> stated(Path("val_logits.npy")).scores
        'logits'
    """
    if file.suffix.lower() == ".npy":
        return Stated(_said(file.stem.lower().replace("-", "_").split("_")), None)
    names = array_names(file) or list(read_npz(file))  # which says what is wrong with it
    split = as_split(str(read_npz(file)["split"])) if "split" in names else None
    return Stated(_said([name for name in names if name in ("logits", "probs")]), split)


def _said(names: list[str]) -> Scores | None:
    logits, probs = ({*names} & {*known} for known in (_LOGITS, _PROBS))
    return None if bool(logits) == bool(probs) else "logits" if logits else "probs"


def read(file: Path, scores: Scores, columns: Columns) -> RawPredictions | RawConfidences:
    """Scores, labels and the rest of an NPZ file; see :func:`vlmcal.io.predictions.load_predictions`.

    Raises:
        DataError: Not readable, or its arrays are missing, unclear or of the wrong shape.
    """
    arrays = read_npz(file)
    for name in columns.exclude:
        require_known(name, arrays, "exclude: no array", DataError)
    arrays = {name: a for name, a in arrays.items() if name not in columns.exclude}
    if columns.labels_file is None:
        return _of_arrays(file, "NPZ", arrays, scores, columns)
    own = [name for name in (*_LABELS, columns.labels) if name in arrays]
    beside = second_file(columns.labels_file, file.parent)
    arrays = {name: a for name, a in arrays.items() if name not in own}
    arrays["labels"] = _labels_of(beside, arrays.get(columns.ids or "ids"), columns)
    rest = replace(columns, labels=None, labels_file=None)
    return _of_arrays(file, f"NPZ with {beside.name}", arrays, scores, rest)


def _labels_of(file: Path, ids: NDArray[Any] | None, columns: Columns) -> NDArray[Any]:
    """Labels of a second file: an NPY file in the order of the rows, or a table that is joined by the ids."""
    if ending_of(file) == ".npy":
        refuse_column(columns, file.name)
        return read_npy(file)
    if ids is None:
        raise DataError(
            f"{file.name}: its labels are joined by the ids, but there is no array ids; name one with "
            "ids=NAME (--ids NAME), or give the labels as an NPY file in the order of the rows"
        )
    other = read_table(file)
    key = columns.ids or "ids"
    found = join({key: ids.astype(np.str_)}, other, columns.ids, file.name)
    values = from_joined(other, found, columns, file.name).values
    assert values is not None
    return values


def read_pair(file: Path, scores: Scores, columns: Columns) -> RawPredictions | RawConfidences:
    """Scores of ``x_logits.npy``, labels of ``x_labels.npy`` or ``labels.npy`` beside it.

    Raises:
        DataError: As :func:`read`, or there is no file with labels.
    """
    arrays: dict[str, NDArray[Any]] = {"probs" if scores == "percent" else scores: read_npy(file)}
    stem = file.stem
    guesses = [
        stem.replace(word, "labels")
        for word in ("logits", "probs", "probabilities", "softmax", "scores")
        if word in stem
    ]
    asked = columns.labels_file or (Path(columns.labels) if columns.labels else None)
    if asked is not None:
        beside = [asked if asked.is_file() else file.parent / asked]
    else:
        beside = [file.with_name(f"{name}.npy") for name in (*guesses, "labels", "targets", "y")]
    there = [path for path in beside if path.is_file() and path != file]
    if there:
        arrays["labels"] = read_npy(there[0])
    elif columns.labels_needed:
        raise DataError(
            f"no labels beside it; expected {' or '.join(path.name for path in beside)}, or name the file "
            "with labels_file=FILE (--labels-file)"
        )
    where = f"NPY with {there[0].name}" if there else "NPY"
    rest = replace(columns, labels=None, labels_file=None)
    return _of_arrays(file, where, arrays, scores, rest)


def _of_arrays(
    file: Path, form: str, arrays: dict[str, NDArray[Any]], scores: Scores, columns: Columns
) -> RawPredictions | RawConfidences:
    columns.refuse(
        "is for tables; drop it. Arrays have their classes in order: names come from the array class_names "
        "or class_names= (--classes), and the last of two classes is the positive one",
        *("prefix", "positive", "positive_label", "sheet"),
    )
    key = columns.labels or next((name for name in _LABELS if name in arrays), "labels")
    names = {"labels": key, "group": columns.group or "groups", "ids": columns.ids or "ids"}
    top = _top_label(file, form, arrays, names, columns)
    if top is not None:
        return top
    found, values = _scores(arrays, scores, key, columns.labels is not None)
    _require_known(arrays, names, columns, found)
    class_names = columns.class_names or _named_classes(arrays, values.shape[1])
    twice = sorted({name for name in class_names if class_names.count(name) > 1})[:3]
    if twice:
        raise DataError(
            f"class_names: two classes are called {', '.join(twice)}; give each its own name"
        )
    known = class_names or columns.known_classes
    known = known if len(known) == values.shape[1] else class_names
    known = known or tuple(str(index) for index in range(values.shape[1]))
    codes, rule, notes = _codes(arrays.get(key), values, known, key, columns)
    plan = ReadingPlan(
        file=file.name,
        form=form,
        rows=len(values),
        scores=f'{"logits" if scores == "logits" else "probabilities"} in array "{found}"'
        + (" (percent)" if scores == "percent" else ""),
        label="" if codes is None else f'array "{key}" ({rule})',
        classes=known,
        rule="class_names of the file" if class_names else "no names in the file",
        unit=_there(arrays, names["group"]),
        ids=_there(arrays, names["ids"]),
        left_out={
            name: f"array of shape {arrays[name].shape}"
            for name in _others(
                arrays, {found, *_FIXED, *_CLASS_NAMES, *names.values(), *columns.by}
            )
        },
        notes=tuple(notes),
    )
    return RawPredictions(
        scores=values,
        labels=codes,
        class_names=class_names,
        ids=arrays.get(names["ids"]),
        groups=arrays.get(names["group"]),
        strata={name: arrays[name].astype(np.str_) for name in columns.by},
        split=as_split(str(arrays["split"])) if "split" in arrays else None,
        extras={n.removeprefix(EXTRA): a for n, a in arrays.items() if n.startswith(EXTRA)},
        source=file.name,
        plan=plan,
    )


def _named_classes(arrays: dict[str, NDArray[Any]], count: int) -> tuple[str, ...]:
    """The array of class names: that called ``class_names``, else another usual name with as many texts."""
    if "class_names" in arrays:
        return tuple(arrays["class_names"].astype(np.str_).tolist())
    for name in _CLASS_NAMES:
        names = arrays.get(name)
        if names is not None and names.dtype.kind in "US" and names.shape == (count,):
            return tuple(names.astype(np.str_).tolist())
    return ()


def _there(arrays: dict[str, NDArray[Any]], name: str) -> str:
    return f'array "{name}"' if name in arrays else ""


def _codes(
    labels: NDArray[Any] | None,
    values: FloatArray,
    known: tuple[str, ...],
    key: str,
    columns: Columns,
) -> tuple[Any, str, list[str]]:
    if labels is None:
        return None, "", []
    if labels.shape == values.shape and labels.ndim == 2 and np.isin(labels, (0, 1)).all():
        if (labels.sum(axis=1) != 1).any():
            raise DataError(
                f"{key}: rows with another number of classes marked than one: a multi-label table, which "
                "vlmcal evaluate --multi-label reads (vlmcal.io.multi_label.read_multi_label)"
            )
        return labels.argmax(axis=1).astype(np.int64), "one-hot", []
    codes = label_index(labels, known, key)
    integers = _integers(np.asarray(labels).ravel())
    if integers is None or len(codes) != len(values):
        return codes, "names of classes", []
    inside = codes.min(initial=0) >= 0 and codes.max(initial=0) <= values.shape[1]
    if not inside and columns.first_label is None:
        return codes, "integers counted from 0", []
    coded = integer_codes(integers, values, None, columns.first_label)
    return coded.codes, coded.rule, [coded.note] if coded.note else []


def _integers(labels: NDArray[Any]) -> NDArray[np.int64] | None:
    """Labels that are whole numbers, or texts of them; None for others."""
    if labels.dtype.kind == "i":
        return labels.astype(np.int64, copy=False)
    different, place = np.unique(labels, return_inverse=True)
    numbers = as_integers(different.astype(np.str_))
    return None if numbers is None else numbers[place]


def _scores(
    arrays: dict[str, NDArray[Any]], scores: Scores, labels: str, named: bool
) -> tuple[str, FloatArray]:
    asked = "logits" if scores == "logits" else "probs"
    by_name = {"logits": _LOGITS, "probs": _PROBS}
    found: list[str] = [name for name in _SCORES if name in arrays and name != labels]
    if not found and named and labels in arrays:
        found = _only_matrix(arrays, labels)
    if not found:
        near = [name for name in arrays if not name.startswith(EXTRA)]
        raise DataError(
            f"no array logits or probs of shape (N, K); {nearest(asked, near)}. Where there is only one such "
            "array beside the labels, naming these is enough: labels=NAME (--labels NAME)"
        )
    saying = [name for name in found if name not in _UNSAID] or found
    unsaid = {*_UNSAID, *found} - {*_LOGITS, *_PROBS}
    if len(saying) > 1:
        other = next((name for name in saying if name not in by_name[asked]), saying[-1])
        raise DataError(
            f'holds both logits and probs ({", ".join(saying)}); keep one, or pass exclude=["{other}"] to '
            f"use {asked}"
        )
    name = saying[0]
    if name not in unsaid and name not in by_name[asked]:
        said = next(kind for kind, names in by_name.items() if name in names)
        raise DataError(
            f'holds "{name}", but scores="{scores}" was asked for; pass scores="{said}"'
        )
    values = arrays[name]
    if name in _UNSAID and values.ndim == 1 and values.dtype.kind in "iu":
        raise DataError(
            f"{name}: classes without a number that says how sure each is, so there is no calibration to "
            "measure; add confidences (N,), or probs or logits (N, K)"
        )
    if values.ndim == 2 and values.shape[1] == 1:  # one score for the second of two classes
        values = values[:, 0]
    if values.ndim == 1 and labels in arrays and arrays[labels].size == len(values):
        values = values.astype(np.float64)
        scale = 100.0 if scores == "percent" else 1.0
        rest = np.zeros_like(values) if scores == "logits" else scale - values
        values = np.stack([rest, values], axis=1)
    if values.ndim != 2:
        raise DataError(f"{name}: expected shape (N, K), got {values.shape}")
    if not len(values):
        raise DataError(f"{name}: the file holds no rows")
    if scores == "percent":
        return name, values / 100
    if values.dtype.kind in "fiu" and look_like_percentages(values):
        raise DataError(
            f"{name}: all rows are non-negative and sum to 100: these are percentages; pass --percent "
            '(scores="percent"), or divide by 100'
        )
    return name, values


def _only_matrix(arrays: dict[str, NDArray[Any]], labels: str) -> list[str]:
    """The only array of numbers (N, K) beside N labels, whatever it is called."""
    rows = arrays[labels].shape[:1]
    fits = [
        name
        for name, a in arrays.items()
        if a.ndim == 2 and a.dtype.kind == "f" and a.shape[:1] == rows and name != labels
    ]
    return fits if len(fits) == 1 and not fits[0].startswith(EXTRA) else []


def _top_label(
    file: Path, form: str, arrays: dict[str, NDArray[Any]], names: dict[str, str], columns: Columns
) -> RawConfidences | None:
    """``confidences`` (N,), ``predictions`` (N,) of integers and labels, as netcal takes them."""
    confidence = next((arrays[n] for n in ("confidences", "confidence") if n in arrays), None)
    guess = next((arrays[n] for n in ("predictions", "preds", "y_pred") if n in arrays), None)
    labels = arrays.get(names["labels"])
    verdict = next((n for n in arrays if joined(n) in CORRECT_NAMES), None)
    if confidence is None or confidence.ndim != 1:
        return None
    if labels is None and verdict is not None:
        guess, labels = arrays[verdict].astype(np.int64), np.ones(len(confidence), dtype=np.int64)
    if guess is None or labels is None:
        return None
    if guess.dtype.kind not in "iuU" or not guess.shape == labels.shape == confidence.shape:
        return None
    plan = ReadingPlan(
        file=file.name,
        form=form,
        rows=len(confidence),
        scores="confidence of the prediction",
        label=f'array "{names["labels"]}" against the predictions'
        if names["labels"] in arrays
        else f'verdicts in array "{verdict}"',
        rule="one confidence per row",
    )
    return RawConfidences(
        confidence=confidence,
        correct=guess == labels,
        ids=arrays.get(names["ids"]),
        groups=arrays.get(names["group"]),
        strata={name: arrays[name].astype(np.str_) for name in columns.by},
        plan=plan,
        source=file.name,
    )


def _require_known(
    arrays: dict[str, NDArray[Any]], names: dict[str, str], columns: Columns, scores: str
) -> None:
    asked = {
        "labels": columns.labels_needed or columns.labels is not None,
        "group": columns.group is not None,
        "ids": columns.ids is not None,
    }
    for parameter, name in (*names.items(), *(("by", name) for name in columns.by)):
        if asked.get(parameter, True) and name not in arrays:
            near = [n for n in arrays if n not in ("logits", "probs") and not n.startswith(EXTRA)]
            hint = nearest(name, near)
            raise DataError(f'no array "{name}"; rename one or pass {parameter}=NAME: {hint}')
    known = {"logits", "probs", scores, *_FIXED, *_CLASS_NAMES, *names.values(), *columns.by}
    for name in _others(arrays, known):
        near = get_close_matches(name, known, 1, cutoff=0.8)
        if near:  # a slip of the pen would lose an array
            raise DataError(
                f'unknown array "{name}"; call it extra_{name} to keep it, pass exclude=["{name}"] '
                f'(--exclude {name}) to leave it out, or correct its name: did you mean "{near[0]}"?'
            )


def _others(arrays: dict[str, NDArray[Any]], known: Iterable[str]) -> list[str]:
    taken = {*known, *_UNSAID}
    return [name for name in arrays if name not in taken and not name.startswith(EXTRA)]
