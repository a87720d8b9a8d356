"""Effects of a treatment from propensity scores: weighted, doubly robust, residual on residual."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from scipy.stats import norm

from vlmcal.causal.schemes import require_arms
from vlmcal.errors import DataError, SpecError, require_known
from vlmcal.types.arrays import FloatArray, Numbers, as_array, require_finite
from vlmcal.types.estimate import Estimate


@dataclass(frozen=True)
class Rows:
    """What an estimator reads of N rows.

    Attributes:
        y: (N,) outcome.
        d: (N,) 1 for treated rows, 0 for others.
        m: (N,) propensity in (0, 1).
        g0: (N,) expected outcome without treatment, or None.
        g1: (N,) expected outcome with treatment, or None.
        mean: (N,) expected outcome given the covariates alone, or None.
    """

    y: FloatArray
    d: FloatArray
    m: FloatArray
    g0: FloatArray | None = None
    g1: FloatArray | None = None
    mean: FloatArray | None = None


@dataclass(frozen=True)
class Effect(Estimate):
    """An effect with its standard error; the interval is normal.

    Attributes:
        se: Standard error, the propensity taken as known.
        estimator: Which one.
    """

    se: float = float("nan")
    estimator: str = ""


def effect(
    y: Numbers,
    treated: Numbers,
    propensity: Numbers,
    *,
    estimator: str = "aipw",
    g0: Numbers | None = None,
    g1: Numbers | None = None,
    mean: Numbers | None = None,
    level: float = 0.95,
) -> Effect:
    """An average effect with its interval.

    With weights w1 = d / m and w0 = (1 - d) / (1 - m): "ht" is mean(w1 y - w0 y); "hajek" the difference of
    the weighted means y1 = sum w1 y / sum w1 and y0; "aipw" the mean of
    g1 - g0 + w1 (y - g1) - w0 (y - g0), for which one right nuisance is enough; "plr_residual" is
    double machine learning in the
    partially linear model, sum v u / sum v^2 with v = d - m and u = y - mean. "att_hajek" (treated rows
    against controls weighted by m / (1 - m)) and "overlap" (weights 1 - m and m) answer for other
    populations: the treated, and those whose treatment was open.

    Args:
        y: (N,) outcome.
        treated: (N,) 0 or 1.
        propensity: (N,) in (0, 1), clipped by :func:`~vlmcal.causal.schemes.calibrate_scores`.
        estimator: See above.
        g0: (N,) out-of-fold expected outcome without treatment, for "aipw".
        g1: (N,) the same with treatment.
        mean: (N,) out-of-fold expected outcome, for "plr_residual".
        level: Of the normal interval.

    Raises:
        SpecError: An unknown estimator, one whose regressions are not given, or a level outside (0, 1).
        DataError: Shapes differ, NaN, propensities of 0 or 1, or an empty arm.

    Source: Horvitz and Thompson, JASA 1952; Hajek, 1971; Robins, Rotnitzky and Zhao, JASA 1994;
    Chernozhukov et al., Econometrics Journal 2018; Li, Morgan and Zaslavsky, JASA 2018 (overlap).

    Example:
        >>> effect([1.0, 3.0, 2.0, 6.0], [0, 1, 0, 1], [0.5] * 4, estimator="ht").value
        3.0
        >>> out = effect([1.0, 3.0, 2.0, 6.0], [0, 1, 0, 1], [0.5] * 4, estimator="hajek")
        >>> out.value, round(out.se, 4)
        (3.0, 1.291)
    """
    require_known(estimator, ESTIMATORS, "estimator: no estimator")
    if not 0 < level < 1:
        raise SpecError(f"level: expected a number between 0 and 1, got {level}")
    rows = _rows(y, treated, propensity, g0=g0, g1=g1, mean=mean)
    value, se = ESTIMATORS[estimator](rows)
    half = float(norm.ppf(0.5 + level / 2)) * se
    ends = value - half, value + half
    return Effect(value, *ends, n=len(rows.y), method="normal", se=se, estimator=estimator)


def _rows(y: Any, treated: Any, propensity: Any, **more: Any) -> Rows:
    arrays: dict[str, FloatArray] = {}
    for name, given in {"y": y, "treated": treated, "propensity": propensity, **more}.items():
        if given is None:
            continue
        values = as_array(given).astype(np.float64)
        require_finite(values, name)
        n = len(next(iter(arrays.values()))) if arrays else len(values)
        if values.shape != (n,):
            raise DataError(f"{name}: expected shape ({n},), got {values.shape}")
        arrays[name] = values
    d, m = arrays["treated"], arrays["propensity"]
    if not np.isin(d, (0, 1)).all():
        raise DataError("treated: expected only 0 and 1")
    require_arms(d.astype(np.bool_))
    if (m <= 0).any() or (m >= 1).any():
        raise DataError(
            "propensity: expected numbers between 0 and 1, exclusive; clip them (calibrate_scores(..., "
            "clip=0.01))"
        )
    return Rows(arrays["y"], d, m, arrays.get("g0"), arrays.get("g1"), arrays.get("mean"))


def _mean(summands: FloatArray) -> tuple[float, float]:
    """The mean and its standard error."""
    return float(summands.mean()), float(summands.std(ddof=1) / np.sqrt(len(summands)))


def _weighted(rows: Rows, one: FloatArray, zero: FloatArray) -> tuple[float, float]:
    """Difference of the weighted means of the arms, and its standard error by the delta method."""
    y1, y0 = (float((w * rows.y).sum() / w.sum()) for w in (one, zero))
    summands = one * (rows.y - y1) / one.mean() - zero * (rows.y - y0) / zero.mean()
    return y1 - y0, _mean(summands)[1]


def _aipw(rows: Rows) -> tuple[float, float]:
    if rows.g0 is None or rows.g1 is None:
        raise SpecError(
            'estimator "aipw" needs the expected outcomes g0 and g1 of every row, out of fold'
        )
    treated = rows.d * (rows.y - rows.g1) / rows.m
    others = (1 - rows.d) * (rows.y - rows.g0) / (1 - rows.m)
    return _mean(rows.g1 - rows.g0 + treated - others)


def _plr(rows: Rows) -> tuple[float, float]:
    if rows.mean is None:
        raise SpecError(
            'estimator "plr_residual" needs the expected outcome of every row as mean=, out of fold'
        )
    v, u = rows.d - rows.m, rows.y - rows.mean
    total = float((v * v).sum())
    value = float((v * u).sum() / total)
    return value, float(np.sqrt((v**2 * (u - value * v) ** 2).sum()) / total)


ESTIMATORS: Mapping[str, Callable[[Rows], tuple[float, float]]] = MappingProxyType(
    {
        "aipw": _aipw,
        "plr_residual": _plr,
        "hajek": lambda r: _weighted(r, r.d / r.m, (1 - r.d) / (1 - r.m)),
        "ht": lambda r: _mean(r.d * r.y / r.m - (1 - r.d) * r.y / (1 - r.m)),
        "att_hajek": lambda r: _weighted(r, r.d, (1 - r.d) * r.m / (1 - r.m)),
        "overlap": lambda r: _weighted(r, r.d * (1 - r.m), (1 - r.d) * r.m),
    }
)
