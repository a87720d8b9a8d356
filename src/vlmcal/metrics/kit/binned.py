"""The prologue of every metric on bins, done once: a metric writes only its statistic of the bins."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from vlmcal.errors import SpecError
from vlmcal.metrics.base import Linearised, Metric, Weighted, metric
from vlmcal.metrics.kit.absolute_sums import plausible_bias
from vlmcal.metrics.kit.bin_sums import BinSums, sums_by_index, uniform_parts, weighted_sums
from vlmcal.metrics.kit.cell_residuals import CellResiduals, null_residuals
from vlmcal.metrics.kit.inputs import as_confidences
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.binning import Binning, resolution_of
from vlmcal.types.estimate import Asked, Estimate


@dataclass(frozen=True, eq=False)
class BinnedRows:
    """Rows, checked, with the cell of each: a bin of its confidence, within a stratum if there are several.

    Attributes:
        confidence: (N,) in [0, 1], float64.
        correct: (N,) bool.
        binning: How confidences are cut.
        resolution: Rounding unit of the confidences as they came in.
        stratum: (N,) kind or proximity bin of each row, or None.
        strata: Number of strata.
    """

    confidence: FloatArray
    correct: BoolArray
    binning: Binning
    resolution: float = 0.0
    stratum: IntArray | None = None
    strata: int = 1

    @property
    def n(self) -> int:
        """Number of rows."""
        return len(self.confidence)

    @property
    def cells(self) -> int:
        """Number of cells: strata times bins."""
        return self.strata * self.binning.bins

    @cached_property
    def index(self) -> IntArray:
        """Cell of each row, (N,)."""
        inner = self.binning.index(self.confidence, self.resolution)
        return inner if self.stratum is None else self.stratum * self.binning.bins + inner

    @cached_property
    def sums(self) -> BinSums:
        """Counts and sums per cell."""
        cut = self.binning
        if cut.strategy == "uniform" and self.stratum is None:
            parts = uniform_parts(
                self.confidence, self.correct, cut.bins, cut.edges, self.resolution
            )
            return parts.sums()
        return sums_by_index(self.confidence, self.correct, self.index, self.cells)

    def residuals(self, groups: StrArray | None = None) -> CellResiduals:
        """Mean residual of each cell with its standard errors."""
        return CellResiduals.of(self.confidence, self.correct, self.index, self.cells, groups)

    def null(self, cells: CellResiduals, generator: np.random.Generator) -> FloatArray:
        """Cell means (draws, C) of a calibrated model with these confidences."""
        return null_residuals(cells, self.confidence, self.index, generator)


@dataclass(frozen=True, eq=False)
class Counted:
    """Bin sums alone, for statistics that look at nothing else."""

    sums: BinSums

    @property
    def n(self) -> int:
        """Number of rows, or their weight."""
        return self.sums.n


Prologue = Callable[..., BinnedRows]
Infer = Callable[..., Estimate]


def top_label(
    confidence: Any, correct: Any, *, binning: Binning, resolution: float = 0.0
) -> BinnedRows:
    """Rows of a confidence and its correctness: the prologue of most metrics."""
    resolution = resolution_of(confidence, resolution)
    return BinnedRows(*as_confidences(confidence, correct), binning, resolution)


def binned_metric(
    prologue: Prologue = top_label,
    *,
    infer: Infer | None = None,
    comparable: bool = False,
    counts: bool = False,
    fixed: Binning | None = None,
    **meta: Any,
) -> Callable[[Callable[..., float]], Metric]:
    """File a statistic of :class:`BinnedRows` as a metric on arrays.

    The metric's arguments are the arrays of the prologue, ``bins``, ``strategy`` and ``edges`` (all but those
    that differ from a plain :class:`Binning` in ``fixed``), and the options of prologue and statistic.

    Args:
        prologue: Arrays and a binning -> BinnedRows.
        infer: BinnedRows and the value, with ``level``, ``groups`` and ``generator`` and the statistic's own
            options -> Estimate.
        comparable: With default options the statistic is a sum of absolute mean residuals, so the difference
            of two models has a known form.
        counts: The statistic looks at ``rows.sums`` and ``rows.n`` only.
        fixed: A binning of which what is not the default cannot be chosen.
        **meta: Of :class:`vlmcal.metrics.base.Metric`.
    """
    base = fixed or Binning()
    chosen = [f.name for f in fields(Binning) if getattr(base, f.name) == f.default]

    def wrap(statistic: Callable[..., float]) -> Metric:
        own = _keywords(statistic)
        before = _keywords(prologue)
        signature = _signature(prologue, base, chosen, own)
        arrays = [name for name in signature.parameters if name not in {*chosen, *before, *own}]

        def parted(given: Any, options: dict[str, Any]) -> tuple[BinnedRows, dict[str, Any]]:
            """The rows, and the options that are left for the statistic."""
            named = signature.bind(*given, **options).arguments
            cut = {name: named.pop(name) for name in chosen if name in named}
            part = {name: named.pop(name) for name in before if name in named}
            binning = Binning(**{**vars(base), **cut})
            return prologue(*(named.pop(name) for name in arrays), binning=binning, **part), named

        def function(*given: Any, **options: Any) -> float:
            rows, rest = parted(given, options)
            return float(statistic(rows, **rest))

        def inferred(*given: Any, asked: Asked, **options: Any) -> Estimate:
            assert infer is not None
            rows, rest = parted(given, options)
            value = float(statistic(rows, **rest))
            return infer(rows, value, asked=asked, **rest)

        def linearise(*given: Any, **options: Any) -> Linearised:
            rows, rest = parted(given, options)
            default = all(own[name].default == value for name, value in rest.items())
            return linearised(rows, summed=default)

        function.__signature__ = signature  # type: ignore[attr-defined]
        for name in ("__doc__", "__module__", "__qualname__", "__name__"):
            setattr(function, name, getattr(statistic, name))

        def counted(sums: BinSums, **options: Any) -> float:
            return float(statistic(Counted(sums), **options))

        def weighted(*given: Any, **options: Any) -> Weighted:
            rows, rest = parted(given, options)
            if rows.binning.strategy == "quantile":
                raise SpecError("bins of equal mass take no weights; use equal width")

            def value(weights: FloatArray) -> float:
                sums = weighted_sums(rows.confidence, rows.correct, rows.index, rows.cells, weights)
                return float(statistic(Counted(sums), **rest))

            return value

        hooks: dict[str, Any] = {
            "weighted": weighted if counts else None,
            "counted": counted if counts else None,
            "infer": inferred if infer else None,
            "linearise": linearise if comparable else None,
        }
        return metric(**hooks, **meta)(function)

    return wrap


def linearised(rows: BinnedRows, *, summed: bool = True) -> Linearised:
    """What paired comparisons need: residuals by cell, and the first-order form of sum_c |mean residual|.

    Args:
        rows: Rows and their cells.
        summed: The metric is that sum; otherwise there is no first-order form.
    """
    from scipy.sparse import csr_array

    cells = rows.residuals()
    residual = rows.confidence - rows.correct
    matrix = csr_array((residual, (np.arange(rows.n), rows.index)), shape=(rows.n, rows.cells))
    if not summed:
        return Linearised(None, 0.0, matrix, cells.count)
    return Linearised(
        residual * np.sign(cells.mean)[rows.index], plausible_bias(cells), matrix, cells.count
    )


def check_choice(name: str, value: object, allowed: tuple[str, ...]) -> None:
    """Refuse a value that is not among the allowed words.

    Raises:
        SpecError: Lists them.
    """
    if value not in allowed:
        words = ", ".join(f'"{word}"' for word in allowed)
        raise SpecError(f"{name}: expected one of {words}, got {value!r}")


def _keywords(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    return {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and name != "binning"
    }


def _signature(
    prologue: Prologue, base: Binning, chosen: list[str], own: dict[str, inspect.Parameter]
) -> inspect.Signature:
    arrays = [
        parameter
        for parameter in inspect.signature(prologue).parameters.values()
        if parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    cut = [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=getattr(base, field.name),
            annotation=field.type,
        )
        for field in fields(Binning)
        if field.name in chosen
    ]
    return inspect.Signature([*arrays, *cut, *_keywords(prologue).values(), *own.values()])
