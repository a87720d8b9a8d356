"""``vlmcal monitor``: an alarm when outcomes speak against the stated confidences, at any time."""

from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import with_option_groups


@with_option_groups
def monitor(
    predictions: Annotated[
        Path, typer.Argument(help="Confidences with outcomes, in the order in which these came in.")
    ],
    *,
    reading: Reading,
    by: arguments.By = None,
    alpha: Annotated[
        float, typer.Option(help="Share of false alarms, however often one looks.")
    ] = 0.05,
    json: Annotated[Path | None, typer.Option("--json", help="File of the numbers.")] = None,
) -> None:
    """Watch calibration as outcomes come in; with --by for each site, modality or kind, too.

    Run it again whenever there are more rows: the share of false alarms holds over all looks. An alarm says
    what is wrong; nothing is changed by itself.
    """
    from vlmcal.io.json_files import write_json
    from vlmcal.posthoc.monitoring import watch_rows

    if json is not None:
        arguments.require_output(json, [predictions], (".json",))
    rows = reading.read(predictions, "test", options={"by": by or ()})
    found = watch_rows(rows.data, strata=rows.strata, alpha=alpha)
    for name, each in found.items():
        typer.echo(f"{name}: {each.sentence()}")
    if json is not None:
        write_json(json, {name: each.to_dict() for name, each in found.items()})
