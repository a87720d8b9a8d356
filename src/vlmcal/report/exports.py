"""The tables and figures of a report in forms for papers."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from vlmcal.errors import StoreError
from vlmcal.report.figures.svg import FORMATS, save_figure
from vlmcal.report.html import Picture, Report
from vlmcal.report.tables import Table


def to_latex(report: Report) -> str:
    """All tables for the package booktabs, each after a comment with the heading of its section."""
    parts = [f"% {heading}\n{table.to_latex()}\n" for heading, table in _tables(report)]
    return "\n".join(parts)


def to_markdown(report: Report) -> str:
    """All tables, each under the heading of its section."""
    parts = [f"## {heading}\n\n{table.to_markdown()}\n" for heading, table in _tables(report)]
    return "\n".join(parts)


def save_figures(report: Report, folder: str | os.PathLike[str]) -> list[Path]:
    """Write every picture of the page as PNG, PDF and SVG, numbered and named by what it shows.

    Returns:
        The files, in the order of the page.

    Raises:
        StoreError: The page has no picture, or the folder cannot be written to.
    """
    target = Path(folder)
    pictures = list(_pictures(report))
    if not pictures:
        raise StoreError(f'the report "{report.title}" has no figure to write')
    digits = max(2, len(str(len(pictures))))
    return [
        save_figure(picture.made(), target / f"{number:0{digits}}-{_slug(name)}.{kind}")
        for number, (name, picture) in enumerate(pictures, start=1)
        for kind in FORMATS
    ]


def _tables(report: Report) -> Iterator[tuple[str, Table]]:
    for section in report.sections:
        for table in section.tables:
            yield section.heading, table


def _pictures(report: Report) -> Iterator[tuple[str, Picture]]:
    for section in report.sections:
        for picture in section.pictures:
            yield picture.title, picture
        for strip in section.strips:
            for picture in strip.pictures:
                yield f"{strip.label} {picture.title}", picture


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:60].strip("-") or "figure"
