"""Multi-label files: a probability for each finding, and its truth in a column, a list of names or a file."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeAlias, Unpack

import numpy as np

from vlmcal.errors import DataError, SpecError, located, nearest, require_known
from vlmcal.io.finding_truths import find_findings
from vlmcal.io.npz import read_npz
from vlmcal.io.packed import ending_of
from vlmcal.io.predictions import ReadingOptions
from vlmcal.io.read_rows import ReadRows, parted
from vlmcal.io.reading_plan import ReadingPlan
from vlmcal.io.table_files import Table, is_table, read_table, table_of
from vlmcal.types.arrays import FloatArray
from vlmcal.types.multi_label import MEANING, UNCERTAIN, MultiLabel, multi_label_arrays
from vlmcal.types.split import as_split

BLANKS: Final = ("ignore", "negative")
_SCALES: Final = {
    "probs": "probabilities",
    "logits": "logits (their sigmoid)",
    "percent": "percentages",
}
_SCORE_ARRAYS: Final = (
    *("probs", "probabilities", "prob", "sigmoid", "y_prob", "logits", "scores", "y_score"),
    *("preds", "y_pred"),
)
_TRUTH_ARRAYS: Final = ("labels", "targets", "target", "y_true", "y", "truth", "gt", "label")


MultiLabelRows: TypeAlias = ReadRows[MultiLabel]


def read_multi_label(
    path: str | Path | Any,
    *,
    uncertain: str | None = None,
    blank: str | None = None,
    **options: Unpack[ReadingOptions],
) -> MultiLabelRows:
    r"""Read a table (or NPZ) with a probability for each of several findings that do not exclude each other.

    - A truth column for each finding, called alike: ``Edema`` and ``prob_Edema``, ``Edema_true`` and
      ``Edema_prob``, ``y_true_Edema`` and ``y_pred_Edema``; 1 is present, 0 absent, -1 uncertain.
    - One column with the names of the findings in each row, as the NIH writes them: ``Edema|Mass``.
    - A second file with either of them (``labels_file``), joined by the ids.

    Args:
        path: The file, or a data frame or ``datasets.Dataset`` at hand.
        uncertain: What -1 means: "ignore" (unknown), "positive" or "negative"; must be said where it occurs.
        blank: What an empty truth means: "ignore" or "negative" (not mentioned is absent); likewise.
        **options: As :func:`vlmcal.io.predictions.load_predictions`; ``scores`` are probabilities unless
            said. ``labels``: truth columns in order with commas, or the column of names.

    Raises:
        DataError: Unreadable, no pairs, truths that are none, uncertain or empty ones without a rule.
        SpecError: Another word for a rule.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "chest.csv")
        >>> _ = file.write_text("Edema,Mass,prob_Edema,prob_Mass\n1,0,0.9,0.2\n-1,1,0.4,0.7\n")
        >>> rows = read_multi_label(file, uncertain="ignore")
        >>> rows.data.names, rows.data.labels.tolist()
        (('Edema', 'Mass'), [[1.0, 0.0], [nan, 1.0]])
        >>> print(rows.plan)
        reading chest.csv: CSV, 2 rows
          label    columns Edema, Mass (1 present, 0 absent; 1 uncertain (-1) taken as unknown)
          classes  2: Edema, Mass (each paired with its truth by name)
          scores   probabilities (as for multi-label tables unless said)
    """
    require_rules(uncertain, blank)
    at_hand = is_table(path)
    file = Path("table at hand") if at_hand else Path(path).expanduser()
    if not at_hand and not file.exists():
        raise DataError(f"{file}: no such file")
    if options.pop("sampling", None):
        raise SpecError("sampling fractions are of classes that exclude each other; give weights")

    def read(by: tuple[str, ...]) -> MultiLabelRows:
        options["by"] = by
        with located(file):
            if ending_of(file) == ".npz":
                return _arrays(file, options, uncertain, blank)
            table = table_of(path) if at_hand else read_table(file, options.get("sheet"))
            return _table(table, file, options, uncertain, blank)

    return parted(read, options.get("by"), options.pop("weight", None))


def _table(
    table: Table, file: Path, options: ReadingOptions, uncertain: str | None, blank: str | None
) -> MultiLabelRows:
    table.require_rows()
    by, exclude = tuple(options.get("by") or ()), tuple(options.get("exclude") or ())
    for name in (*by, *exclude):
        table.require(name, "by" if name in by else "exclude")
    ids = table.role(options.get("ids"), "id", "ids", exclude)
    group = table.role(options.get("group"), "group", "group", exclude)
    taken = {ids, group, *by, *exclude}
    left = [name for name in table.names if name not in taken]
    found, truth = find_findings(table, left, file.parent, ids, options)
    scores = _scores(table, found.scores)
    labels, said = decided(truth.values, uncertain, blank)
    named = {"ids": ids, "groups": group}
    parts = {part: None if name is None else table.texts(name) for part, name in named.items()}
    data = _checked(scores, labels, found.names, options, parts)
    used = {*found.scores, *found.truths, *taken}
    form = "data set folder" if file.is_dir() else ending_of(file)[1:].upper() or "columns"
    said_scale = options.get("scores")
    as_said = "as said" if said_scale else "as for multi-label tables unless said"
    rest = {name: why for name, why in found.left_out.items() if name not in used}
    plan = ReadingPlan(
        file=file.name,
        form=", ".join([form, *table.form]),
        rows=table.rows,
        scores=f"{_SCALES[said_scale or 'probs']} ({as_said})",
        label=f"{truth.where}{said}" if truth.values is not None else "",
        classes=found.names,
        columns=found.scores,
        rule=found.rule,
        unit="" if group is None else f'column "{group}"',
        by=by,
        ids="" if ids is None else f'column "{ids}"',
        left_out=rest,
        notes=(*table.notes, *_exclusive(data)),
    )
    data = replace(data, provenance={"source": file.name, "reading": plan.to_dict()})
    return MultiLabelRows(data, plan, {name: table.texts(name) for name in by})


def _scores(table: Table, names: Sequence[str]) -> FloatArray:
    """(N, L) scores of the columns.

    Raises:
        DataError: A cell is empty or no number; names the first.
    """
    columns = []
    for name in names:
        numbers = table.numbers(name)
        values = numbers.values.astype(np.float64)
        wrong = np.flatnonzero(~np.isfinite(values))
        if wrong.size:
            cell = table.texts(name)[wrong[0]]
            raise DataError(
                f'column "{name}": {wrong.size} of {len(values)} cells hold no number, first "{cell}" in '
                f"data row {int(wrong[0]) + 1}; each row needs the probability of each finding"
            )
        columns.append(values)
    return np.stack(columns, axis=1)


def require_rules(uncertain: str | None, blank: str | None) -> None:
    """Refuse words that say nothing about uncertain or empty truths.

    Raises:
        SpecError: Names the nearest word.
    """
    for name, value, known in (("uncertain", uncertain, tuple(MEANING)), ("blank", blank, BLANKS)):
        if value is not None:
            require_known(value, known, f"{name}: no reading")


def decided(
    values: FloatArray | None, uncertain: str | None, blank: str | None
) -> tuple[FloatArray | None, str]:
    """Truths of 0, 1 and NaN, with the words for what was decided.

    Args:
        values: As written: 1, 0, -1 (uncertain) and NaN (empty), of any shape.
        uncertain: As :func:`read_multi_label`.
        blank: Likewise.

    Raises:
        DataError: Uncertain or empty ones, and nothing was said about them.
        SpecError: Another word for a rule.

    Example:
        >>> decided(np.array([[1.0, -1.0]]), "ignore", None)
        (array([[ 1., nan]]), ' (1 present, 0 absent; 1 uncertain (-1) taken as unknown)')
    """
    require_rules(uncertain, blank)
    if values is None:
        return None, ""
    doubted, empty = values == UNCERTAIN, np.isnan(values)
    words = ["1 present, 0 absent"]
    often = "not mentioned is absent, as CheXpert is often read"
    for where, what, rule, option, known, absent in (
        (doubted, "uncertain (-1)", uncertain, "uncertain", "|".join(MEANING), "absent"),
        (empty, "empty", blank, "blank", "|".join(BLANKS), often),
    ):
        count = int(where.sum())
        if not count:
            continue
        if rule is None:
            raise DataError(
                f"{count:,} of {values.size:,} truths are {what}; say what that means with --{option} "
                f'{known} ({option}="ignore": unknown, left out; negative: {absent})'
            )
        taken = {"ignore": "unknown", "positive": "present", "negative": "absent"}[rule]
        words.append(f"{count:,} {what} taken as {taken}")
    result = np.where(doubted, MEANING[uncertain or "ignore"], values)
    result = np.where(empty, MEANING[blank or "ignore"], result)
    return result, f" ({'; '.join(words)})"


def _checked(
    scores: FloatArray,
    labels: FloatArray | None,
    names: Sequence[str],
    options: ReadingOptions,
    rest: Mapping[str, Any],
) -> MultiLabel:
    kind = options.get("scores") or "probs"
    if kind == "percent":
        scores = scores / 100
    elif kind == "logits":
        if scores.min() >= 0 and scores.max() <= 1:
            raise DataError(
                "all scores lie in [0, 1]: these are probabilities; pass --probs instead of --logits"
            )
    elif scores.max() > 1:
        low, high = float(scores.min()), float(scores.max())
        top = "percentages (--percent)" if low >= 0 and high <= 100 else "logits (--logits)"
        raise DataError(
            f"scores from {low:.4g} to {high:.4g} are no probabilities; are they {top}?"
        )
    data = multi_label_arrays(scores, labels, names=names, logits=kind == "logits")
    return replace(data, split=as_split(options.get("split") or "test"), **rest)


def _exclusive(data: MultiLabel) -> list[str]:
    """Say where a table looks like one class a row."""
    sums = data.probabilities.sum(axis=1)
    one = data.known.all() and (data.labels.sum(axis=1) == 1).all() and len(data.names) > 1
    if one and np.abs(sums - 1).max() < 1e-2 and len(data) > 5:
        return [
            "every row has exactly one finding and its probabilities sum to 1: if they exclude each other, "
            "leave out --multi-label"
        ]
    return []


def _arrays(
    file: Path, options: ReadingOptions, uncertain: str | None, blank: str | None
) -> MultiLabelRows:
    arrays = read_npz(file)
    said = options.get("scores")
    unsaid = {"scores", "y_score", "preds", "y_pred"}
    name = next(
        (
            n
            for n in _SCORE_ARRAYS
            if n in arrays and (not said or n in unsaid or ("logit" in n) == (said == "logits"))
        ),
        None,
    )
    if name is None:
        raise DataError(f"no array of scores (N, L); {nearest(said or 'probs', arrays)}")
    if name == "logits" and said is None:
        said = "logits"
    key = options.get("labels") or next((n for n in _TRUTH_ARRAYS if n in arrays), "labels")
    if key not in arrays and options.get("labels_needed", True):
        raise DataError(f'no array "{key}" of truths (N, L); {nearest(key, arrays)}')
    scores = arrays[name].astype(np.float64) if arrays[name].dtype.kind in "fiu" else arrays[name]
    if scores.ndim != 2 or scores.dtype.kind != "f":
        raise DataError(
            f"{name}: expected numbers of shape (N, L), got {scores.dtype} {scores.shape}"
        )
    truth = arrays.get(key)
    if truth is not None and truth.shape != scores.shape:
        raise DataError(f"{key}: expected shape {scores.shape} as {name}, got {truth.shape}")
    labels, words = decided(None if truth is None else truth.astype(np.float64), uncertain, blank)
    held = next(
        (arrays[n] for n in ("class_names", "classes", "names") if n in arrays), np.empty(0)
    )
    names = tuple(map(str, held.tolist()))
    ids, group = options.get("ids") or "ids", options.get("group") or "groups"
    given: ReadingOptions = {**options, "scores": said}
    data = _checked(
        scores, labels, names, given, {"ids": arrays.get(ids), "groups": arrays.get(group)}
    )
    plan = ReadingPlan(
        file=file.name,
        form="NPZ",
        rows=len(data),
        scores=f'{_SCALES[said or "probs"]} in array "{name}"',
        label="" if truth is None else f'array "{key}"{words}',
        classes=data.names,
        rule="names of the file" if names else "no names in the file",
        unit=f'array "{group}"' if group in arrays else "",
        ids=f'array "{ids}"' if ids in arrays else "",
    )
    for column in options.get("by") or ():
        require_known(column, arrays, "by: no array", DataError)
    strata = {n: arrays[n].astype(np.str_) for n in options.get("by") or ()}
    data = replace(data, provenance={"source": file.name, "reading": plan.to_dict()})
    return MultiLabelRows(data, plan, strata)
