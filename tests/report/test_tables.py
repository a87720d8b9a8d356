import csv
import io
import re

import pytest

from vlmcal.errors import DataError
from vlmcal.report.cells import ONE_SEED, Column, Formatted, Spread, show
from vlmcal.report.tables import Table
from vlmcal.types.estimate import Estimate

NAME = Column("method", align="left")
ACC = Column("accuracy", percent=True, better="higher")
ECE = Column("ECE", percent=True, better="lower")
NLL = Column("NLL", digits=3, better="lower")


@pytest.fixture
def table():
    return Table(
        columns=[NAME, ACC, ECE, NLL],
        rows=[
            ["zero-shot", 0.5, Estimate(0.0421, 0.031, 0.0561, n=100), 1.5],
            ["CoOp", 0.75, Estimate(0.2, 0.1, 0.3, n=100), 0.123456],
        ],
        caption="Digits",
    )


def test_text_is_aligned_and_marks_the_best(table):
    lines = table.to_text().splitlines()
    assert all(len(line) <= 100 for line in lines)
    zero, coop = (
        next(line for line in lines if line.startswith(name)) for name in ("zero", "CoOp")
    )
    assert re.split(r"\s{2,}", zero) == ["zero-shot", "50.0", "4.2 [3.1, 5.6]*", "1.500"]
    assert re.split(r"\s{2,}", coop) == ["CoOp", "75.0*", "20.0 [10.0, 30.0]", "0.123*"]


def test_text_puts_wide_tables_into_blocks_that_repeat_the_names():
    columns = [NAME] + [Column(t, group=g) for g in ("ECE", "ACE", "MCE") for t in ("base", "new")]
    table = Table(columns=columns, rows=[["a rather long name of a method", *([0.5] * 6)]])
    text = table.to_text(width=44)
    assert max(map(len, text.splitlines())) <= 44
    assert text.count("a rather long name of a method") == 3
    for group in ("ECE", "ACE", "MCE"):
        assert text.count(f" {group} ") == 1


def test_blocks_repeat_every_column_that_names_a_row():
    names = [Column(title, align="left") for title in ("data", "method")]
    columns = [*names, *(Column(title) for title in "abcdef")]
    text = Table(columns=columns, rows=[["dtd", "coop", *([0.5] * 6)]]).to_text(width=30)
    assert text.count("dtd   coop") == 2
    assert max(map(len, text.splitlines())) <= 30


def test_markdown_has_one_pipe_more_than_columns_and_bold_best(table):
    lines = table.to_markdown().splitlines()
    assert lines[2] == "| method | accuracy % ↑ | ECE % ↓ | NLL ↓ |"
    assert lines[3] == "| --- | ---: | ---: | ---: |"
    assert lines[4] == "| zero-shot | 50.0 | **4.2** [3.1, 5.6] | 1.500 |"
    assert lines[5] == "| CoOp | **75.0** | 20.0 [10.0, 30.0] | **0.123** |"


def test_csv_keeps_full_precision_as_fractions():
    value = 0.1 + 0.2
    table = Table(
        columns=[NAME, ECE],
        rows=[["a", Estimate(value, 0.1, 0.5)], ['b, "c"', Spread.of([0.25, 0.75])], ["d", None]],
    )
    rows = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert float(rows[0]["ECE"]) == value
    assert rows[0]["ECE low"] == "0.1"
    assert (rows[0]["ECE std"], rows[0]["ECE seeds"]) == ("", "")
    assert rows[1]["method"] == 'b, "c"'
    assert (rows[1]["ECE"], rows[1]["ECE seeds"]) == ("0.5", "2")
    assert float(rows[1]["ECE std"]) == pytest.approx(0.3535533905932738, abs=1e-15)
    assert rows[2]["ECE"] == ""


def test_latex_escapes_and_groups():
    columns = [NAME, Column("base", group="ECE_x", percent=True), Column("new", group="ECE_x")]
    text = Table(columns=columns, rows=[["50 % & more", 0.5, Spread.of([1.0, 2.0])]]).to_latex()
    assert r"\multicolumn{2}{c}{ECE\_x}" in text
    assert r"\cmidrule(lr){2-3}" in text
    assert r"50 \% \& more & 50.0 & 1.5 {\scriptsize $\pm$ 0.7} \\" in text
    assert text.count(r"\begin{tabular}{lrr}") == text.count(r"\end{tabular}") == 1


