"""``vlmcal review``: a page for the people who decide, and what they decided."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, opt, result, written
from vlmcal.cli.reports import Reports
from vlmcal.cli.review_source import SourceOptions
from vlmcal.cli.verb import verb
from vlmcal.errors import DataError, SpecError
from vlmcal.extras import naming_extras

if TYPE_CHECKING:
    from vlmcal.review.database import Review

START = "start"
_LOOKED_AT = 100  # cases whose images are looked for before the page is opened
HELP = (
    "A page for the people who decide.\n\n`vlmcal review SOURCE --db review.sqlite` makes a review of a run "
    "folder, a file of predictions or an answers folder of `vlmcal vqa`, or goes on with it, and opens its "
    "page; `vlmcal review start --help` has the options."
)


class Starting(TyperGroup):
    """A group in which `vlmcal review SOURCE` is `vlmcal review start SOURCE`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """As typed, with the verb that is meant."""
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = [START, *args]
        return super().parse_args(ctx, args)


@dataclass(frozen=True)
class PageOptions:
    """Where the page is served, and to whom."""

    port: Annotated[int, opt("Of the page; 0 for any.", min=0, max=65535)] = 8765
    host: Annotated[str, opt("Address to listen at; others than this machine see it.")] = (
        "127.0.0.1"
    )
    browser: Annotated[bool, opt("Open the page.")] = True
    page: Annotated[bool, opt("Serve the page; else only make the review.", "--page/--no-page")] = (
        True
    )
    code: Annotated[str, opt("Code of the one reader, without --users.")] = "user-1"
    users: Annotated[Path | None, opt("File with a line CODE,ROLE,TOKEN for each user.")] = None
    header: Annotated[str, opt("Request header in which a reverse proxy says the user's code.")] = (
        ""
    )
    proxies: Annotated[
        list[str] | None, arguments.several("Addresses from which the header is believed.")
    ] = None
    hosts: Annotated[
        list[str] | None, arguments.several("Further host names under which the page may be asked.")
    ] = None

    def require(self) -> None:
        """Refuse a page that nothing is installed for, before anything is made.

        Raises:
            MissingExtraError: Names the extra.
        """
        if self.page:
            with naming_extras():
                import vlmcal.review.web.serve  # noqa: F401

    def serve(self, db: Path) -> None:
        """Serve the page until it is stopped, unless it is not wanted.

        Raises:
            SpecError: The port is taken, or users are named in a wrong way.
        """
        if not self.page:
            return
        from vlmcal.review.web.serve import serve

        serve(
            db,
            self.host,
            self.port,
            self.browser,
            users=self.users,
            header=self.header,
            proxies=self.proxies or (),
            hosts=self.hosts or (),
            code=self.code,
            told=typer.echo,
        )


app = typer.Typer(cls=Starting, no_args_is_help=True, rich_markup_mode=None)
Db = Annotated[Path, arg("What `vlmcal review SOURCE --db DB` made.", metavar="DB")]


@verb(app, START)
def start(
    source: Annotated[
        Path,
        arg(
            "A run folder, a file of predictions, or an answers folder of `vlmcal vqa`; or a review."
        ),
    ],
    db: Annotated[
        Path | None, result("The review; made, or gone on with. Needed unless SOURCE is one.")
    ] = None,
    *,
    page: PageOptions,
    options: SourceOptions,
    reading: Reading,
) -> None:
    """Review a source in the browser: the same as `vlmcal review SOURCE --db DB`.

    Cases come in the order in which they need a person; what is decided is kept in DB, entry by entry.
    """
    from vlmcal.review.database import Review
    from vlmcal.review.database_file import is_review

    page.require()
    if db is not None:
        arguments.require_no_input(db)
        review = options.made(source, db, reading)
    elif is_review(source):
        review = Review.open(source)
    else:
        raise SpecError("--db: expected the file of the review, such as --db review.sqlite")
    _tell(review)
    page.serve(review.path)


