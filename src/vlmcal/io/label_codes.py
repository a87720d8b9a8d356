"""What integer labels count, and which of two label values is the positive one."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

from vlmcal.errors import DataError, few, nearest
from vlmcal.io.column_names import as_option
from vlmcal.io.labels import is_integer
from vlmcal.types.arrays import FloatArray, IntArray, StrArray

# Words of which the second says yes.
SAID: Final = (
    *(("negative", "positive"), ("neg", "pos"), ("no", "yes"), ("false", "true")),
    ("absent", "present"),
)
_PAIRS: Final = (("0", "1"), ("n", "y"), ("f", "t"), *SAID, ("-1", "1"))
# Standard errors below one half from which an order of two classes is doubted.
_CLEARLY: Final = 3.0


class Coded(NamedTuple):
    """Labels as class indices.

    Attributes:
        codes: (N,) indices.
        rule: What the labels are taken as.
        note: What else they could mean, or "".
    """

    codes: IntArray
    rule: str
    note: str = ""


def as_integers(labels: StrArray) -> IntArray | None:
    """Labels written as integers (also 1.0), or None if one of them is not.

    Example:
        >>> as_integers(np.array(["1", "0.0"])).tolist(), as_integers(np.array(["1", "cat"]))
        ([1, 0], None)
    """
    unique, inverse = np.unique(labels, return_inverse=True)
    plain = [text.removesuffix(".0") for text in unique.tolist()]
    if not all(is_integer(text) for text in plain):
        return None
    return np.asarray([int(text) for text in plain], dtype=np.int64)[inverse]


def integer_codes(
    labels: IntArray,
    scores: FloatArray,
    numbers: Sequence[int] | None,
    first: int | None,
    *,
    bare: bool = False,
) -> Coded:
    """Index of each integer label's class.

    By the numbers in the names of the classes, where there are any, else counted from 0. The other reading
    is tried, too: where the chosen one fails, or the other fits the scores better, both are shown with their
    accuracies and nothing is chosen.

    Args:
        labels: (N,) integers.
        scores: (N, K), classes in order.
        numbers: K numbers in the names of the classes, ascending, or None.
        first: Number of the first class, as the user says it; None to read as above.
        bare: The numbers are the whole names of the classes, which may as well be positions: where the two
            readings differ, neither is chosen.

    Raises:
        DataError: No reading is possible, or none can be chosen.

    Example:
        >>> scores = np.eye(3)
        >>> integer_codes(np.array([1, 2, 3]), scores, [1, 2, 3], None).codes.tolist()
        [0, 1, 2]
        >>> integer_codes(np.array([1, 2, 3]), scores, None, None)
        Traceback (most recent call last):
        vlmcal.errors.DataError: labels are the integers 1 to 3 ... (--first-label 1): accuracy 100.00 %...
    """
    k = scores.shape[1]
    if first is not None:
        return Coded(labels - first, f"integers counted from {first}")
    position = labels if labels.min() >= 0 and labels.max() < k else None
    if numbers is None:
        later = labels - 1 if labels.min() >= 1 and labels.max() <= k else None
        if position is None and later is None:
            return Coded(labels, "integers counted from 0")
        other = "counted from 1 (--first-label 1)"
        mine, theirs, rule = position, later, "integers counted from 0"
    else:
        place = {number: at for at, number in enumerate(numbers)}
        if set(np.unique(labels).tolist()) <= set(place):
            mine = np.asarray([place[int(label)] for label in labels], dtype=np.int64)
        else:
            mine = None
        theirs, rule = position, "matched by the numbers in the names of the columns"
        other = "counted from 0 (--first-label 0)"
        later = labels - 1 if labels.min() >= 1 and labels.max() <= k else None
        if later is not None and _is_likelier(scores, later, mine, theirs):
            theirs, other = later, "counted from 1 (--first-label 1)"
        if mine is None and theirs is None:
            unknown = sorted(set(np.unique(labels).tolist()) - set(place))
            raise DataError(
                f"labels hold {unknown[:5]}, but the columns are numbered {list(numbers)[:8]}"
            )
    if mine is not None and (theirs is None or np.array_equal(mine, theirs)):
        return Coded(mine, rule)
    accuracy = [_accuracy(scores, reading) for reading in (mine, theirs)]
    if mine is not None and not bare and accuracy[1] <= accuracy[0]:
        shares = f"accuracy {100 * accuracy[0]:.2f} %; {other}: {100 * accuracy[1]:.2f} %"
        return Coded(mine, rule, f"labels {rule}: {shares}")
    start = 0 if numbers is None else numbers[0]
    usual = f"{'counted from 0' if numbers is None else rule} (--first-label {start})"
    readings = [
        f"{how}: "
        + ("some are outside the classes" if np.isnan(share) else f"accuracy {100 * share:.2f} %")
        for how, share in ((usual, accuracy[0]), (other, accuracy[1]))
    ]
    if bare and numbers is not None:
        what = f'class "{start}" is number 0: index or name is not guessed'
    else:
        what = "what they count is not guessed"
    raise DataError(
        f"labels are the integers {labels.min()} to {labels.max()} for {k} classes, {what}; "
        f"{'; '.join(readings)}"
    )


def _is_likelier(scores: FloatArray, later: IntArray, *readings: IntArray | None) -> bool:
    """Whether labels counted from 1 are the only reading, or clearly the likeliest one."""
    possible = [_accuracy(scores, reading) for reading in readings if reading is not None]
    noise = _CLEARLY * 0.5 / np.sqrt(len(later))
    return not possible or _accuracy(scores, later) > max(possible) + noise


def require_order(codes: IntArray, scores: FloatArray, names: Sequence[str]) -> None:
    """Refuse classes in an order that no name confirms and that the scores speak against.

    Raises:
        DataError: Fewer rows are right than by chance, or more are where the columns are taken in the order
            of their names or in the reverse one; the orders are shown with their accuracies.

    Example:
        >>> require_order(np.array([0, 1] * 50), np.array([[0.2, 0.8], [0.9, 0.1]] * 50), ["ill", "well"])
        Traceback (most recent call last):
        vlmcal.errors.DataError: labels 0 and 1 as the columns ill, well: accuracy 0.00 %; ... well, ill: ...
    """
    k = scores.shape[1]
    if k < 2 or codes.min(initial=0) < 0 or codes.max(initial=0) >= k:
        return
    chance, right = 1 / k, _accuracy(scores, codes)
    given = tuple(range(k))
    by_name = tuple(sorted(given, key=lambda at: names[at].casefold()))
    orders = dict.fromkeys(order for order in (by_name, given[::-1]) if order != given)
    shares = {order: _accuracy(scores[:, order], codes) for order in orders}
    noise = _CLEARLY * np.sqrt(chance * (1 - chance) / len(codes))
    better = [order for order, share in shares.items() if share > right + noise]
    below = right < chance - noise
    if not below and (k == 2 or not better):
        return
    shown = {
        order: as_option([names[at] for at in order]) for order in (given, *(better or orders))
    }
    said = [
        f"as the columns {few([names[at] for at in order], 6)}: accuracy "
        f"{100 * (right if order == given else shares[order]):.2f} %"
        for order in shown
    ]
    counted = "0 and 1" if k == 2 else f"0 to {k - 1}"
    raise DataError(
        f"labels {counted} {'; '.join(said)}. Which is right is not guessed: pass "
        f"{' or '.join(f'--classes {text}' for text in shown.values())}"
    )


def _accuracy(scores: FloatArray, codes: IntArray | None) -> float:
    return float("nan") if codes is None else float((scores.argmax(axis=1) == codes).mean())


def yes_and_no(values: Sequence[str]) -> tuple[str, str] | None:
    """The negative and the positive one of at most two values, if they are a usual pair such as no and yes.

    Example:
        >>> yes_and_no(["Yes", "No"]), yes_and_no(["benign", "malignant"])
        (('No', 'Yes'), None)
    """
    folded = {value.casefold().removesuffix(".0"): value for value in values}
    for negative, positive in _PAIRS:
        if set(folded) <= {negative, positive}:
            return folded.get(negative, negative), folded.get(positive, positive)
    return None


def positive_value(values: Sequence[str], asked: str | None, hint: str = "") -> tuple[str, str]:
    """The negative and the positive one of at most two label values.

    Args:
        values: Distinct label values.
        asked: The positive one, as the user says it.
        hint: The positive one, as a column's name says it.

    Raises:
        DataError: More than two values, or which is positive is not said.

    Example:
        >>> positive_value(["yes", "no"], None), positive_value(["benign", "malignant"], "malignant")
        (('no', 'yes'), ('benign', 'malignant'))
    """
    given = list(dict.fromkeys(values))
    if len(given) > 2:
        shown = ", ".join(given[:5])
        raise DataError(
            f"one score column, but {len(given)} label values ({shown}, ...): name the column of each class "
            "with --classes A,B,..."
        )
    if asked is not None or hint:
        wanted = asked or hint
        alike = [value for value in given if value.casefold() == wanted.casefold()]
        wanted = alike[0] if len(alike) == 1 else wanted
        if wanted not in given and len(given) == 2:
            raise DataError(f'no label is "{wanted}"; {nearest(wanted, given)}')
        rest = [value for value in given if value != wanted]
        return (rest[0] if rest else f"not {wanted}"), wanted
    pair = yes_and_no(given)
    if pair is not None:
        return pair
    raise DataError(
        f"one score column and the label values {' and '.join(given)}: which one is it the probability of? "
        f'Say so with --positive-label "{given[-1]}"'
    )
