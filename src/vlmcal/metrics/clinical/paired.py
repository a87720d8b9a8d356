"""Two models on the same rows: which errors differ, and could that be chance?"""

from typing import NamedTuple

import numpy as np

from vlmcal.errors import DataError
from vlmcal.types.arrays import BoolArray, as_array


class McNemar(NamedTuple):
    """Rows on which exactly one of two models is right.

    Attributes:
        only_first: Rows that only the first has right.
        only_second: Rows that only the second has right.
        p_value: Two-sided mid-p value of "each is as likely".
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: BoolArray, second: BoolArray) -> McNemar:
    """McNemar's test with the mid-p value of the binomial distribution; rows must not come in groups.

    Args:
        first: (N,) whether the first model is right.
        second: (N,) whether the second is.

    Raises:
        DataError: Not one verdict per row for both.

    Source: McNemar, Psychometrika 1947; Fagerland, Lydersen and Laake, "The McNemar test for binary
    matched-pairs data: mid-p and asymptotic are better than exact conditional", BMC Medical Research
    Methodology 2013, whose example (1 and 7) has the mid-p value 0.039.

    Example:
        >>> a = np.array([True] * 1 + [False] * 7)
        >>> round(mcnemar(a, ~a).p_value, 3)
        0.039
    """
    from scipy.stats import binom  # takes seconds to import; not with every metric

    a, b = (as_array(values).astype(np.bool_) for values in (first, second))
    if a.ndim != 1 or a.shape != b.shape:
        raise DataError(f"expected two verdicts per row, got shapes {a.shape} and {b.shape}")
    only_first, only_second = int((a & ~b).sum()), int((~a & b).sum())
    n, few = only_first + only_second, min(only_first, only_second)
    if only_first == only_second:
        p = 1.0 - 0.5 * float(binom.pmf(few, n, 0.5)) if n else 1.0
    else:
        p = 2 * float(binom.cdf(few, n, 0.5)) - float(binom.pmf(few, n, 0.5))
    return McNemar(only_first, only_second, min(p, 1.0))