def _tell(review: "Review") -> None:
    from vlmcal.review.workflow import NO_DEVICE

    about, counts = review.about, review.counts("nobody", judging=False)
    typer.echo(f"{review.path}: {counts.cases:,} cases, {counts.deferred:,} for a person")
    typer.echo(f"  model       {about['model_id']}")
    typer.echo(f"  calibrator  {about['calibrator_id']}")
    typer.echo(f"  threshold   {about['thresholds']['told']}")
    typer.echo(f"  evidence    {review.evidence.why}")
    typer.echo(f"  images      {_images(review)}")
    if review.policy.automation is None:
        typer.echo("  automation  off: every case is shown to a person")
    arguments.tell(about["notes"])
    typer.echo(NO_DEVICE)


def _images(review: "Review") -> str:
    cases = [row.case for row in review.page("nobody", "all", limit=_LOOKED_AT)]
    root = Path() if review.root is None else review.root
    n = sum(bool(case.image) and (root / case.image[0]).is_file() for case in cases)
    if not n:
        return "no case has one; --images names their folder, --image the column of a table"
    return f"in {root}" + ("" if n == len(cases) else f", of {n:,} of the first {len(cases):,}")


@verb(app, "verify")
def verify(log: Annotated[Path, arg("A review, or its exported log.jsonl.", metavar="DB")]) -> None:
    """Follow the chain of the log: names the first entry that was changed, put in or taken out."""
    from vlmcal.review.database import Review
    from vlmcal.review.log import lines_of
    from vlmcal.review.log import verify as follow

    found = follow(lines_of(log)) if log.suffix.lower() == ".jsonl" else Review.open(log).verify()
    arguments.tell(found.notes)
    if not found.whole:
        raise DataError(f"{log}: {found.broken}")
    typer.echo(f"{found.count:,} entries, each follows the one before; last hash {found.last}")
    typer.echo("That the end was cut off shows only against a count and hash kept elsewhere.")


@verb(app, "outcomes")
def outcomes(
    db: Db,
    labels: Annotated[Path, arg("Ids with right answers.", metavar="TABLE")],
    column: Annotated[str | None, opt("Column of the answers.", "--labels")] = None,
    ids: Annotated[str | None, opt("Column of the ids.")] = None,
    date: Annotated[str | None, opt("Column of the day it became known.")] = None,
    probability: Annotated[
        str | None, opt("Column of the chance with which a case was chosen to be looked into.")
    ] = None,
    source: Annotated[str, opt("Where they come from, for the log.")] = "",
    user: Annotated[str, opt("Code of who adds them.")] = "import",
) -> None:
    """Join right answers that became known later; all rows of the table, or none."""
    from vlmcal.review.database import Review
    from vlmcal.review.outcomes import record_outcomes

    review = Review.open(db)
    found = record_outcomes(
        review, labels, ids=ids, labels=column, dates=date, chances=probability, source=source, user=user
    )  # fmt: skip
    typer.echo(f"{db}: {found.sentence()}")
    if alarm := review.alarm():
        typer.echo(f"alarm: {alarm}")


@verb(app, "export")
def export(
    db: Db,
    output: Annotated[
        Path,
        written(
            "Decisions (.csv, .tsv, .parquet, .xlsx), the log (.jsonl), or observations (.json)."
        ),
    ],
    free_text: Annotated[bool, opt("Also what readers typed; it may identify a patient.")] = False,
) -> None:
    """Write decisions, the log, or observations like those of FHIR."""
    from vlmcal.review.database import Review
    from vlmcal.review.export import FHIR, LOG, TABLES
    from vlmcal.review.export import export as write

    arguments.require_output(output, (*TABLES, LOG, FHIR))
    typer.echo(write(Review.open(db), output, free_text=free_text))


@verb(app, "agreement")
def agreement(db: Db, level: arguments.Level = 0.95, json: arguments.Numbers = None) -> None:
    """Do readers agree beyond chance: Cohen's kappa of every two, Fleiss' of more."""
    from vlmcal.review.agreement import agreements
    from vlmcal.review.database import Review

    results = Reports(json=json)
    results.require()
    arguments.require_drawing(level, 0)
    found = agreements(Review.open(db), level=level)
    for each in found:
        results.show(each.sentence())
    if not found:
        results.show("no case was decided by two readers; set `readers: 2` in the policy")
    rows = [{**vars(each.kappa), **each._asdict(), "kappa": each.kappa.value} for each in found]
    results.write_numbers({"agreement": rows})
