"""Special functions of a few numbers without ``scipy``, whose import takes longer than most metrics do."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from vlmcal.types.arrays import FloatArray

# Numbers for which a loop is over before the import would be, if each takes next to nothing, and if not.
_FEW: Final = 4096
_FEW_SLOW: Final = 64
_CLOSE: Final = 1e-15


def ndtr(x: Any) -> Any:
    """The normal distribution function.

    Example:
        >>> ndtr(np.array([-1.96, 0.0])).round(4).tolist()
        [0.025, 0.5]
    """
    return _each(lambda value: math.erfc(-value * math.sqrt(0.5)) / 2, "ndtr", _FEW, x)


def gammaln(x: Any) -> Any:
    """Logarithm of the gamma function of positive numbers.

    Example:
        >>> round(float(gammaln(5.0)), 6) == round(math.log(24), 6)
        True
    """
    return _each(math.lgamma, "gammaln", _FEW, x)


def betaincinv(a: Any, b: Any, y: Any) -> Any:
    """The x at which the regularised incomplete beta function I_x(a, b) is y, for a, b > 0 and 0 < y < 1.

    Example:
        >>> round(float(betaincinv(1.0, 10.0, 0.975)), 6)
        0.308497
    """
    return _each(_beta_quantile, "betaincinv", _FEW_SLOW, a, b, y)


def bdtrk(y: Any, n: Any, p: Any) -> Any:
    """Smallest k at which the distribution function of Binomial(n, p) is at least y.

    Example:
        >>> bdtrk(np.array([0.025, 0.975]), 10.0, 0.5).tolist()
        [2.0, 8.0]
    """
    return _each(_binomial_quantile, "", _FEW, y, n, p)


def _each(function: Callable[..., float], name: str, few: int, *given: Any) -> FloatArray:
    """``function`` of each number; of many, that of ``scipy.special`` if it has a name there."""
    arrays = np.broadcast_arrays(*(np.asarray(each, dtype=np.float64) for each in given))
    if name and arrays[0].size > few:
        import scipy.special

        many: FloatArray = getattr(scipy.special, name)(*arrays)
        return many
    found = [function(*each) for each in zip(*(a.ravel().tolist() for a in arrays), strict=True)]
    return np.array(found, dtype=np.float64).reshape(arrays[0].shape)


def _beta_share(a: float, b: float, x: float) -> float:
    """I_x(a, b) by its continued fraction (DLMF 8.17.22), which is quick below the mean."""
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta_share(b, a, 1 - x)
    ratio, inverse, m = 1.0, 1 / (1 - (a + b) * x / (a + 1)), 0
    product = inverse
    while True:  # Lentz's method, two terms at a time
        m += 1
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        inverse, ratio = 1 / (1 + even * inverse), 1 + even / ratio
        product *= inverse * ratio
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        inverse, ratio = 1 / (1 + odd * inverse), 1 + odd / ratio
        product *= inverse * ratio
        if abs(inverse * ratio - 1) < _CLOSE:
            return product * math.exp(_log_slope(a, b, x)) / a


def _log_slope(a: float, b: float, x: float) -> float:
    """Logarithm of x (1 - x) times the derivative of I_x(a, b)."""
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b)
    return scale + a * math.log(x) + b * math.log1p(-x)


def _beta_quantile(a: float, b: float, y: float) -> float:
    """Newton's method between ends that close in, from the start of Abramowitz and Stegun 26.5.22."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    if min(a, b) > 1:
        z = -NormalDist().inv_cdf(y)
        first, second = 1 / (2 * a - 1), 1 / (2 * b - 1)
        h, bend = 2 / (first + second), (z * z - 3) / 6
        w = z * math.sqrt(h + bend) / h if h + bend > 0 else 0.0
        w -= (second - first) * (bend + 5 / 6 - 2 / (3 * h))
        x = a / (a + b * math.exp(2 * w)) if abs(w) < 300 else x
    while high - low > _CLOSE * high:
        error = _beta_share(a, b, x) - y
        low, high = (low, x) if error > 0 else (x, high)
        step = error * x * (1 - x) * math.exp(-max(_log_slope(a, b, x), -700.0))
        if abs(step) <= _CLOSE * x:
            break
        x = x - step if low < x - step < high else (low + high) / 2
    return x


def _binomial_quantile(y: float, n: float, p: float) -> float:
    """From where the normal distribution has it, step by step."""
    guess = n * p + NormalDist().inv_cdf(y) * math.sqrt(n * p * (1 - p))
    k = min(max(math.floor(guess), 0), int(n))

    def reached(k: int) -> bool:
        return k >= n or _beta_share(n - k, k + 1, 1 - p) >= y

    while k > 0 and reached(k - 1):
        k -= 1
    while not reached(k):
        k += 1
    return float(k)


def __getattr__(name: str) -> Any:
    import scipy.special

    return getattr(scipy.special, name)
