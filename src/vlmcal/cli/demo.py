"""``vlmcal demo``: the main job on real handwritten digits or one's own photos, to a report."""

import time
from pathlib import Path
from typing import Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.option_groups import opt, result
from vlmcal.cli.reports import Results
from vlmcal.errors import BackboneError

SUMMARY = (
    "A pocket-sized CLIP model that was trained on generated pictures classifies real handwritten "
    "digits. It is tuned on zero to four (base, 16 images each) and tested on those and on five to nine "
    "(new), which tuning never saw. The diagrams show what tuning does to confidence, and what a "
    "calibration-aware objective (TCPT) and temperature scaling on held-out images repair."
)
REAL = "openai/clip-vit-base-patch16"
SHOTS = (16, 8, 4, 2, 1)


def demo(
    output: Annotated[
        Path, result("Folder for the report and the runs.", "--output", "-o", "--out")
    ] = Path("demo-report"),
    photos: Annotated[
        Path | None, opt("Your own class folders or table of images, not digits.")
    ] = None,
    backbone: Annotated[
        str | None, opt(f"With --photos {REAL}, where it is at hand; else pocket.")
    ] = None,
    seeds: Annotated[int, opt("Number of seeds.")] = 3,
    epochs: Annotated[int, opt("Training epochs.")] = 200,
    device: arguments.Device = "cpu",
    unchecked: arguments.Unchecked = False,
) -> None:
    """Zero-shot, CoOp and CoOp + TCPT on real digits or photos, with and without temperature scaling."""
    from vlmcal.cli.run import execute
    from vlmcal.experiment.spec import parse_spec

    start = time.monotonic()
    title, summary = "Calibration of prompt-tuned CLIP on handwritten digits", SUMMARY
    data: dict[str, Any] = {"name": "digits", "protocol": "base-to-new", "calibration": "all"}
    shots = 16
    if photos is not None:
        title = f"Calibration of prompt-tuned CLIP on {photos.resolve().name}"
        data, shots = _photos(photos)
        backbone, missing = (backbone, "") if backbone else _at_hand()
        if missing:
            note(f"note: {missing}")
        summary = f"{missing} {_summary(photos, backbone, shots, data['protocol'])}".strip()
    spec = parse_spec(
        {
            "data": data,
            "backbone": backbone or "pocket",
            "method": ["zero_shot", "coop"],
            "objective": ["ce", ["ce", "tcpt"]],
            "shots": shots,
            "seed": f"1..{seeds}",
            "train": {"epochs": epochs},
            "evaluate": {"calibrators": ["none", "temperature"]},
        },
        "demo",
    )
    execute(
        spec,
        store=output,
        device=device,
        unchecked=unchecked,
        results=Results(report=output / "report.html"),
        title=title,
        summary=summary,
    )
    note(f"finished in {time.monotonic() - start:.0f} s; open {output / 'report.html'}")
    keep = f"a classifier to keep: vlmcal train {photos} --backbone {spec.backbone[0]}"
    note(keep if photos else "on your own photographs: vlmcal demo --photos FOLDER")


def _photos(path: Path) -> tuple[dict[str, Any], int]:
    """Settings of the data and the shots: as many as leave images of the smallest class to calibrate on."""
    import numpy as np

    from vlmcal.data.base import load_dataset

    found = load_dataset(path)
    train = found.labels[found.splits == "train"]
    counts = np.bincount(train, minlength=len(found.class_names))
    apart = bool(np.isin(found.splits, ("val", "calibration")).any())
    fitting = [n for n in SHOTS if n + (not apart) <= counts.min()]
    protocol = "base-to-new" if len(found.class_names) >= 4 else "all-class"
    data = {"path": str(path), "protocol": protocol, "calibration": "all"}
    return data, fitting[0] if fitting else 1


def _at_hand() -> tuple[str, str]:
    """The backbone for photos, and what to say where there is only the toy."""
    from vlmcal.backbones import load_backbone
    from vlmcal.experiment.findings import TOY

    try:
        load_backbone(REAL)
    except BackboneError as error:
        why = str(error).splitlines()[0].partition(";")[0].rstrip(":")
        return TOY, (
            f"This page shows what a report looks like and nothing about these photos: {REAL} is not at hand "
            f'({why}), and the toy "{TOY}" knows no photographs. Run the demo again where the model can be '
            "downloaded, or name one that is here: --backbone FOLDER."
        )
    return REAL, ""


def _summary(photos: Path, backbone: str, shots: int, protocol: str) -> str:
    classes = "all classes"
    if protocol == "base-to-new":
        classes = "half of the classes (base) and tested on those and on the others (new), which it never saw"
    return (
        f'The backbone "{backbone}" classifies the images of {photos}. It is tuned on {shots} images per '
        f"class of {classes}. The diagrams show what tuning does to confidence, and what a calibration-aware "
        "objective (TCPT) and temperature scaling on held-out images repair."
    )
