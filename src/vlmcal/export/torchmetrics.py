"""Count-based metrics as ``torchmetrics.Metric``: batch by batch, on any device, on several workers."""

from functools import partial
from typing import Any

import numpy as np

from vlmcal.errors import SpecError, require_known
from vlmcal.extras import naming_extras
from vlmcal.metrics.base import METRICS, Metric
from vlmcal.metrics.kit.bin_sums import BinSums, join_parts, uniform_parts
from vlmcal.metrics.kit.class_bins import class_bins
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.metrics.presets import with_options
from vlmcal.types.binning import Binning
from vlmcal.types.measurable import SCORES, Scores, from_arrays

with naming_extras():
    import torch
    import torchmetrics

# Metrics on class bins, which are summed over rows like those of the top label.
_BY_CLASS = ("classwise_ece",)


def countable() -> tuple[str, ...]:
    """Names of the metrics that :class:`CalibrationMetric` can take.

    Example:
        >>> {"ece", "mce", "brier", "accuracy", "classwise_ece"} <= set(countable())
        True
    """
    return tuple(name for name, entry in METRICS.items() if _is_countable(entry))


def _is_countable(entry: Metric) -> bool:
    return entry.additive or entry.counted is not None or entry.name in _BY_CLASS


class CalibrationMetric(torchmetrics.Metric):
    """One metric of vlmcal with ``update``, ``compute`` and ``reset``; it works in Lightning and under DDP.

    What is kept are counts and sums, added up over batches and workers: binned metrics give the very number
    of the one-shot form, means agree to rounding.

    Args:
        metric: Name of the metric: one of :func:`countable`.
        scores: What ``preds`` holds: "probs", "logits" or "log_probs" (B, K) with class numbers as
            ``target``, or "confidence" (B,) with correctness as ``target``. It is never guessed.
        num_classes: K, needed by "classwise_ece" only.
        options: Options of the metric, such as ``{"bins": 10}``.
        **kwargs: Of ``torchmetrics.Metric`` (``sync_on_compute``, ``process_group``, ...).

    Raises:
        SpecError: The metric needs all rows at once, an option is unknown, or ``num_classes`` is missing.

    Example:
        >>> metric = CalibrationMetric("ece", scores="confidence", options={"bins": 10})
        >>> metric.update(torch.tensor([0.9, 0.9]), torch.tensor([1, 1]))
        >>> metric.update(torch.tensor([0.6, 0.6]), torch.tensor([1, 0]))
        >>> round(float(metric.compute()), 6)
        0.1
    """

    is_differentiable = False
    full_state_update = False

    def __init__(
        self,
        metric: str = "ece",
        *,
        scores: Scores = "probs",
        num_classes: int | None = None,
        options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        (name,), listed = with_options([metric], {} if options is None else {metric: options})
        entry = METRICS.get(name)
        require_known(scores, SCORES, "scores: unknown")
        self.options = entry.check_options(listed.get(entry.name, {}))
        if not _is_countable(entry):
            raise SpecError(
                f'metric "{metric}" needs all rows at once; collect them and call vlmcal.evaluate. '
                f"In batches: {', '.join(countable())}"
            )
        self.entry, self.scores = entry, scores
        # A constant of torchmetrics' classes; here it belongs to the metric that was named.
        self.__dict__["higher_is_better"] = entry.higher_is_better
        cut = {name: self.options[name] for name in ("bins", "edges") if name in self.options}
        self.binning = Binning(**cut)
        if self.options.get("strategy", "uniform") != "uniform":
            raise SpecError("strategy: equal-mass bins need all rows at once; use vlmcal.evaluate")
        shapes = self._states(num_classes)
        for name, (shape, dtype) in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx="sum")

    def _states(self, num_classes: int | None) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
        bins, whole, real = self.binning.bins, torch.int64, torch.float64
        if self.entry.additive:
            return {"total": ((), real), "rows": ((), whole)}
        if self.entry.name in _BY_CLASS:
            if num_classes is None:
                raise SpecError(f'num_classes: "{self.entry.name}" needs the number of classes')
            return {"gaps": ((num_classes, bins), real), "rows": ((), whole)}
        return {"count": ((bins,), whole), "right": ((bins,), whole), "parts": ((2, bins), whole)}

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch; an empty one changes nothing."""
        if len(preds) == 0:
            return
        rows = Rows.of(from_arrays(preds, target, self.scores))
        take = partial(rows.take, metric=self.entry.name)
        if self.entry.additive:
            self._add("total", self.entry(rows, **self.options) * rows.n)
            self._add("rows", rows.n)
        elif self.entry.name in _BY_CLASS:
            sums = class_bins(rows.probabilities, take("labels"), **self.options)
            self._add("gaps", sums.gaps)
            self._add("rows", rows.n)
        else:
            cut = self.binning.bins, self.binning.edges
            coarse = max(float(take("resolution")), self.options.get("resolution", 0.0))
            found = uniform_parts(take("confidence"), take("correct"), *cut, coarse)
            self._add("count", found.count)
            self._add("right", found.correct)
            self._add("parts", found.parts)

    def compute(self) -> torch.Tensor:
        """The value over all batches (and workers), float64; NaN before the first row."""
        state = {name: getattr(self, name).cpu().numpy() for name in self._defaults}
        if self.entry.counted is not None:
            sums = BinSums(state["count"], state["right"], join_parts(state["parts"]))
            own = {k: v for k, v in self.options.items() if k not in _CUT}
            value = self.entry.counted(sums, **own) if sums.n else float("nan")
        elif not state["rows"]:
            value = float("nan")
        elif self.entry.additive:
            value = float(state["total"] / state["rows"])
        else:
            value = float(np.abs(state["gaps"]).sum() / state["rows"] / len(state["gaps"]))
        return torch.tensor(value, dtype=torch.float64, device=self.device)

    def _add(self, name: str, part: Any) -> None:
        state = getattr(self, name)
        setattr(self, name, state + torch.as_tensor(part, dtype=state.dtype, device=state.device))


_CUT = ("bins", "edges", "strategy", "resolution")
