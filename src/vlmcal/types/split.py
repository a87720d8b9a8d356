"""Split tags, and the rule that nothing is ever fitted on test data."""

from typing import Literal, cast, get_args

from vlmcal.errors import SplitError, nearest
from vlmcal.types.arrays import StrArray

Split = Literal["train", "val", "calibration", "test", "unknown"]
SPLITS: tuple[str, ...] = get_args(Split)


def as_split(name: str) -> Split:
    """``name`` as a split tag.

    Raises:
        SplitError: Not one of train, val, calibration, test, unknown.
    """
    if name not in SPLITS:
        raise SplitError(f'unknown split "{name}"; {nearest(name, SPLITS)}')
    return cast(Split, name)


def require_fittable(split: Split, what: str) -> None:
    """Refuse to fit anything on test data.

    Raises:
        SplitError: ``split`` is "test".
    """
    if split == "test":
        raise SplitError(
            f'{what} was given rows of the split "test" to fit on; a number measured on the same '
            'rows would be too good. Fit on a held-out split ("val" or "calibration")'
        )


def require_disjoint(fitted_ids: StrArray, applied_ids: StrArray, what: str) -> None:
    """Refuse to apply what was fitted on (some of) the very same rows.

    Raises:
        SplitError: The two sets of ids overlap.
    """
    shared = sorted(set(fitted_ids.tolist()) & set(applied_ids.tolist()))
    if shared:
        raise SplitError(
            f"{what}: {len(shared)} rows were also used for fitting (first id {shared[0]!r}); "
            "apply it to other rows, or use the cross-fitted form"
        )
