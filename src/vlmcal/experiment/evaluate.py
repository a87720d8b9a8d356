"""Measure stored predictions: methods fitted on the held-out split, every test split evaluated."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from vlmcal import __version__
from vlmcal.calibrators.base import CALIBRATORS, UNCALIBRATED, CalibrationWarning, Calibrator
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.conformal.quantile import too_few
from vlmcal.errors import DataError, StoreError
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Store
from vlmcal.hashing import digest
from vlmcal.io.json_files import remembered
from vlmcal.io.predictions import load_predictions
from vlmcal.io.state_files import damage_named
from vlmcal.metrics import METRICS, Evaluation, evaluate
from vlmcal.metrics.presets import Spec, metric_names, with_options
from vlmcal.options import build, read
from vlmcal.posthoc.attempt import Attempt, fit_and_apply
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

T = TypeVar("T")
HELD_OUT = "calibration"


@dataclass(frozen=True)
class Row:
    """One line of a result table.

    Attributes:
        run: Run id.
        cell: The cell, as plain data.
        set: "base", "new" or "all": which test classes.
        calibrator: Name with its options, or "none".
        evaluation: The measured metrics; None when the method does not apply to these classes.
        predictions: The (calibrated) predictions, for diagrams; None where label sets were measured.
        reason: Why there is no evaluation.
        conformal: Name with its options of the conformal method whose label sets were measured, or "".
    """

    run: str
    cell: Mapping[str, Any]
    set: str
    calibrator: str
    evaluation: Evaluation | None
    predictions: Predictions | None
    reason: str = ""
    conformal: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, without the predictions."""
        measured = None if self.evaluation is None else self.evaluation.to_dict()
        names = ("run", "cell", "set", "calibrator", "conformal", "reason")
        return {**{name: getattr(self, name) for name in names}, "evaluation": measured}


def calibrator_from(spec: str | Mapping[str, Any]) -> tuple[str, Calibrator | None]:
    """Name with options, and instance; "none" gives no instance.

    Raises:
        SpecError: Unknown calibrator or option.
    """
    where = "evaluate.calibrators"
    named = read(spec, CALIBRATORS.kind, where)
    made = build(CALIBRATORS, spec, where=where)
    return (made.name, None) if made.name == UNCALIBRATED else (named.label, made)


def conformal_from(spec: str | Mapping[str, Any]) -> tuple[str, ConformalPredictor]:
    """Name with options, and instance.

    Raises:
        SpecError: Unknown conformal method or option.
    """
    where = "evaluate.conformal"
    return read(spec, CONFORMAL.kind, where).label, build(CONFORMAL, spec, where=where)


def check_evaluation(spec: EvaluateSpec) -> None:
    """Refuse names that no run could be measured with, before anything is trained.

    Raises:
        SpecError: No such calibrator, conformal method, option, metric or preset; names the nearest.
    """
    for each in spec.calibrators:
        calibrator_from(each)
    for each in spec.conformal:
        conformal_from(each)
    names, options = with_options(metric_names(spec.metrics)[0], {})
    for name in names:
        METRICS.get(name).check_options(options.get(name, {}))


def each_run(store: Store, find: Callable[[str], Iterable[T]]) -> Iterator[T]:
    """What is found of every published run; one that is damaged is named in a warning and left out.

    Args:
        store: The runs.
        find: Called with the id of each.
    """
    for run in store.runs():
        folder = store.folder(run)
        try:
            with damage_named(folder):
                found = list(find(run))
        except (DataError, StoreError) as error:
            warnings.warn(
                f"run {run} is left out (remove {folder} and run its experiment again): {error}",
                stacklevel=2,
            )
            continue
        yield from found


