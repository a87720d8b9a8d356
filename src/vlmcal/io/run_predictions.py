"""The predictions that a finished run keeps, chosen by the name of their set."""

from pathlib import Path

from vlmcal.errors import SpecError, StoreError, require_known
from vlmcal.io.predictions import load_predictions
from vlmcal.types.predictions import Predictions


def prediction_files(folder: Path) -> dict[str, Path]:
    """The files of a run by the names of their sets: all, base, new, calibration.

    Raises:
        StoreError: The folder is none of a finished run.
    """
    files = {
        path.stem.removeprefix("test_"): path
        for path in sorted((folder / "predictions").glob("*.safetensors"))
    }
    if not files:
        raise StoreError(
            f"{folder} holds no predictions of a finished run; give the folder that `vlmcal run` or "
            "`vlmcal train` printed, for example runs/runs/0123456789abcdef"
        )
    return files


def chosen_set(folder: Path, part: str | None) -> str:
    """The set that is meant: the named one, or the only one of test images.

    Raises:
        StoreError: As :func:`prediction_files`.
        SpecError: There are several, or none of that name.
    """
    files = prediction_files(folder)
    tests = [name for name in files if name != "calibration"]
    if part is None and len(tests) != 1:
        raise SpecError(f"{folder} has several sets; choose one with --set: {', '.join(files)}")
    chosen = part or tests[0]
    require_known(chosen, files, "--set: this run has no set")
    return chosen


def run_predictions(folder: Path, part: str | None = None) -> Predictions:
    """The rows of one set of a run, without calibration.

    Raises:
        StoreError: As :func:`prediction_files`.
        SpecError: As :func:`chosen_set`.
    """
    return load_predictions(prediction_files(folder)[chosen_set(folder, part)])
