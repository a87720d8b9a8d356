"""``vlmcal data``: look at data before training on it."""

from typing import Annotated

import typer

from vlmcal.cli import arguments

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look at data before training on it."""


@app.command("check")
def check(
    data: Annotated[
        str, typer.Argument(help="Folder, CSV/Parquet manifest, NPZ, split file, or name.")
    ],
    root: arguments.ImageRoot = None,
    option: arguments.DataOptions = None,
    shots: Annotated[int, typer.Option(help="Images per class that training will need.")] = 1,
    calibration: Annotated[
        str, typer.Option(help="Held-out images that training will need: all, few or none.")
    ] = "all",
) -> None:
    """List every problem of a data set at once; exit code 2 if one of them prevents training."""
    from vlmcal.cli.console import Progress
    from vlmcal.data.audit import audit_source
    from vlmcal.data.base import as_spec

    source = as_spec(data, arguments.data_options(root, option))
    progress = Progress()
    report = audit_source(
        source,
        shots=shots,
        held_out=calibration != "none",
        progress=progress.counting("reading images"),
    )
    progress.clear()
    typer.echo(arguments.with_options(report.to_text()))
    for line in report.overview:
        typer.echo(line)
    if report.errors:
        raise typer.Exit(2)
