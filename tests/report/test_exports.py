"""Tables and figures of a report as files."""

import pytest

from vlmcal import Confidences, evaluate
from vlmcal.errors import StoreError
from vlmcal.report import Column, Report, Section, Table, evaluation_report, exports

ROWS = Confidences(confidence=[0.9, 0.8, 0.6, 0.7], correct=[True, True, False, True])


def table(value):
    return Table(columns=[Column("method", align="left"), Column("ECE")], rows=[["CoOp", value]])


TWO = Report(
    title="Two",
    sections=[
        Section(heading="First", tables=[table(0.5)]),
        Section(heading="Second & last", tables=[table(0.25)]),
    ],
)


def test_all_tables_stand_under_their_headings():
    assert exports.to_markdown(TWO).split("\n\n")[::2] == ["## First", "## Second & last"]
    latex = exports.to_latex(TWO)
    assert latex.count(r"\begin{tabular}") == 2
    assert [line for line in latex.splitlines() if line.startswith("%")] == [
        "% First",
        "% Second & last",
    ]


def test_every_picture_is_written_in_three_forms(tmp_path):
    report = evaluation_report(ROWS, evaluate(ROWS, ["accuracy", "ece"], intervals=False))
    written = exports.save_figures(report, tmp_path / "new" / "folder")
    assert [path.name for path in written[:3]] == [
        "01-reliability-diagram.png",
        "01-reliability-diagram.pdf",
        "01-reliability-diagram.svg",
    ]
    assert len(written) == len({*written}) == 3 * 4
    starts = {".png": b"\x89PNG", ".pdf": b"%PDF", ".svg": b"<?xml"}
    assert all(path.read_bytes().startswith(starts[path.suffix]) for path in written)


def test_a_page_without_pictures_says_so(tmp_path):
    with pytest.raises(StoreError, match='report "Two" has no figure to write'):
        exports.save_figures(TWO, tmp_path)
