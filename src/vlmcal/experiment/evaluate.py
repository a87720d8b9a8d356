"""Measure stored predictions: calibrate on the held-out split, evaluate every test split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vlmcal import __version__
from vlmcal.calibrators.base import CALIBRATORS, Calibrator
from vlmcal.errors import DataError
from vlmcal.experiment.plan import objective_label
from vlmcal.experiment.spec import EvaluateSpec
from vlmcal.experiment.store import Store
from vlmcal.hashing import digest
from vlmcal.io.json_files import read_json, write_json
from vlmcal.io.predictions import load_predictions
from vlmcal.learners.base import LEARNERS
from vlmcal.metrics import METRICS, Evaluation, evaluate
from vlmcal.metrics.presets import metric_names
from vlmcal.options import build, read
from vlmcal.types.predictions import Predictions

UNCALIBRATED = "none"


@dataclass(frozen=True)
class Row:
    """One line of a result table.

    Attributes:
        run: Run id.
        cell: The cell, as plain data.
        set: "base", "new" or "all": which test classes.
        calibrator: Name, or "none".
        evaluation: The measured metrics; None when the calibrator does not apply to these classes.
        predictions: The (calibrated) predictions, for diagrams.
        reason: Why there is no evaluation.
    """

    run: str
    cell: Mapping[str, Any]
    set: str
    calibrator: str
    evaluation: Evaluation | None
    predictions: Predictions | None
    reason: str = ""


def calibrator_from(spec: str | Mapping[str, Any]) -> tuple[str, Calibrator | None]:
    """Name and instance; "none" gives no instance.

    Raises:
        SpecError: Unknown calibrator or option.
    """
    where = "evaluate.calibrators"
    name, options = read(spec, CALIBRATORS.kind, where)
    if name == UNCALIBRATED and not options:
        return name, None
    return name, build(CALIBRATORS, spec, where=where)


def check_evaluation(spec: EvaluateSpec) -> None:
    """Refuse names that no run could be measured with, before anything is trained.

    Raises:
        SpecError: No such calibrator, option, metric or preset; names the nearest.
    """
    for each in spec.calibrators:
        calibrator_from(each)
    for name in metric_names(spec.metrics)[0]:
        METRICS.get(name)


def evaluate_run(store: Store, run: str, spec: EvaluateSpec) -> Iterator[Row]:
    """Rows for every calibrator and test split of a published run.

    Calibrators are fitted on the run's held-out split only. Evaluations are kept in the run's folder
    under a key of the evaluation settings, so that asking again costs nothing.
    """
    status = store.status(run)
    cell = _shown(status["cell"])
    folder = store.folder(run)
    tests = [name for name in status["sets"] if name != "calibration"]
    loaded = {name: _load(folder, name) for name in status["sets"]}
    for test, reason in status.get("skipped", {}).items():
        yield Row(run, cell, test.removeprefix("test_"), UNCALIBRATED, None, None, reason)
    for entry in spec.calibrators:
        name, calibrator = calibrator_from(entry)
        failure = ""
        if calibrator is not None:
            try:
                if "calibration" not in loaded:
                    raise DataError("the run has no held-out rows to fit a calibrator on")
                calibrator.fit(loaded["calibration"])
            except DataError as error:
                failure = str(error)
        for test in tests:
            predictions, reason = loaded[test], failure
            if calibrator is not None and not failure:
                try:
                    predictions = calibrator.transform(predictions)
                except DataError as error:
                    reason = str(error)
            result = None if reason else _cached(folder, test, entry, predictions, spec)
            yield Row(
                run=run,
                cell=cell,
                set=test.removeprefix("test_"),
                calibrator=name,
                evaluation=result,
                predictions=None if reason else predictions,
                reason=reason,
            )


def _shown(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The cell with its objective by name, and only the settings that the method did not choose itself."""
    method = str(cell["method"]["name"])
    usual = LEARNERS.get(method).default_train
    train = {k: v for k, v in (cell["train"] or {}).items() if usual.get(k) != v}
    return {**cell, "train": train, "objective": objective_label(cell["objective"], method)}


def _load(folder: Path, name: str) -> Predictions:
    return load_predictions(folder / "predictions" / f"{name}.safetensors")


def _cached(
    folder: Path, test: str, calibrator: Any, predictions: Predictions, spec: EvaluateSpec
) -> Evaluation:
    content = [test, calibrator, spec.metrics, spec.level, spec.resamples, __version__]
    path = folder / "evaluations" / f"{digest(content)[:16]}.json"
    if path.exists():
        return Evaluation.from_dict(read_json(path))
    result = evaluate(predictions, spec.metrics, level=spec.level, resamples=spec.resamples, seed=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, result.to_dict())
    return result
