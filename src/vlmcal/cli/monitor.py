"""``vlmcal monitor``: what comes in, watched: calibration over time, alarms, drift."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line, note
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, opt, result
from vlmcal.cli.reports import Reports
from vlmcal.errors import SpecError

if TYPE_CHECKING:
    from vlmcal.review.watching import Watched


def monitor(
    predictions: Annotated[
        Path,
        arg(
            "A review, or confidences with outcomes in the order in which these came in; - for these on "
            "standard input, as CSV or JSON lines."
        ),
    ],
    *,
    reading: Reading,
    by: arguments.By = None,
    alpha: Annotated[float, opt("Share of false alarms, however often one looks.")] = 0.05,
    every: Annotated[str, opt('Outcomes per window, or "week" (of a review).')] = "200",
    defer_below: Annotated[
        float | None, opt("Confidence below which a person is asked; a review has its own.")
    ] = None,
    level: arguments.Level = 0.95,
    report: arguments.Page = None,
    json: Annotated[Path | None, result("File of the numbers; - is standard output.")] = None,
    prometheus: Annotated[
        Path | None, result("File (.prom) for Prometheus; - is standard output.")
    ] = None,
) -> None:
    """Watch calibration as outcomes come in; with --by for each site, modality or kind, too.

    Run it again whenever there are more rows: the share of false alarms holds over all looks. An alarm says
    what is wrong and what could be done; nothing is changed by itself.
    """
    results = Reports(report=report, json=json).beside(prometheus, (".prom",))
    arguments.require_drawing(level, 0)
    options: dict[str, Any] = {"alpha": alpha, "every": _every(every), "level": level}
    if predictions.suffix.lower() in (".sqlite", ".db"):
        found = _reviewed(predictions, defer_below, by, options)
    else:
        found = _streamed(predictions, reading, by, defer_below, options, results.show)
    for line in found.lines():
        results.show(line)
    results.write_numbers(found.to_dict())
    _write(found, predictions, report, prometheus)


def _every(text: str) -> int | str:
    if text != "week" and not (text.isdecimal() and 0 < int(text) <= 1_000_000):
        raise SpecError(f'--every: expected a number of outcomes, or "week", got {text!r}')
    return text if text == "week" else int(text)


def _reviewed(
    path: Path, defer_below: float | None, by: list[str] | None, options: dict[str, Any]
) -> "Watched":
    from vlmcal.review.database import Review
    from vlmcal.review.watched_review import watch_review

    if defer_below is not None or by:
        raise SpecError("--defer-below and --by: a review has its own threshold and sites")
    return watch_review(Review.open(path), **options)


def _streamed(
    path: Path,
    reading: Reading,
    by: list[str] | None,
    defer_below: float | None,
    options: dict[str, Any],
    show: Callable[[str], None],
) -> "Watched":
    from vlmcal.review.watching import Stream, watch_stream
    from vlmcal.types.predictions import Predictions

    if defer_below is not None and not 0 <= defer_below <= 1:
        raise SpecError(f"--defer-below: expected a confidence from 0 to 1, got {defer_below}")
    given = reading.read(path, "test", options={"by": by or ()}, show=show)
    data = given.data
    rows = data.top_label() if isinstance(data, Predictions) else data
    deferred = None if defer_below is None else rows.confidence < defer_below
    stream = Stream(
        rows,
        strata=given.strata,
        confidences=rows.confidence,
        deferred=deferred,
        accepted=None if deferred is None else ~deferred,
    )
    return watch_stream(stream, **options)


def _write(found: "Watched", source: Path, report: Path | None, prometheus: Path | None) -> None:
    from vlmcal.io.atomic import atomic_write
    from vlmcal.review.prometheus import prometheus as gauges

    if prometheus is not None:
        atomic_write(prometheus, gauges(found))
    if report is not None:
        from vlmcal.review.watch_page import watch_page

        named = "standard input" if str(source) == "-" else source.name
        watch_page(found, title=f"What was watched of {named}", command=command_line()).write(
            report
        )
        note(f"report: {report}")
