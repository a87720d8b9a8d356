"""Split tags, and the rule that nothing is ever fitted on test data."""

from typing import Literal, cast, get_args

from vlmcal.errors import SplitError, require_known

Split = Literal["train", "val", "calibration", "test", "unknown"]
SPLITS: tuple[str, ...] = get_args(Split)


def as_split(name: str) -> Split:
    """``name`` as a split tag.

    Raises:
        SplitError: Not one of train, val, calibration, test, unknown.
    """
    require_known(name, SPLITS, "unknown split", SplitError)
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
