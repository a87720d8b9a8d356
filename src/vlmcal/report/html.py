"""One self-contained HTML file: no links to anywhere, no script but its own, light, dark and on paper."""

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

import vlmcal
from vlmcal.errors import StoreError
from vlmcal.io.atomic import atomic_write, is_stream
from vlmcal.report.figures.style import plain_canvas
from vlmcal.report.figures.svg import to_svg
from vlmcal.report.tables import Table
from vlmcal.report.theme import css_variables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATES = Path(__file__).parent / "templates"
CONTENTS_FROM = 4


@dataclass(frozen=True)
class Picture:
    """A figure with the words that go with it.

    Attributes:
        figure: What to draw; or a drawing that was not made yet, which a page then makes without matplotlib.
        title: Accessible name.
        desc: What it shows, in a sentence with numbers, for those who do not see it.
        caption: Line under the picture; may be "".
    """

    figure: "Figure | Callable[[], Figure]"
    title: str
    desc: str
    caption: str = ""

    def made(self) -> "Figure":
        """The figure, drawn where it was not yet."""
        return self.figure() if callable(self.figure) else self.figure


@dataclass(frozen=True)
class Strip:
    """Small pictures that belong in one row, such as the cells of one method.

    Attributes:
        label: What the row is.
        pictures: Left to right; on a narrow screen the row scrolls sideways.
        wrap: Go on in a new row where there is room, for any number of pictures.
    """

    label: str
    pictures: Sequence[Picture]
    wrap: bool = False


@dataclass(frozen=True)
class Case:
    """A card about one answer, for the person who decides what to do with it.

    Attributes:
        heading: The question.
        lines: Pairs of name and text.
        badge: What to do, in a few words, or "".
        alarm: Whether the badge warns.
        image: PNG or JPEG bytes of a small picture, or None.
        alt: What the picture is, for those who do not see it.
    """

    heading: str
    lines: Sequence[tuple[str, str]]
    badge: str = ""
    alarm: bool = False
    image: bytes | None = None
    alt: str = "The image of this question"

    @property
    def source(self) -> str:
        """The picture as a data URI."""
        assert self.image is not None
        kind = "png" if self.image.startswith(b"\x89PNG") else "jpeg"
        return f"data:image/{kind};base64,{base64.b64encode(self.image).decode()}"


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with prose, warnings, tables, cases, pictures and notes, shown in this order.

    Attributes:
        heading: Short, unique within the report.
        prose: Paragraphs of plain text.
        warnings: What the reader must know before believing the numbers.
        tables: Tables.
        cases: Cards about single answers.
        pictures: Large pictures, side by side where there is room.
        strips: Rows of small pictures.
        notes: Small print.
        html: Markup that the page's own code made, after the tables; names in it are escaped.
        interactive: Whether the script of the page makes its tables sort and filter.
    """

    heading: str
    prose: Sequence[str] = ()
    warnings: Sequence[str] = ()
    tables: Sequence[Table] = ()
    cases: Sequence[Case] = ()
    pictures: Sequence[Picture] = ()
    strips: Sequence[Strip] = ()
    notes: Sequence[str] = ()
    html: str = ""
    interactive: bool = False


def present(*sections: Section | None) -> list[Section]:
    """Those of the sections that there are."""
    return [section for section in sections if section is not None]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Everything that goes into one page.

    Attributes:
        title: Title of the page.
        sections: The body, in order.
        lead: What the page is about, or "".
        summary: "What this shows", in plain sentences; the first is the headline.
        definitions: Exact definition of every metric on the page, by display name.
        provenance: How the numbers came about; may be nested.
        command: The exact command that makes this page again, or "".
        script: A script of the package for the page, or ""; nothing else is ever run in it.

    Example:
        >>> page = Report(title="Digits", sections=[Section(heading="Results")], summary=["Fine."])
        >>> page.to_html().count("<h2"), page.to_html().startswith("<!doctype html>")
        (2, True)
    """

    title: str
    sections: Sequence[Section]
    lead: str = ""
    summary: Sequence[str] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    script: str = ""

    def to_html(self) -> str:
        """The page as text; equal reports give equal text."""
        anchors = _anchors([section.heading for section in self.sections])
        counter = iter(range(1, 1_000_000))
        page = environment(TEMPLATES).get_template("report.html")
        return page.render(
            report=self,
            sections=list(zip(anchors, self.sections, strict=True)),
            contents=len(self.sections) >= CONTENTS_FROM,
            provenance=list(flatten(self.provenance)),
            svg=lambda picture: Markup(_svg(picture, next(counter))),
            table=lambda table: Markup(table.to_html()),
            style=Markup(_style()),
            version=vlmcal.__version__,
            script=Markup(self.script),
            script_hash=_hash(self.script),
            markup=lambda section: Markup(section.html),
        )

    def write(self, path: str | os.PathLike[str]) -> Path:
        """Write the page to ``path`` in one step: a reader never sees half of it.

        Raises:
            StoreError: The ending is not .html or .htm, or the folder cannot be written to.
        """
        target = Path(path)
        if target.suffix.lower() not in (".html", ".htm") and not is_stream(target):
            raise StoreError(
                f'{target}: a report is an HTML page; name it "{target.stem or "report"}.html"'
            )
        atomic_write(target, self.to_html())
        return target


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested provenance as pairs of name and text, in the given order.

    Example:
        >>> list(flatten({"seeds": [1, 2], "versions": {"numpy": "2.1"}}))
        [('seeds', '1, 2'), ('versions / numpy', '2.1')]
    """
    for key, value in values.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name} / ")
        elif isinstance(value, list | tuple | set | frozenset):
            items = sorted(value) if isinstance(value, set | frozenset) else value
            if not any(isinstance(item, Mapping) for item in items):
                yield name, ", ".join(map(str, items)) or "none"
            else:
                for i, item in enumerate(items, 1):
                    yield from flatten(
                        item if isinstance(item, Mapping) else {"": item}, f"{name} {i} / "
                    )
        else:
            yield name, "none" if value is None else str(value)


def _svg(picture: Picture, number: int) -> str:
    with plain_canvas():
        figure = picture.made()
    return to_svg(figure, title=picture.title, desc=picture.desc, uid=f"f{number}")


def _anchors(headings: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    anchors = []
    for heading in headings:
        base = "s-" + (re.sub(r"[^a-z0-9]+", "-", heading.lower()).strip("-") or "section")
        seen[base] = seen.get(base, 0) + 1
        anchors.append(base if seen[base] == 1 else f"{base}-{seen[base]}")
    return anchors


def _hash(script: str) -> str:
    """What the page's policy knows its own script by."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _style() -> str:
    sheet = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    sheet = sheet.replace("/*LIGHT*/", css_variables("light"))
    return sheet.replace("/*DARK*/", css_variables("dark"))


@cache
def environment(folder: Path) -> Environment:
    """The templates of a folder; what is put into them is escaped."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
