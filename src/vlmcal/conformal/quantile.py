"""The conformal quantile: which order statistic of the calibration scores is the threshold."""

from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Literal

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.types.arrays import FloatArray, StrArray

Rule = Literal["textbook", "torchcp", "mapie"]
_ROUNDING = 1e-12


def require_alpha(alpha: float) -> float:
    """``alpha`` as a float strictly between 0 and 1.

    Raises:
        SpecError: It is not.
    """
    if not 0 < float(alpha) < 1:
        raise SpecError(f"alpha: expected a number between 0 and 1, got {alpha}; 0.1 means 90 %")
    return float(alpha)


def threshold_rank(n: int, alpha: float) -> int:
    r"""Rank :math:`\lceil (n + 1)(1 - \alpha) \rceil` of the threshold among n scores, from 1.

    ``alpha`` is taken as the decimal it prints as, so that rounding of ``1 - alpha`` cannot move the
    rank: in doubles 50 * (1 - 0.42) is above 29.

    Args:
        n: Number of calibration rows.
        alpha: Target miscoverage in (0, 1).

    Returns:
        A rank from 1 to n + 1; n + 1 means that no score is large enough.

    Example:
        >>> threshold_rank(99, 0.1), threshold_rank(8, 0.1), threshold_rank(49, 0.42)
        (90, 9, 29)
    """
    return ceil((n + 1) * (1 - _as_printed(alpha)))


def rows_needed(alpha: float) -> int:
    r"""Smallest n with a finite threshold, :math:`\lceil 1/\alpha \rceil - 1`.

    Example:
        >>> rows_needed(0.1), rows_needed(0.05), rows_needed(0.3)
        (9, 19, 3)
    """
    return ceil(1 / _as_printed(alpha)) - 1


@lru_cache(maxsize=32)
def _as_printed(alpha: float) -> Fraction:
    """The target as the decimal it prints as; kept, as methods with a threshold per class ask for each."""
    return Fraction(repr(require_alpha(alpha)))


def conformal_quantile(scores: FloatArray, alpha: float, rule: Rule = "textbook") -> float:
    r"""Threshold of split conformal prediction.

    The :math:`\lceil (n+1)(1-\alpha) \rceil`-th smallest score, and +infinity when that rank is n + 1.
    If the n calibration scores and the score of a new row are exchangeable, the new score is at most
    the threshold with probability at least :math:`1 - \alpha` (Vovk et al., Algorithmic Learning in a
    Random World, 2005; Angelopoulos and Bates, arXiv 2107.07511).

    Args:
        scores: (n,) calibration scores; larger means stranger.
        alpha: Target miscoverage in (0, 1).
        rule: "mapie" takes numpy's "higher" quantile at level (n+1)(1-alpha)/n instead, which for some
            (n, alpha) is the next larger score. "torchcp" is the same as "textbook".

    Returns:
        The threshold; a set holds the classes whose score is at most that.

    Raises:
        SpecError: ``alpha`` is outside (0, 1).

    Example:
        >>> scores = np.arange(1.0, 34.0)
        >>> conformal_quantile(scores, 0.15), conformal_quantile(scores, 0.15, rule="mapie")
        (29.0, 30.0)
        >>> conformal_quantile(scores[:8], 0.1)
        inf
    """
    n = scores.size
    rank = threshold_rank(n, alpha)
    if rank > n:
        return float("inf")
    if rule == "mapie":
        level = min(1.0, (n + 1) * (1 - alpha) / n)  # rounding may carry a level of 1 beyond it
        return float(np.quantile(scores, level, method="higher"))
    return float(np.partition(scores, rank - 1)[rank - 1])


def group_quantile(scores: FloatArray, groups: StrArray, alpha: float) -> float:
    r"""Threshold for a row of a new group, when rows of one group (patient) are alike.

    The smallest score at which the weights :math:`1 / ((G + 1) n_g)` of the rows up to it sum to
    :math:`1 - \alpha`, with G groups of n_g rows. If groups are exchangeable, and rows within a group, a
    row of a new group is covered with probability at least :math:`1 - \alpha` (Lee, Barber and Willett,
    Distribution-free inference with hierarchical data, arXiv 2306.06342).

    Args:
        scores: (n,) calibration scores.
        groups: (n,) group of each.
        alpha: Target miscoverage in (0, 1).

    Example:
        >>> scores = np.arange(1.0, 13.0)
        >>> group_quantile(scores, np.repeat(["a", "b", "c"], 4), 0.25)
        12.0
        >>> group_quantile(scores, np.repeat(["a", "b", "c"], 4), 0.2)        # 3/4 < 0.8: too few groups
        inf
    """
    _, member, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.argsort(scores, kind="stable")
    mass = np.cumsum((1.0 / ((sizes.size + 1) * sizes))[member[order]])
    enough = np.flatnonzero(mass >= float(1 - _as_printed(alpha)) - _ROUNDING)
    return float(scores[order[enough[0]]]) if enough.size else float("inf")


def too_few(n: int, alpha: float, what: str = "calibration rows") -> str | None:
    """What to tell the user when n rows give no finite threshold, or None.

    Example:
        >>> print(too_few(8, 0.1))
        8 calibration rows are too few for alpha = 0.1: at least 9 are needed, so every set holds all classes
        >>> too_few(9, 0.1) is None
        True
    """
    if threshold_rank(n, alpha) <= n:
        return None
    return (
        f"{n} {what} are too few for alpha = {alpha:g}: at least {rows_needed(alpha)} are needed, so "
        "every set holds all classes"
    )
