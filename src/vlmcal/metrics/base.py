"""What a metric is: a plain function on arrays with its definition, bounds and kind of interval."""

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from vlmcal.errors import SpecError, nearest
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.metrics.kit.proportions import infer_proportion
from vlmcal.options import check
from vlmcal.registry import Registry
from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.binning import EDGE_RULE, check_bins
from vlmcal.types.estimate import Asked, Estimate

Consumes = Literal["confidences", "probabilities", "labels", "features", "sets"]
Weighted = Callable[[FloatArray], float]
BOOTSTRAP = "BCa bootstrap of rows (of groups where given)"
WILSON = "Wilson; with groups, Wilson with the effective number of rows (design effect)"


@dataclass(frozen=True, eq=False)
class Linearised:
    """A metric that is biased upwards, as paired comparisons need it.

    Attributes:
        rows: (N,) contribution of each row to first order, whose mean is the value; None where there is no
            such form.
        bias: The largest upward bias that the value can plausibly have.
        residuals: (N, C) sparse residuals of each row by cell.
        count: (C,) rows of each cell.
    """

    rows: FloatArray | None
    bias: float
    residuals: Any
    count: IntArray


# Leading arguments by kind of input; "features" metrics name theirs after ``Predictions.extras``.
ARGUMENTS: dict[Consumes, tuple[str, ...]] = {
    "confidences": ("confidence", "correct"),
    "probabilities": ("probabilities", "labels"),
    "labels": ("predicted", "labels"),
    "sets": ("sets", "labels"),
}
# Further arguments that are filled from the data when a function declares them.
CARRIED = ("resolution", "kinds", "proximity", "predicted", "labels", "n_classes", "alpha")


