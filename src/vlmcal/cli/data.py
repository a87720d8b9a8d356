"""``vlmcal data``: look at data before training on it."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def _group() -> None:
    """Look at data before training on it."""


@app.command("check")
def check(
    path: Annotated[Path, typer.Argument(help="Folder, CSV/Parquet manifest, NPZ or split file.")],
    root: Annotated[Path | None, typer.Option(help="Image folder, for split files.")] = None,
    shots: Annotated[int, typer.Option(help="Images per class that training will need.")] = 1,
) -> None:
    """List every problem of a data set at once; exit code 2 if one of them prevents training."""
    from vlmcal.data.audit import audit_source

    source = {"path": str(path)} | ({} if root is None else {"root": str(root)})
    report = audit_source(source, shots=shots)
    typer.echo(report.to_text())
    if report.errors:
        raise typer.Exit(2)
