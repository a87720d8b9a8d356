"""``vlmcal export``: what a run knows, as a table or a head for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.option_groups import opt, written
from vlmcal.cli.verb import verb
from vlmcal.errors import SpecError

app = typer.Typer(no_args_is_help=True, add_completion=False, rich_markup_mode=None)


@verb(app, "predictions")
def predictions(
    run: arguments.RunPlace,
    output: Annotated[Path, written("CSV, TSV, Parquet, NPZ or safetensors file.")],
    part: Annotated[
        str | None, opt("base, new, all or calibration; needed where there are several.", "--set")
    ] = None,
    calibrator: Annotated[
        str, opt("Fitted on the held-out rows of the run; default: raw scores.")
    ] = "none",
    store: arguments.RunStore = "runs",
) -> None:
    """Write one row for each image of a run: id, label, group and the score of every class."""
    from vlmcal.experiment.evaluate import calibrator_from
    from vlmcal.io.predictions import load_predictions, save_predictions
    from vlmcal.io.run_predictions import chosen_set, prediction_files

    folder = _folder(run, store)
    arguments.require_output(output, arguments.ROWS, folder)
    files = prediction_files(folder)
    chosen = chosen_set(folder, part)
    rows = load_predictions(files[chosen])
    _, fitted = calibrator_from(calibrator)
    if fitted is not None:
        if "calibration" not in files:
            raise SpecError(f"{folder} has no held-out rows to fit {calibrator} on")
        rows = fitted.fit(load_predictions(files["calibration"])).transform(rows)
    save_predictions(rows, output)
    note(f"{len(rows):,} rows of {chosen}, {rows.kind}: {output}")


@verb(app, "head")
def head(
    run: arguments.RunPlace,
    output: Annotated[Path, written("ONNX file; or a folder for safetensors and JSON.")],
    store: arguments.RunStore = "runs",
) -> None:
    """Write the classes of a run as one matrix on image features: no text tower is needed then.

    Uncalibrated logits; methods whose predictions are no linear function of image features are refused.
    """
    from vlmcal.api import Classifier
    from vlmcal.export.head import linear_head, save_head, save_onnx
    from vlmcal.io.atomic import is_stream

    if is_stream(output):
        raise SpecError(f"{output}: expected a name that ends in .onnx, or a folder")
    found = linear_head(Classifier.load(_folder(run, store), calibrator="none").learner)
    write = save_onnx if output.suffix.lower() == ".onnx" else save_head
    write(found, output)
    note(f"{len(found.class_names)} classes on features of {found.about['backbone']}: {output}")


def _folder(run: str, store: str) -> Path:
    from vlmcal.experiment.remote_store import run_folder

    return run_folder(run, store)
