"""``vlmcal ood``: whether images of unknown classes can be told from those of known ones."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.reports import Reports
from vlmcal.errors import SpecError

if TYPE_CHECKING:
    from vlmcal.cli.reports import Reports
    from vlmcal.posthoc.ood_verdicts import Pair
    from vlmcal.report.tables import Table


def ood(
    known: Annotated[Path, arg("Predictions for images of known classes.")],
    unknown: Annotated[Path, arg("Likewise for others; their labels do not count.")],
    scores: Annotated[
        list[str] | None,
        arguments.several(
            "confidence, mcm, energy, max_logit, neg_label, ...; all that apply.", "--score"
        ),
    ] = None,
    scale: Annotated[float, opt("The model's logit scale, which mcm divides out.")] = 100.0,
    words: Annotated[
        Path | None, opt("For neg_label: a text file; needs image features in the rows.")
    ] = None,
    negatives: Annotated[int, opt("Words kept, those farthest from all classes.")] = 1000,
    backbone: Annotated[str, opt("For neg_label, as in vlmcal train.")] = "pocket",
    *,
    reading: Reading,
    output: Annotated[Path | None, written("Scores of the unknown images: .csv, ...")] = None,
    json: arguments.Numbers = None,
) -> None:
    """AUROC and FPR95 of scores that tell known from unknown images; higher scores mean known."""
    from vlmcal.io.table_output import write_table
    from vlmcal.posthoc.ood_verdicts import negative_labels, row_scores

    if words is None and (negatives, backbone) != (1000, "pocket"):
        raise SpecError("--negatives and --backbone are for the words of --words; give that, too")
    results = Reports(json=json).beside(output, arguments.TABLES)
    inside = reading.load(known, "test", labels_needed=False, last=False, show=results.show)
    outside = reading.load(
        unknown, "test", labels_needed=False, known_classes=inside.class_names, show=results.show
    )
    asked = None if scores is None else [name for name in scores if name != "neg_label"]
    if asked != scores and words is None:
        raise SpecError("--score neg_label needs --words FILE, one word a line")
    found = row_scores(inside, outside, asked, scale=scale)
    if words is not None:
        found["neg_label"] = negative_labels(inside, outside, words, negatives, backbone)
    _show(found, known, unknown, results)
    if output is not None:
        write_table(
            {"id": outside.ids.tolist(), **{n: pair[1] for n, pair in found.items()}}, output
        )
        results.show(f"saved: {output}")


def _show(found: "dict[str, Pair]", known: Path, unknown: Path, results: "Reports") -> None:
    from vlmcal.posthoc.ood_scores import detection

    verdicts = {name: detection(*pair) for name, pair in found.items()}
    ((inside, outside), *_) = found.values()
    results.show(f"{len(inside):,} known, {len(outside):,} unknown images; 50 % AUROC is chance\n")
    table = _table(verdicts)
    results.show(table.to_text())
    numbers = {name: verdict._asdict() for name, verdict in verdicts.items()}
    about = {"known": str(known), "unknown": str(unknown)}
    results.write_numbers({**about, "scores": numbers})


def _table(verdicts: dict[str, Any]) -> "Table":
    from vlmcal.report.cells import Column, words
    from vlmcal.report.tables import Table

    return Table(
        columns=[words("score"), Column("AUROC", percent=True), Column("FPR95", percent=True)],
        rows=[[name, each.auroc, each.fpr95] for name, each in verdicts.items()],
    )