@dataclass(frozen=True, eq=False, kw_only=True)
class Metric:
    """A registered metric: call it with arrays, or with the project's types.

    Attributes:
        name: Registry name.
        function: Plain function on arrays that returns a number.
        consumes: What its leading arrays are: "confidences" (N,) with correctness (N,), "probabilities"
            (N, K) with labels (N,), "labels" predicted and true (N,), "features" named extras, "sets"
            (N, K) bool with labels (N,).
        higher_is_better: None where neither direction is better.
        bounds: Smallest and largest possible value.
        definition: One sentence with bins and edge rule.
        reference: Paper or specification.
        interval: How its interval is made, in words; "" for none.
        resample: Same arguments as ``function``; returns a function of row weights (N,) that gives the
            weighted value. Present for smooth metrics, which are bootstrapped together in one pass.
        infer: Same arguments plus ``asked``; returns an Estimate. Present for metrics for which a bootstrap
            would be wrong.
        linearise: Same arguments as ``function``; returns a Linearised form for paired comparisons.
        on_correctness: A "labels" metric that also makes sense for right/wrong alone (Confidences).
        native: Takes confidences as the model's own precision gives them, not recomputed in float64.
        calibration: An error of calibration, which for a calibrated model is chance alone: two models are
            compared by their squared calibration errors, not by swapping them.
        additive: The value is a mean over rows, so values of parts are averaged by their numbers of rows.
        counted: Bin sums of a binned metric (and its own options) -> value; present where nothing else about
            the rows is needed.
        weighted: Same arguments as ``function``; a function of row weights (N,) as in ``resample``, for
            binned metrics, which a bootstrap would inflate.
        options: Names of the further arguments.
        required: Names of the arguments without a default.

    Example:
        >>> from vlmcal.metrics.expected_calibration_error import ece
        >>> round(ece([0.9, 0.6], [True, False]), 6)
        0.35
    """

    name: str
    function: Callable[..., float]
    consumes: Consumes
    higher_is_better: bool | None
    bounds: tuple[float, float]
    definition: str
    reference: str
    interval: str = ""
    resample: Callable[..., Weighted] | None = None
    infer: Callable[..., Estimate] | None = None
    linearise: Callable[..., Linearised] | None = None
    on_correctness: bool = False
    native: bool = False
    calibration: bool = False
    additive: bool = False
    counted: Callable[..., float] | None = None
    weighted: Callable[..., Weighted] | None = None
    options: tuple[str, ...] = field(init=False)
    required: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        parameters = inspect.signature(self.function).parameters
        lead, none = ARGUMENTS.get(self.consumes, ()), inspect.Parameter.empty
        set_ = object.__setattr__
        set_(self, "options", tuple(name for name in parameters if name not in lead))
        set_(self, "required", tuple(n for n, p in parameters.items() if p.default is none))
        # The registry tells entries apart by these, and doctest finds the function's example by them.
        for name in ("__doc__", "__module__", "__qualname__", "__name__"):
            set_(self, name, getattr(self.function, name))
        set_(self, "__wrapped__", self.function)

    def __reduce__(self) -> tuple[Callable[[str], "Metric"], tuple[str]]:
        # the function stands behind this entry, where pickle cannot find it
        return _of_name, (self.name,)

    def __call__(self, data: Any, *arrays: Any, **options: Any) -> float:
        """The value for Predictions, Confidences or PredictionSets, or for plain arrays."""
        if not arrays and Rows.accepts(data):
            arrays, options = self.arguments(Rows.of(data), options)
            return float(self.function(*arrays, **options))
        return float(self.function(data, *arrays, **options))

    def arguments(
        self, rows: Rows, options: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Positional and keyword arguments of ``function``: taken from ``rows``, and the options.

        Raises:
            DataError: The rows do not carry what this metric consumes.
        """
        if self.on_correctness and not rows.has("labels"):
            verdicts = rows.take("correct", self.name)
            return (verdicts, np.ones_like(verdicts)), {**options}
        lead = ARGUMENTS.get(self.consumes, self.required)
        own = {"confidence": "native_confidence"} if self.native else {}
        args = tuple(rows.take(own.get(name, name), self.name) for name in lead)
        carried = {
            name: rows.take(name, self.name)
            for name in self.options
            if name in CARRIED
            and name not in (*lead, *options)
            and (name in self.required or rows.has(name))
        }
        return args, {**carried, **options}

    def applies_to(self, rows: Rows) -> bool:
        """Whether ``rows`` carry everything this metric needs."""
        if self.on_correctness and rows.has("correct"):
            return True
        needed = (*ARGUMENTS.get(self.consumes, ()), *self.required)
        return all(rows.has(name) for name in needed)

    def check_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options as the types that the function declares, bins in their limits; other limits are its own.

        Raises:
            SpecError: An option that the function does not have, or of another type; names the valid ones.
        """
        allowed = [name for name in self.options if name not in CARRIED]
        for name in options:
            if name not in self.options:
                raise SpecError(
                    f'metric "{self.name}" has no option "{name}"; {nearest(name, allowed)}'
                )
        checked = check(self.function, options, f'metric "{self.name}"')
        for name, value in checked.items():
            if name.endswith("bins"):
                check_bins(value)
        return checked


METRICS: Registry[Metric] = Registry(
    "metric", "vlmcal.metrics", lambda entry: isinstance(entry, Metric), "what @metric makes"
)


def _of_name(name: str) -> Metric:
    return METRICS.get(name)


def metric(
    *, name: str = "", bounds: tuple[float, float] = (0.0, 1.0), **meta: Any
) -> Callable[[Callable[..., float]], Metric]:
    """Decorator that files a plain function on arrays as a :class:`Metric`, which lists the arguments.

    Without a ``name`` it is the function's; what it ``consumes`` is told by its leading arguments; what is
    resampled says so as its ``interval`` by itself; of a ``calibration`` error less is better.
    """
    if meta.get("resample") and not meta.get("infer"):
        meta.setdefault("interval", BOOTSTRAP)
    if meta.get("calibration"):
        meta.setdefault("higher_is_better", False)

    def wrap(function: Callable[..., float]) -> Metric:
        called = name or function.__name__
        meta.setdefault("consumes", _consumed(function))
        entry = Metric(function=function, name=called, bounds=bounds, **meta)
        return METRICS.register(called)(entry)

    return wrap


def _consumed(function: Callable[..., float]) -> Consumes:
    lead = tuple(inspect.signature(function).parameters)[:2]
    return next((kind for kind, names in ARGUMENTS.items() if names == lead), "features")


def weighted_metric(**meta: Any) -> Callable[[Callable[..., Weighted]], Metric]:
    """File what makes a function of row weights: the value is that of equal weights."""

    def wrap(resample: Callable[..., Weighted]) -> Metric:
        def value(given: inspect.BoundArguments) -> float:
            made = resample(*given.args, **given.kwargs)
            return made(np.ones(len(next(iter(given.arguments.values())))))

        return _filed(resample, value, resample=resample, **meta)

    return wrap


def mean_metric(*, share: bool = False, **meta: Any) -> Callable[[Callable[..., Any]], Metric]:
    """File what gives a number for each row (N,): the value is their mean.

    Args:
        share: The numbers are True or False, so the interval is that of a proportion.
        **meta: Of :class:`Metric`; with ``infer`` of its own it is not resampled.
    """

    def wrap(rows_of: Callable[..., Any]) -> Metric:
        def resample(*given: Any, **options: Any) -> Weighted:
            return mean_of(np.asarray(rows_of(*given, **options), dtype=np.float64))

        def infer(*given: Any, asked: Asked, **options: Any) -> Estimate:
            return infer_proportion(
                rows_of(*given, **options), level=asked.level, groups=asked.groups
            )

        def value(given: inspect.BoundArguments) -> float:
            return float(np.mean(rows_of(*given.args, **given.kwargs)))

        hooks: dict[str, Any] = {} if "infer" in meta else {"resample": resample}
        hooks |= {"infer": infer, "interval": WILSON} if share else {}
        return _filed(rows_of, value, **hooks, **meta)

    return wrap


class mean_of:  # noqa: N801 (called as the function that it stands for)
    """Weighted mean of fixed per-row values, as a function of the weights."""

    def __init__(self, rows: FloatArray) -> None:
        self._rows = rows

    def __call__(self, weights: FloatArray) -> float:
        """The mean for these weights (N,)."""
        return float(weights @ self._rows / weights.sum())

    def value(self) -> float:
        """The mean of the rows as they are."""
        return float(np.mean(self._rows))

    def influence(self) -> FloatArray:
        """Influence of each row, (N,)."""
        return np.asarray(self._rows - self._rows.mean())


def _filed(
    written: Callable[..., Any], value: Callable[[inspect.BoundArguments], float], **meta: Any
) -> Metric:
    """A metric with the arguments and the words of what was written, and the value made of it."""
    signature = inspect.signature(written)

    def function(*given: Any, **options: Any) -> float:
        return value(signature.bind(*given, **options))

    functools.update_wrapper(function, written)
    function.__signature__ = signature.replace(return_annotation=float)  # type: ignore[attr-defined]
    return metric(**meta)(function)


def definition_of(entry: Metric, options: Mapping[str, Any]) -> str:
    """The definition of a metric with the options that were used filled in.

    Example:
        >>> from vlmcal.metrics.expected_calibration_error import ece
        >>> definition_of(ece, {"bins": 10})[:26]
        'Sum over 10 equal-width bi'
    """
    values = {
        name: parameter.default
        for name, parameter in inspect.signature(entry.function).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    values.update(options)
    widths = {"uniform": "equal-width", "quantile": "equal-mass"}
    values["width"] = widths.get(str(values.get("strategy", "uniform")), "")
    values["edge_rule"] = EDGE_RULE.get(str(values.get("edges", "right")), "")
    text = entry.definition
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text
