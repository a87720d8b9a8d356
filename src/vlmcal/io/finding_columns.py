"""Which columns of a multi-label table are the probability and the truth of a finding, by their names."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vlmcal.errors import DataError
from vlmcal.io.column_names import (
    LOGIT_WORDS,
    SCALE_WORDS,
    counts_rows_by_name,
    joined,
    other_meaning,
)
from vlmcal.io.table_files import Table
from vlmcal.types.arrays import FloatArray

_SCORE: Final = SCALE_WORDS | frozenset(
    ("risk", "hat", "prediction", "predictions", "model", "confidence", "conf")
)
_TRUTH: Final = frozenset(
    {
        *("true", "truth", "label", "labels", "gt", "target", "targets", "groundtruth", "ground"),
        *("actual", "gold", "reference", "ref", "y"),
    }
)
_TOKEN: Final = re.compile(r"[^\W_]+")
_WORDS: Final = {
    **dict.fromkeys(("true", "yes", "positive", "pos", "present"), 1.0),
    **dict.fromkeys(("false", "no", "negative", "neg", "absent"), 0.0),
    **dict.fromkeys(("uncertain", "unclear", "u"), -1.0),
}
_BLANK: Final = frozenset({"", "na", "n/a", "nan", "null", "none", "<na>"})
NOTHING: Final = frozenset(
    {"nofinding", "nofindings", "none", "normal", "nothing", "negative", "healthy"}
)


@dataclass(frozen=True)
class Findings:
    """Columns of each finding.

    Attributes:
        names: L names.
        scores: Their columns of probabilities.
        truths: Their columns of truths; "" where the truth stands elsewhere.
        rule: By which rule they belong together.
        left_out: Why other columns are not used.
    """

    names: tuple[str, ...]
    scores: tuple[str, ...]
    truths: tuple[str, ...]
    rule: str
    left_out: Mapping[str, str]


def inner_name(column: str) -> str:
    """The name of a finding in that of a column: less words for scores and truths at its ends.

    Example:
        >>> [inner_name(name) for name in ("prob_Pleural Effusion", "Edema_true", "y_pred_0", "P(Mass)")]
        ['Pleural Effusion', 'Edema', '0', 'Mass']
    """
    tokens = list(_TOKEN.finditer(column))
    around = _SCORE | _TRUTH
    first, last = 0, len(tokens)
    while first < last and tokens[first].group().casefold() in around:
        first += 1
    while last > first and tokens[last - 1].group().casefold() in around:
        last -= 1
    return column[tokens[first].start() : tokens[last - 1].end()] if first < last else column


def truth_values(table: Table, name: str) -> FloatArray | None:
    """A column as truths (N,): 1, 0, -1 (uncertain), NaN (empty); None if it holds anything else.

    Example:
        >>> import pyarrow as pa
        >>> truth_values(Table({"edema": pa.chunked_array([["1.0", "", "-1", "no"]])}), "edema").tolist()
        [1.0, nan, -1.0, 0.0]
    """
    numbers = table.numbers(name)
    values = numbers.values.astype(np.float64)
    if numbers.bad.size:
        texts = table.texts(name)
        for row in np.flatnonzero(np.isnan(values)).tolist():
            text = str(texts[row]).casefold()
            if text in _BLANK:
                continue
            if text not in _WORDS:
                return None
            values[row] = _WORDS[text]
    if not np.isin(values[~np.isnan(values)], (-1.0, 0.0, 1.0)).all():
        return None
    return values


def score_columns(
    table: Table, left: Sequence[str], logits: bool
) -> tuple[list[str], dict[str, str]]:
    """Columns that can hold probabilities (or logits) of findings, and why the other numeric ones cannot."""
    sound, doubtful = [], {}
    for name in left:
        numbers = table.numbers(name)
        if numbers.bad.size or not np.isfinite(numbers.values.astype(np.float64)).any():
            continue
        words = {token.group().casefold() for token in _TOKEN.finditer(name)}
        meaning = "" if words & _SCORE else other_meaning(name)
        if counts_rows_by_name(name):
            meaning = "counts the rows"
        elif words & LOGIT_WORDS and not logits:
            meaning = "named as logits"
        if meaning:
            plain = meaning.startswith(("counts", "named"))
            doubtful[name] = meaning if plain else f"named like {meaning}"
        else:
            sound.append(name)
    return sound, doubtful


def paired_columns(table: Table, left: Sequence[str], logits: bool) -> Findings:
    """Each finding's probability and truth by name: ``Edema`` with ``prob_Edema``, ``Edema_true``, ...

    The names must be equal once words for scores (prob, p, pred, score, logit, ...) and truths (true, label,
    gt, ...) are taken from their ends. A truth holds 0, 1, -1 and empty cells only; which of two it is,
    is said by these words, else by its values.

    Raises:
        DataError: No pair, or several columns for the same role of a finding.
    """
    sound, doubtful = score_columns(table, left, logits)
    truths = {
        name: values
        for name in left
        if (values := truth_values(table, name)) is not None and not np.isnan(values).all()
    }
    found: dict[str, tuple[list[str], list[str]]] = {}
    for name in left:
        words = {token.group().casefold() for token in _TOKEN.finditer(name)}
        if name in doubtful or (name not in sound and name not in truths):
            continue
        said_truth, said_score = words & (_TRUTH - {"y"}), words & (_SCORE - {"y", "class"})
        is_truth = name in truths and (said_truth or not said_score)
        if not is_truth and (name not in sound or said_truth):
            continue
        found.setdefault(joined(inner_name(name)), ([], []))[0 if is_truth else 1].append(name)
    pairs: list[tuple[str, str]] = []
    alone: dict[str, str] = {}
    for truth, score in found.values():
        if len(score) > 1:  # decisions beside the probabilities
            decided = [name for name in score if name in truths]
            alone |= dict.fromkeys(
                decided, "holds only 0 and 1 beside another column of its finding"
            )
            score = [name for name in score if name not in decided]
        if truth and score and (len(truth) > 1 or len(score) > 1):
            what, both = ("truth", truth) if len(truth) > 1 else ("probability", score)
            raise DataError(
                f'finding "{inner_name(truth[0])}": several columns may be its {what}: {", ".join(both)}; '
                "leave some out (exclude=[...], --exclude), or name them with --classes and --labels"
            )
        if truth and score:
            pairs.append((score[0], truth[0]))
        alone |= {} if truth and score else dict.fromkeys(truth, "a truth without probabilities")
        alone |= {} if truth and score else dict.fromkeys(score, "a score without a truth")
    pairs.sort(key=lambda pair: left.index(pair[0]))
    scores, marks = tuple(pair[0] for pair in pairs), tuple(pair[1] for pair in pairs)
    names = tuple(_shortest(pair) for pair in pairs)
    return Findings(
        names, scores, marks, "each paired with its truth by name", {**doubtful, **alone}
    )


def _shortest(pair: tuple[str, str]) -> str:
    inner = [inner_name(name) for name in pair]
    bare = [name for name in pair if name in inner]
    return bare[0] if bare else inner[1]


def named_findings(columns: Sequence[str], truths: Sequence[str], names: Sequence[str]) -> Findings:
    """Columns that the user names, in order or by their names.

    Raises:
        DataError: Another number of truths than of probabilities.
    """
    if len(columns) != len(truths):
        raise DataError(
            f"{len(columns)} columns of probabilities and {len(truths)} of truths; expected as many of both"
        )
    cores = [joined(inner_name(name)) for name in truths]
    wanted = [joined(inner_name(name)) for name in columns]
    rule = "in the order named"
    if sorted(cores) == sorted(wanted) and len(set(cores)) == len(cores):
        truths = [truths[cores.index(core)] for core in wanted]
        rule = "as named, each with its truth by name"
    elif set(cores) & set(wanted):
        raise DataError(
            f"some columns named as truths ({', '.join(truths)}) and as probabilities ({', '.join(columns)}) "
            "belong to the same finding and some do not; name as many of both, for the same findings"
        )
    return Findings(tuple(names), tuple(columns), tuple(truths), rule, {})


def listed_findings(cells: Sequence[str]) -> list[list[str]]:
    """Findings named in each cell: ``A|B``, ``A;B``, ``A, B`` or ``['A', 'B']``.

    Example:
        >>> listed_findings(["Edema|Mass", "No Finding", ""]), listed_findings(["['Edema', 'Mass']"])
        ([['Edema', 'Mass'], ['No Finding'], []], [['Edema', 'Mass']])
    """
    texts = [cell.strip().strip("[](){}") for cell in cells]
    mark = next((mark for mark in ("|", ";", ",") if any(mark in text for text in texts)), "|")
    return [
        [
            part.strip().strip("'\"").strip()
            for part in text.split(mark)
            if part.strip().strip("'\"")
        ]
        for text in texts
    ]