def test_html_marks_the_best_by_more_than_colour(table, page):
    read = page(table.to_html())
    assert read.text_of("strong") == ["4.2", "75.0", "0.123"]
    assert read.tags["span"] == 6
    assert "best in its column" in read.text_of("span")
    assert read.text_of("small")[0] == "[3.1, 5.6]"
    assert read.values("scope") == ["col"] * 4 + ["row"] * 2


def test_html_escapes_hostile_text(page):
    hostile = '<script>alert("x")</script>'
    table = Table(
        columns=[Column(hostile, align="left"), Column("n", group=hostile)],
        rows=[[hostile, 1]],
        caption=hostile,
        notes=[hostile],
    )
    read = page(table.to_html())
    assert "script" not in read.tags
    assert sum(hostile in text for _, text in read.texts) == 5


def test_markdown_and_latex_do_not_let_text_through_as_markup():
    table = Table(columns=[NAME], rows=[["a|b <i> `c`"]])
    assert r"a\|b \<i> \`c\`" in table.to_markdown()
    assert r"\textbackslash{}input" in Table(columns=[NAME], rows=[[r"\input{x}"]]).to_latex()


def test_values_that_print_the_same_share_the_mark_and_all_equal_have_none():
    tie = Table(columns=[NAME, ECE], rows=[["a", 0.10001], ["b", 0.1], ["c", 0.3]])
    assert tie.best() == {(0, 1), (1, 1)}
    assert Table(columns=[NAME, ECE], rows=[["a", 0.1], ["b", 0.1]]).best() == frozenset()
    assert Table(columns=[NAME, ECE], rows=[["a", 0.1], ["b", None]]).best() == frozenset()


def test_nan_is_a_gap_and_never_the_best():
    table = Table(columns=[NAME, ECE], rows=[["a", float("nan")], ["b", 0.2], ["c", 0.1]])
    assert table.best() == {(2, 1)}
    assert show(float("nan"), ECE).main == "–"
    assert ",\n" in table.to_csv()


def test_spread_by_hand():
    spread = Spread.of([Estimate(0.1, 0.05, 0.2), Estimate(0.3, 0.15, 0.4)])
    assert spread.mean == pytest.approx(0.2)
    assert spread.std == pytest.approx(0.1414213562, abs=1e-9)
    assert (spread.low, spread.high) == (pytest.approx(0.1), pytest.approx(0.3))
    assert show(spread, ECE) == ("20.0", "± 14.1 [10.0, 30.0]")


def test_one_seed_is_marked():
    table = Table(columns=[NAME, ECE], rows=[["a", Spread.of([0.1])]])
    assert show(Spread.of([0.1]), ECE).small == "1 seed"
    assert ONE_SEED in table.to_text()
    assert ONE_SEED not in Table(columns=[NAME, ECE], rows=[["a", Spread.of([0.1, 0.2])]]).to_text()


def test_a_spread_over_nothing_is_refused():
    with pytest.raises(DataError, match="at least one value"):
        Spread.of([])


def test_a_cell_can_bring_its_own_format():
    columns = [NAME, Column("value")]
    table = Table(
        columns=columns, rows=[["NLL", Formatted(1.23456, NLL)], ["ECE", Formatted(0.5, ECE)]]
    )
    assert [line.split()[-1] for line in table.to_text().splitlines()[2:]] == ["1.235", "50.0"]
    assert table.to_csv().splitlines()[1:] == ["NLL,1.23456", "ECE,0.5"]


def test_a_row_of_the_wrong_length_is_refused():
    with pytest.raises(DataError, match=r"row 1: expected 2 cells, one per column, got 1"):
        Table(columns=[NAME, ECE], rows=[["a", 0.1], ["b"]])


def test_negative_numbers_and_counts():
    assert show(-0.0321, ECE).main == "−3.2"
    assert show(-0.0001, ECE).main == "0.0"
    assert show(12345, Column("rows")).main == "12,345"
