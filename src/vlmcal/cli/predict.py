"""``vlmcal predict``: calibrated confidence for images, also for class names the run never saw."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmcal.cli import arguments


def predict(
    run: Annotated[str, typer.Argument(help="Folder of a run, or its id together with --store.")],
    images: Annotated[list[Path], typer.Argument(help="Image files or folders of images.")],
    classes: Annotated[str | None, typer.Option(help="Other class names, with commas.")] = None,
    calibrator: Annotated[
        str, typer.Option(help='Fitted on the held-out rows of the run; "none" for raw confidence.')
    ] = "temperature",
    unchecked: Annotated[
        bool,
        typer.Option("--unchecked", help="Use it even where cross-validation says that it hurts."),
    ] = False,
    top: Annotated[int, typer.Option(help="Classes to show per image.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="One JSON object per line; - is standard output.")
    ] = None,
    store: Annotated[Path, typer.Option(help="Store, when RUN is an id.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
) -> None:
    """Classify images with a trained run; confidence is calibrated on the run's held-out split."""
    from vlmcal.api import Classifier
    from vlmcal.cli.console import note
    from vlmcal.errors import SpecError
    from vlmcal.io.atomic import atomic_write
    from vlmcal.io.image_files import find_images
    from vlmcal.training.parallel import require_device

    folder = Path(run) if Path(run).is_dir() else store / "runs" / run
    if top < 1:
        raise SpecError(f"--top: expected at least 1, got {top}")
    names = None
    if classes is not None:
        names = [name.strip() for name in classes.split(",")]
        if len(set(names)) != len(names) or not all(names):
            raise SpecError(f"--classes: expected distinct names with commas, got {classes!r}")
    require_device(device)
    model = Classifier.load(folder, calibrator=calibrator, unchecked=unchecked, device=device)
    if model.reason:
        note(f"note: raw confidence, because {model.reason}; --unchecked uses it all the same")
    if names is not None:
        model = model.for_classes(names)
    paths = find_images(images)
    records = []
    with arguments.notes():
        rows = model.predict(paths)
    for path, row in zip(paths, rows, strict=True):
        record: dict[str, Any] = {
            "image": str(path),
            "label": row.label,
            "confidence": round(row.confidence, 6),
            "calibrated": model.calibrated,
            "probabilities": {name: round(p, 6) for name, p in row.top(top)},
        }
        records.append(json.dumps(record))
        others = ", ".join(f"{name} {p:.3f}" for name, p in row.top(top)[1:])
        line = f"{path}: {row.label} {row.confidence:.3f}" + (f" ({others})" if others else "")
        typer.echo(records[-1] if json_file == Path("-") else line)
    if json_file is not None and json_file != Path("-"):
        atomic_write(json_file, "\n".join(records) + "\n")
