"""The functions of ``scipy.special`` on first use: importing them takes longer than most metrics do."""

import math
from typing import Any

import numpy as np

_FEW = 512  # numbers, for which a loop is over before the import would be


def ndtr(x: Any) -> Any:
    """The normal distribution function; of a few numbers without ``scipy``.

    Example:
        >>> ndtr(np.array([-1.96, 0.0])).round(4).tolist()
        [0.025, 0.5]
    """
    values = np.asarray(x, dtype=np.float64)
    if values.size > _FEW:
        import scipy.special

        return scipy.special.ndtr(values)
    found = [math.erfc(-each * math.sqrt(0.5)) / 2 for each in values.ravel().tolist()]
    return np.array(found).reshape(values.shape)


def __getattr__(name: str) -> Any:
    import scipy.special

    return getattr(scipy.special, name)
