"""``vlmcal data``: look at data before training on it; cards of published data sets."""

from pathlib import Path
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import Progress, note
from vlmcal.cli.option_groups import arg, opt, result
from vlmcal.cli.reports import Reports
from vlmcal.cli.verb import verb

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
CardName = Annotated[str, arg("A name of `vlmcal data list`.")]


@verb(app, "check")
def check(
    data: Annotated[str, arg("Folder, CSV/Parquet manifest, NPZ, split file, or name.")],
    place: Annotated[Path | None, arg("Of a published data set: the folder that holds it.")] = None,
    root: arguments.ImageRoot = None,
    option: arguments.DataOptions = None,
    shots: Annotated[int, opt("Images per class that training will need.", min=1)] = 1,
    calibration: Annotated[
        str, opt("Images that training will calibrate on: all, few, cross-fit or none.")
    ] = "all",
) -> None:
    """List every problem of a data set at once; exit code 2 if one of them prevents training.

    Published data are compared with their card; exit code 2 also where they differ from it.
    """
    from vlmcal.data.audit import audit_source
    from vlmcal.data.base import as_spec
    from vlmcal.data.data_cards import data_card
    from vlmcal.data.protocols import WITHOUT_HELD_OUT, check_held
    from vlmcal.data.published import DIFFERS

    check_held(calibration)

    if place is not None:
        data_card(data)
    source = as_spec(data, arguments.data_options(place or root, option))
    held_out = calibration not in WITHOUT_HELD_OUT
    with Progress() as progress:
        reading = progress.counting("reading images")
        report = audit_source(source, shots=shots, held_out=held_out, progress=reading)
    typer.echo(arguments.with_options(report.to_text()))
    for line in report.overview:
        typer.echo(line)
    differences = [p for p in report.problems if p.message.startswith(DIFFERS)]
    if differences:
        typer.echo(
            f"differs from the published data set in {len(differences)} ways: results are not comparable "
            "with published ones"
        )
    if report.errors or differences:
        raise typer.Exit(2)


@verb(app, "audit")
def audit(
    data: Annotated[str, arg("As for check; a split file also without images; questions.")],
    place: Annotated[Path | None, arg("Of a published data set: the folder that holds it.")] = None,
    root: arguments.ImageRoot = None,
    option: arguments.DataOptions = None,
    backbone: Annotated[
        str | None, opt("Also copies that it sees and labels that a probe on its features doubts.")
    ] = None,
    report: Annotated[Path | None, result("HTML page with pictures of what is suspected.")] = None,
    json: Annotated[Path | None, result("All that was found; - is standard output.")] = None,
    device: Annotated[str, opt("Torch device of the backbone.")] = "cpu",
) -> None:
    """Look for leaks and what else makes results wrong, also by names alone where no image is here.

    Groups that hide in file names are shown, never used. An interrupted audit goes on where it was. Exit code
    2 where there is an error.
    """
    from vlmcal.cli.data_audit import audit_images, audit_questions_at, tell
    from vlmcal.data.base import as_spec

    results = Reports(report=report, json=json)
    results.require()
    source = as_spec(data, arguments.data_options(place or root, option))
    found = audit_questions_at(data) or audit_images(source, backbone, device)
    tell(found, results)
    if found.report.errors:
        raise typer.Exit(2)


@verb(app, "list")
def list_() -> None:
    """Published data sets that are read by name, with their sizes."""
    from vlmcal.data.data_cards import data_cards

    cards = data_cards()
    width = max(map(len, cards))
    for name, card in cards.items():
        sizes = "/".join(f"{n:,}" for n in card.sizes.values())
        typer.echo(
            f"{name:<{width}}  {card.summary}; {card.n_classes} classes{f'; {sizes}' if sizes else ''}"
        )


@verb(app, "show")
def show(name: CardName) -> None:
    """The card of a published data set: classes, sizes, layout on disk, prompts, licence, traps."""
    from vlmcal.data.data_cards import data_card

    typer.echo(data_card(name).text())


@verb(app, "fetch")
def fetch(
    name: CardName,
    root: Annotated[Path, opt("Folder of data sets.")] = Path("."),
    yes: Annotated[
        bool, opt("Download, where the licence needs no agreement at the source.")
    ] = False,
    file: Annotated[str, opt("The one file that is wanted, such as breastmnist_224.npz.")] = "",
) -> None:
    """Print the commands that get a published data set; with --yes, download what may be downloaded."""
    from vlmcal.data.data_cards import data_card
    from vlmcal.data.fetch import fetch as download

    card = data_card(name)
    if yes:
        with Progress() as progress:
            found = download(card, root, only=file, progress=progress.counting("bytes"))
        for path in found:
            note(f"downloaded: {path}")
        typer.echo(f"vlmcal data check {card.name} {root}")
        return
    typer.echo(f"# {card.name}: {card.source}; licence: {card.licence} (check at the source)")
    typer.echo(card.fetch.strip())
    typer.echo("# so that below one folder there is:")
    for line in card.layout:
        typer.echo(f"#   {line}")
    typer.echo(f"vlmcal data check {card.name} FOLDER")
