"""The predictions that a finished run keeps, chosen by the name of their set."""

from pathlib import Path
from typing import Any, Final

from vlmcal.errors import SpecError, StoreError, require_known
from vlmcal.io.json_files import read_sealed
from vlmcal.io.predictions import load_predictions
from vlmcal.types.predictions import Predictions

STATUS: Final = "status.json"


def read_status(folder: Path, *, of_rows: bool = False) -> dict[str, Any]:
    """The record of a finished run: what it was made of ("cell") and the sets that it predicted ("sets").

    Args:
        folder: Of the run.
        of_rows: Only its rows are wanted, and what it was made of need not be known.

    Raises:
        StoreError: The folder is none of a finished run, or its record is damaged.
    """
    if not (folder / STATUS).is_file():
        raise StoreError(
            f"{folder} holds no finished run (no {STATUS}); give the folder that `vlmcal run` or "
            "`vlmcal train` printed, for example runs/runs/0123456789abcdef"
        )
    return require_status(read_sealed(folder / STATUS), f"{folder / STATUS}", of_rows=of_rows)


def require_status(record: dict[str, Any], where: str, *, of_rows: bool = False) -> dict[str, Any]:
    """``record`` if it is one of a finished run.

    Raises:
        StoreError: It is not.

    Example:
        >>> require_status({"cell": {"data": {}}}, "status.json")
        Traceback (most recent call last):
        ...
        vlmcal.errors.StoreError: status.json is no record of a finished run (no "sets"); it was damaged ...
    """
    cell, sets = record.get("cell"), record.get("sets")
    wrong = ""
    if not isinstance(sets, list) or not all(isinstance(name, str) for name in sets):
        wrong = 'no "sets"'
    elif not (of_rows and cell is None) and not (
        isinstance(cell, dict) and isinstance(cell.get("data"), dict)
    ):
        wrong = 'no data in "cell"'
    if wrong:
        raise StoreError(
            f"{where} is no record of a finished run ({wrong}); it was damaged or edited. Remove it and run "
            "again"
        )
    return record


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
