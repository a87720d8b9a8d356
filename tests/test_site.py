"""What the site is made of, without building it; ``make site`` runs every block of its pages."""

import re
import sys
from pathlib import Path

import markdown_pages
import pytest

import architecture
import check_site
import peers
import shown

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"


@pytest.fixture
def page(tmp_path, monkeypatch):
    for name in ("VLMCAL_CACHE", "COLUMNS", "HF_HUB_OFFLINE"):
        monkeypatch.setenv(name, "1")
    (tmp_path / "rows.csv").write_text("confidence,correct\n0.9,1\n0.6,0\n0.7,1\n")
    return shown.Session(tmp_path)


def test_commands_are_run_and_what_they_make_is_found(page):
    text = "$ vlmcal plot reliability rows.csv --probs \\\n    -o a.svg\nignored\n"
    said, made = page.block("console", text)
    assert "picture: a.svg" in said
    assert made == [page.folder / "a.svg"]


def test_what_does_not_work_is_no_page(page):
    with pytest.raises(shown.ShownError, match="exit code 2"):
        page.block("console", "$ vlmcal evaluate none.csv --probs")
    with pytest.raises(shown.ShownError, match="only vlmcal"):
        page.block("console", "$ rm -r everything")
    with pytest.raises(shown.ShownError, match="ZeroDivisionError"):
        page.block("python", "1 / 0")


def test_programs_keep_their_names_and_say_where_a_peer_is_missing(page, monkeypatch):
    assert page.block("python", "x = 2\nprint(x)") == ("2\n", [])
    assert page.block("python", "print(x + 1)")[0] == "3\n"
    monkeypatch.setitem(sys.modules, "netcal", None)
    assert "netcal is not installed" in page.block("python", "import netcal")[0]
    with pytest.raises(shown.ShownError):
        page.block("python", "import no_such_package")


@pytest.mark.parametrize(
    ("target", "led"),
    [
        ("../tables.md#files", "../tables.md#files"),
        ("../../CONTRIBUTING.md", "../generated/contributing.md"),
        ("../../src/vlmcal/api.py", "https://github.com/vlmcal/vlmcal/blob/main/src/vlmcal/api.py"),
        ("../objectives/", "../objectives/README.md"),
        ("https://example.org", "https://example.org"),
        ("#here", "#here"),
    ],
)
def test_links_of_pages(target, led):
    assert markdown_pages.led(target, DOCS / "start" / "table.md", DOCS) == led


def test_every_page_is_written_in_the_index_or_found_by_it():
    index = (DOCS / "index.md").read_text()
    for folder in ("start", "choose", "learn", "migrate"):
        for path in (DOCS / folder).glob("*.md"):
            assert re.search(rf"^{folder}/{path.stem}$", index, re.M), path


def test_the_drawing_has_every_package_that_others_are_built_on():
    text = architecture.drawing(ROOT / "src" / "vlmcal")
    drawn = set(re.findall(r'class="name">(\w+)<', text))
    packages = {p.parent.name for p in (ROOT / "src" / "vlmcal").glob("*/__init__.py")}
    assert packages <= drawn
    assert "metrics imports types" in text
    assert "types imports metrics" not in text


def test_the_check_of_a_built_site(tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">b</a><a href="none.html">x</a><a href="b.html#no">y</a>'
        '<script src="https://cdn.example.org/x.js"></script><a href="https://example.org">ok</a>'
    )
    (tmp_path / "b.html").write_text('<p id="there">b</p>')
    (tmp_path / "c.css").write_text(
        "@import 'https://fonts.example.org/f.css'; a{background:url(x.png)}"
    )
    assert check_site.problems(tmp_path) == [
        "a.html: loads https://cdn.example.org/x.js",
        "a.html: none.html leads nowhere",
        "a.html: b.html#no has no such place",
        "c.css: loads https://fonts.example.org/f.css",
    ]


def test_the_comparison_promises_no_more_than_there_is():
    from vlmcal.calibrators.base import CALIBRATORS
    from vlmcal.conformal.base import CONFORMAL
    from vlmcal.elicit.base import ELICITORS

    text = (DOCS / "compare.md").read_text()
    counts = {
        "post-hoc calibrators": len(CALIBRATORS.names()) - 1,  # without "none"
        "label sets (conformal classification)": len(CONFORMAL.names()),
        "confidence of (multimodal) LLMs": len(ELICITORS.names()),
    }
    for row, count in counts.items():
        told = int(re.search(rf"\| {re.escape(row)} \| ● (\d+)", text)[1])
        assert count - 3 < told <= count  # neither boasting nor long out of date
    for page in (DOCS / "start" / "multimodal-llm.md", DOCS.parent / "README.md"):
        assert int(re.search(r"(\d+) ways of asking", page.read_text())[1]) == told
    assert len(peers.compared(text)) == len(peers.PEERS)
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
