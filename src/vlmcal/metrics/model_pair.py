"""Two models on the same rows: paired differences of many metrics, and which one is right where."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from vlmcal.errors import DataError
from vlmcal.metrics.clinical.discrimination import compare_auroc, diagnostic_auroc
from vlmcal.metrics.clinical.paired import McNemar, mcnemar
from vlmcal.metrics.clinical.risks import Risks, positive_class
from vlmcal.metrics.comparison import Comparison, compare
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

METRICS = ("accuracy", "ece", "classwise_ece", "brier", "nll", "auroc")


@dataclass(frozen=True)
class Areas:
    """The diagnostic AUROC of both models, for two classes.

    Attributes:
        first: Of the first model.
        second: Of the second.
        difference: first - second, with DeLong's interval and p-value.
    """

    first: float
    second: float
    difference: Estimate


@dataclass(frozen=True)
class ModelPair:
    """Results of :func:`compare_models`.

    Attributes:
        n: Number of rows.
        level: Of the intervals.
        differences: By metric.
        areas: Diagnostic AUROC; None unless there are two classes, both with rows.
        mcnemar: Rows that one alone has right; None where the units are groups.
    """

    n: int
    level: float
    differences: Mapping[str, Comparison]
    areas: Areas | None = None
    mcnemar: McNemar | None = None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        found: dict[str, Any] = {"rows": self.n}
        found["metrics"] = {name: asdict(each) for name, each in self.differences.items()}
        if self.areas is not None:
            pair = {"first": self.areas.first, "second": self.areas.second}
            found["diagnostic_auroc"] = {**pair, **asdict(self.areas.difference)}
        if self.mcnemar is not None:
            found["mcnemar"] = self.mcnemar._asdict()
        return found


def compare_models(
    first: Predictions,
    second: Predictions,
    metrics: Sequence[str] = METRICS,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> ModelPair:
    """Paired differences of two models on the same rows, with intervals and p-values.

    Groups are resampled as a whole. Two classes also get DeLong's test of the diagnostic AUROC, rows without
    groups McNemar's test.

    Args:
        first: Labelled rows of one model.
        second: The same rows by another; see :func:`same_rows`.
        metrics: Names.
        level: Of the intervals.
        resamples: Of the paired bootstrap.
        seed: Of the resampling.

    Raises:
        DataError: Other rows, or other labels.
        SpecError: No such metric.

    Example:
        >>> one = Predictions(logits=[[2.0, 0.0]] * 8, labels=[0] * 6 + [1] * 2)
        >>> two = Predictions(logits=[[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4, labels=one.labels)
        >>> found = compare_models(one, two, ["accuracy"], resamples=50)
        >>> found.differences["accuracy"].difference.value, found.mcnemar.only_first, found.areas.first
        (0.0, 2, 0.5)
    """
    first, second = same_rows(first, second)
    differences = {
        name: compare(first, second, name, level=level, resamples=resamples, seed=seed)
        for name in metrics
    }
    areas = None
    if first.n_classes == 2:
        at = positive_class(first)
        own, other = Risks.of_class(first, at), Risks.of_class(second, at)
        if own.both:
            pair = (diagnostic_auroc(own).value, diagnostic_auroc(other).value)
            areas = Areas(*pair, compare_auroc(own, other, level))
    odd = None
    if first.groups is None:
        odd = mcnemar(first.top_label().correct, second.top_label().correct)
    return ModelPair(len(first), level, differences, areas, odd)


def same_rows(first: Predictions, second: Predictions) -> tuple[Predictions, Predictions]:
    """Both in one order; where no id is in both, they are matched by their order.

    Args:
        first: Rows of one model.
        second: Rows of another.

    Raises:
        DataError: Other rows, or other labels.

    Example:
        >>> one = Predictions(logits=[[1.0, 0.0], [0.0, 1.0]], labels=[0, 1], ids=["a", "b"])
        >>> two = Predictions(logits=[[0.0, 2.0], [2.0, 0.0]], labels=[1, 0], ids=["b", "a"])
        >>> same_rows(one, two)[1].logits.tolist()
        [[2.0, 0.0], [0.0, 2.0]]
    """
    shared = np.isin(first.ids, second.ids)
    if not shared.any():
        if len(first) != len(second) or not np.array_equal(first.labels, second.labels):
            raise DataError(
                f"other rows ({len(first):,} and {len(second):,}), or the same in another order; name their "
                "ids (--ids COLUMN)"
            )
        ids = np.arange(len(first)).astype(np.str_)
        return replace(first, ids=ids), replace(second, ids=ids)
    if set(first.ids.tolist()) != set(second.ids.tolist()):
        raise DataError(f"only {int(shared.sum()):,} rows are in both; leave the others out")
    place = {name: at for at, name in enumerate(second.ids.tolist())}
    return first, second.subset(np.asarray([place[name] for name in first.ids.tolist()]))
