"""``make docs`` is one command for every page that follows from the code."""

import re
from pathlib import Path

import pytest

import write_definitions

ROOT = Path(__file__).parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
SCRIPTS = re.search(r"^DOCS += (.*)$", MAKEFILE, re.MULTILINE)[1].split()


def test_it_runs_every_script_that_writes_what_follows_from_the_code():
    # Those that need finished runs or recordings are started by hand, with these as arguments.
    results = {p.name for p in (ROOT / "scripts").glob("write_*_results.py")}
    by_hand = results | {
        "write_demo_picture.py",
        "write_review_pictures.py",
        "write_constraints.py",
    }
    assert set(SCRIPTS) == {p.name for p in (ROOT / "scripts").glob("write_*.py")} - by_hand


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_script_takes_no_argument(name):
    assert "required=True" not in (ROOT / "scripts" / name).read_text()


def test_a_stale_table_is_written_anew(tmp_path, monkeypatch):
    page = tmp_path / "definitions.md"
    page.write_text(
        "By hand.\n\n| name | from | better | definition | interval | source |\n| old |\n"
    )
    monkeypatch.setattr(write_definitions, "PAGE", page)
    written = write_definitions.page()
    assert written.startswith("By hand.\n\n| name |")
    assert "| `ece` |" in written
    assert "| old |" not in written