def evaluate_run(store: Store, run: str, spec: EvaluateSpec) -> Iterator[Row]:
    """Rows for every calibrator, conformal method and test split of a published run.

    Methods are fitted on the run's held-out split only; conformal methods read the scores as the model gave
    them. Evaluations are kept in the run's folder under a key of the evaluation settings, so that asking
    again costs nothing.
    """
    status = store.status(run)
    cell = _shown(status)
    folder = store.read(run)
    loaded = {name: _load(folder, name) for name in status["sets"]}
    for test, reason in status.get("skipped", {}).items():
        yield Row(run, cell, test.removeprefix("test_"), UNCALIBRATED, None, None, reason)
    for entry in spec.calibrators:
        name, calibrator = calibrator_from(entry)
        for test, after in _calibrated(calibrator, loaded):
            row = Row(run, cell, test.removeprefix("test_"), name, None, None)
            if after.result is None:
                yield replace(row, reason=after.notes)
                continue
            # Without a method the key is as it was when "none" was the only way to write it.
            content = [test, UNCALIBRATED if calibrator is None else entry, spec.metrics]
            result = _cached(folder, content, after.result, spec.metrics, spec)
            yield replace(row, evaluation=result, predictions=after.result)
    for entry in spec.conformal:
        name, predictor = conformal_from(entry)
        for test, sets in _label_sets(predictor, loaded, spec.alpha):
            row = Row(run, cell, test.removeprefix("test_"), UNCALIBRATED, None, None)
            row = replace(row, conformal=name)
            if sets.result is None:
                yield replace(row, reason=sets.notes)
                continue
            content = [test, {"conformal": entry, "alpha": spec.alpha}, "sets"]
            yield replace(row, evaluation=_cached(folder, content, sets.result, "sets", spec))


def calibrated_rows(
    store: Store, run: str, calibrators: Iterable[str]
) -> Iterator[tuple[str, str, Predictions]]:
    """Test set, name of the calibrator and calibrated rows of a published run, wherever they apply.

    Raises:
        SpecError: No such calibrator.
        StoreError: The run is not there or damaged.
    """
    folder = store.read(run)
    loaded = {name: _load(folder, name) for name in store.status(run)["sets"]}
    for entry in calibrators:
        name, calibrator = calibrator_from(entry)
        for test, after in _calibrated(calibrator, loaded):
            if after.result is not None:
                yield test.removeprefix("test_"), name, after.result


def _calibrated(
    calibrator: Calibrator | None, loaded: Mapping[str, Predictions]
) -> Iterator[tuple[str, Attempt[Predictions]]]:
    """Calibrated rows of every test split, or why there are none."""
    if calibrator is None:
        return ((test, Attempt(rows)) for test, rows in loaded.items() if test != HELD_OUT)
    fit = partial(_fit, loaded, "a calibrator", calibrator.fit)
    return _tried(loaded, fit, calibrator.transform)


def _label_sets(
    predictor: ConformalPredictor, loaded: Mapping[str, Predictions], alpha: float
) -> Iterator[tuple[str, Attempt[PredictionSets]]]:
    """Label sets of every test split, or why there are none."""

    def enough(rows: Predictions) -> None:
        if message := too_few(len(rows), alpha):
            raise DataError(message)
        predictor.fit(rows, alpha)

    return _tried(loaded, partial(_fit, loaded, "a conformal method", enough), predictor.predict)


def _tried(
    loaded: Mapping[str, Predictions], fit: Callable[[], object], apply: Callable[[Predictions], T]
) -> Iterator[tuple[str, Attempt[T]]]:
    """What a method that is fitted on the held-out rows makes of every test split, or why nothing."""
    tests = [test for test in loaded if test != HELD_OUT]
    rows = (loaded[test] for test in tests)
    for test, made in zip(tests, fit_and_apply(fit, apply, rows, DataError), strict=True):
        for text in made.said if made.result is not None else ():
            # a test set of new classes is what the table is about, and says so itself
            if "fitted on other classes" not in text:
                warnings.warn(text, CalibrationWarning, stacklevel=2)
        yield test, made


def _fit(
    loaded: Mapping[str, Predictions], what: str, fit: Callable[[Predictions], object]
) -> None:
    if HELD_OUT not in loaded:
        raise DataError(f"the run has no held-out rows to fit {what} on")
    fit(loaded[HELD_OUT])


def _shown(status: Mapping[str, Any]) -> dict[str, Any]:
    """The cell of a run as tables show it; runs of earlier versions do not hold it."""
    if "shown" not in status:
        from vlmcal.experiment.shown_cells import shown_cell  # needs the methods, and so torch

        return shown_cell(status["cell"])
    return dict(status["shown"])


def _load(folder: Path, name: str) -> Predictions:
    return load_predictions(folder / "predictions" / f"{name}.safetensors")


def _cached(
    folder: Path,
    content: list[Any],
    rows: Predictions | PredictionSets,
    metrics: str | Sequence[Spec],
    spec: EvaluateSpec,
) -> Evaluation:
    key = digest([*content, spec.level, spec.resamples, __version__])
    path = folder / "evaluations" / f"{key[:16]}.json"
    return remembered(
        path,
        lambda: evaluate(rows, metrics, level=spec.level, resamples=spec.resamples, seed=0),
        Evaluation.from_dict,
        Evaluation.to_dict,
    )
