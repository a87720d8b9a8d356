"""Several conformal methods on the same calibration rows and the same new rows."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

Result = TypeVar("Result")


def applicable(calibration: Predictions) -> list[str]:
    """Names of the methods that these predictions carry enough for, sorted.

    Example:
        >>> rows = Predictions(logits=[[1.0, 0.0]], labels=[0])
        >>> "lac" in applicable(rows), "lata" in applicable(rows)
        (True, False)
    """
    return [
        name
        for name, method in CONFORMAL.items()
        if set(method.needs) <= set(calibration.extras)
        and (calibration.groups is not None or not method.uses_strata)
    ]


def compare(
    calibration: Predictions,
    test: Predictions,
    methods: Iterable[str] | Mapping[str, ConformalPredictor],
    alpha: float,
    evaluate: Callable[[PredictionSets], Result],
) -> dict[str, Result]:
    """Fit each method on ``calibration``, form the sets of ``test``, and judge them.

    Choosing the best of several methods by these numbers needs yet other rows to report it on.

    Args:
        calibration: Held-out rows.
        test: Other rows.
        methods: Registry names (with default hyper-parameters), or predictors by a name of your own.
        alpha: Target miscoverage in (0, 1).
        evaluate: What to make of the sets, such as a summary with coverage and size.

    Returns:
        The result of ``evaluate`` for each method, in the order given.

    Raises:
        SplitError: The calibration rows are test data, or rows occur in both.
        SpecError: A method is not known.
        DataError: A method needs something that the predictions do not carry.

    Example:
        >>> rows = Predictions(logits=[[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]], labels=[0, 1, 0], ids=list("abc"))
        >>> new = Predictions(logits=[[5.0, 0.0]], labels=[0], ids=["d"])
        >>> compare(rows, new, ["lac", "topk"], 0.3, lambda sets: sets.sizes().tolist())
        {'lac': [1], 'topk': [1]}
    """
    if isinstance(methods, Mapping):
        predictors = dict(methods)
    else:
        predictors = {name: CONFORMAL.get(name)() for name in methods}
    return {
        name: evaluate(predictor.fit(calibration, alpha).predict(test))
        for name, predictor in predictors.items()
    }
