"""``vlmcal train``: own data in one step, without a file."""

from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import with_option_groups
from vlmcal.cli.reports import Results


@with_option_groups
def train(
    data: Annotated[
        str, typer.Argument(help="Folder of class folders, CSV manifest, NPZ, or name.")
    ],
    root: arguments.ImageRoot = None,
    option: arguments.DataOptions = None,
    method: Annotated[
        str, typer.Option(help="NAME or NAME(OPTION=VALUE, ...); see `vlmcal list methods`.")
    ] = "coop",
    objective: Annotated[
        str | None,
        typer.Option(help='Sum with plus signs, such as own+tcpt; "own" is the method\'s own.'),
    ] = None,
    backbone: Annotated[
        str, typer.Option(help="A name of `vlmcal list backbones`, a folder, or a hub id.")
    ] = "pocket",
    scores: Annotated[
        str | None,
        typer.Option(help="Of models trained on pairs (SigLIP): softmax over classes, or sigmoid."),
    ] = None,
    encode_precision: Annotated[
        str | None, typer.Option(help="Of encoding images once: off, bfloat16 or float16.")
    ] = None,
    protocol: Annotated[str, typer.Option(help="all-class or base-to-new.")] = "all-class",
    shots: Annotated[int, typer.Option(help="Training images per class.")] = 16,
    unchecked: arguments.Unchecked = False,
    seed: Annotated[str, typer.Option(help="A seed, or a range such as 1..3.")] = "1",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.")] = None,
    views: Annotated[
        str | None,
        typer.Option(
            help="Views per image: 1 (centre crop), a number of random crops, or epochs (as published)."
        ),
    ] = None,
    calibration: Annotated[
        str, typer.Option(help="Held-out rows to calibrate on: all, few (4 a class) or none.")
    ] = "all",
    precision: Annotated[
        str | None, typer.Option(help="Of the towers: off, bfloat16 or float16.")
    ] = None,
    template: Annotated[
        str | None, typer.Option(help='Zero-shot prompt, for example "a photo of a {}."')
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder for results.")] = Path("runs"),
    device: Annotated[str, typer.Option(help="Torch device.")] = "cpu",
    compile_: arguments.Compile = False,
    *,
    results: Results,
) -> None:
    """Prompt-tune on your own images, calibrate on held-out ones, and measure, beside zero-shot."""
    from vlmcal.cli.run import execute
    from vlmcal.data.base import as_spec
    from vlmcal.experiment.findings import ZERO_SHOT
    from vlmcal.experiment.spec import parse_spec
    from vlmcal.options import split

    options = as_spec(data, arguments.data_options(root, option))
    needed = shots if method != ZERO_SHOT else 1
    sound = partial(_require_sound, dict(options), needed, calibration != "none")
    options |= {"protocol": protocol, "calibration": calibration}
    if template is not None:
        options["templates"] = [template]
    spec: dict[str, Any] = {
        "data": [options],
        "backbone": _with_options(backbone, scores=scores, encode_precision=encode_precision),
        "method": list(dict.fromkeys([ZERO_SHOT, method])),
        "shots": shots,
        "seed": seed if ".." in seed else int(seed) if seed.isdigit() else seed,
    }
    if objective is not None:
        spec["objective"] = [split(objective, at="+")]
    recipe: dict[str, Any] = {"epochs": epochs, "precision": precision}
    if views is not None:
        recipe["views"] = int(views) if views.isdigit() else views
    spec["train"] = {key: value for key, value in recipe.items() if value is not None}
    runs = execute(
        parse_spec(spec, "train"),
        store=store,
        device=device,
        compile_=compile_,
        results=results,
        title=f"{method} on {data}",
        check=None if unchecked else sound,
        unchecked=unchecked,
    )
    for run in runs if method == ZERO_SHOT else runs[1:]:
        raw = " --calibrator none" if calibration == "none" else ""
        typer.echo(f"predict with: vlmcal predict {store / 'runs' / run} IMAGE...{raw}")


def _require_sound(source: dict[str, Any], shots: int, held_out: bool) -> None:
    """Refuse data in which ``vlmcal data check`` finds an error, and say its warnings."""
    from vlmcal.cli.console import Progress, note
    from vlmcal.data.audit import audit_source
    from vlmcal.data.sound import refuse_errors
    from vlmcal.errors import DataError

    progress = Progress()
    report = audit_source(
        source, shots=shots, held_out=held_out, progress=progress.counting("reading images")
    )
    progress.clear()
    try:
        refuse_errors(report)
    except DataError as error:
        raise DataError(arguments.with_options(str(error))) from None
    for problem in report.warnings:
        note(f"note: data: {problem.message}")


def _with_options(backbone: str, **options: str | None) -> str:
    """A backbone's name with options behind it, as :mod:`vlmcal.backbones.variants` reads them."""
    given = ", ".join(f"{key}={value}" for key, value in options.items() if value is not None)
    return f"{backbone}({given})" if given else backbone
