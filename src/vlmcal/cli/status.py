"""``vlmcal status``: how far the experiments of a store are."""

from json import dumps
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import arg, opt, result

_SHOWN = 20


def status(
    store: Annotated[str, arg("Folder or URL of results.")] = "runs",
    all_: Annotated[bool, opt("Name every cell.", "--all")] = False,
    json: Annotated[str | None, result("Numbers as JSON; - is standard output.")] = None,
) -> None:
    """What is done, running, failed (and why) and missing, and how long the rest will take.

    It only reads, while this or another machine writes.
    """
    from pathlib import Path

    from vlmcal.experiment.estimate import clock
    from vlmcal.experiment.remote_store import store_at
    from vlmcal.experiment.status import store_status
    from vlmcal.io.atomic import atomic_write

    found = store_status(store_at(store))
    if json is not None:
        arguments.require_output(Path(json), (".json",))
        atomic_write(json, dumps(found.to_dict(), indent=1) + "\n")
        if json == "-":
            return
    for plan in found.plans:
        typer.echo(plan.sentence())
        for state in ("running", "failed", "missing", *(["done"] if all_ else [])):
            cells = [cell for cell in plan.cells if cell.state == state]
            for cell in cells if all_ or state == "failed" else cells[:_SHOWN]:
                took = "" if cell.seconds is None else f" ({clock(cell.seconds)})"
                why = f": {arguments.with_options(cell.reason)}" if cell.reason else ""
                typer.echo(f"  {state}  {cell.label}{took}{why}")
            if not all_ and state != "failed" and len(cells) > _SHOWN:
                typer.echo(f"  {state}  ... and {len(cells) - _SHOWN} more (--all names them)")
    if any(cell.state == "failed" for plan in found.plans for cell in plan.cells):
        typer.echo(
            f"tracebacks: {found.place}/failed; what crashed needs --retry-failed of `vlmcal run`"
        )
    if not found.plans:
        typer.echo(f"{found.place} keeps no plan")
    if found.others:
        typer.echo(f"{found.others} runs that are in no plan are done")
