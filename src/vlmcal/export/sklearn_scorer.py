"""Metrics as scikit-learn scorers, by which searches choose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vlmcal.errors import DataError, SpecError
from vlmcal.metrics import METRICS, evaluate
from vlmcal.metrics.presets import Spec, with_options
from vlmcal.option_text import Named
from vlmcal.types.predictions import from_probabilities


def scorer(metric: Spec) -> "Scorer":
    """A metric as a scikit-learn scorer, for ``scoring=`` of searches; losses are negated.

    Args:
        metric: A metric of class probabilities ("ece", "nll", "brier", "accuracy", ...), with options as
            ``"ece(bins=10)"`` or ``{"name": "ece", "bins": 10}``.

    Raises:
        SpecError: No such metric or option, or one of which neither more nor less is better.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.model_selection import cross_val_score
        >>> X = np.arange(40.0)[:, None]
        >>> y = (np.arange(40) % 4 > 0).astype(int)
        >>> cross_val_score(LogisticRegression(), X, y, cv=2, scoring=scorer("ece")).max() <= 0
        np.True_
        >>> scorer("ece(bins=10)")
        scorer("ece(bins=10)")
    """
    (name,), options = with_options([metric], {})
    entry = METRICS.get(name)
    if entry.higher_is_better is None:
        raise SpecError(
            f'scorer: neither more nor less of "{name}" is better, so nothing can be chosen by it'
        )
    checked = entry.check_options(options.get(name, {}))
    return Scorer(name, checked, sign=1 if entry.higher_is_better else -1)


@dataclass(frozen=True)
class Scorer:
    """What :func:`scorer` makes: a function of a fitted classifier, features and true classes.

    Attributes:
        metric: Name of the metric.
        options: Its options.
        sign: 1, or -1 for losses, so that more is better.
    """

    metric: str
    options: Mapping[str, Any]
    sign: int

    def __call__(self, estimator: Any, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The value on these rows; the classes are those that the classifier was fitted on."""
        proba = np.asarray(estimator.predict_proba(X), dtype=np.float64)
        if proba.ndim == 1:
            proba = np.column_stack([1 - proba, proba])
        truth, classes = np.asarray(y), np.asarray(estimator.classes_)
        order = np.argsort(classes)
        place = np.searchsorted(classes, truth, sorter=order).clip(max=len(classes) - 1)
        known = order[place]
        unknown = np.unique(truth[classes[known] != truth]).tolist()
        if unknown:
            raise DataError(
                f"scorer: the classifier was fitted without {unknown}; score rows of its classes"
            )
        rows = from_probabilities(proba, known, renormalise=True)
        options = {self.metric: self.options}
        found = evaluate(
            rows, [self.metric], intervals=False, options=options, weights=sample_weight
        )
        return self.sign * found.estimates[self.metric].value

    def __repr__(self) -> str:
        return f'scorer("{Named(self.metric, dict(self.options)).label}")'
