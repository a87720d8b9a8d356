"""The pages of docs/objectives follow from the docstrings."""

import importlib.util
import re
from pathlib import Path

import pytest

from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.presets import PRESETS

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "objectives"


@pytest.fixture(scope="module")
def script():
    path = ROOT / "scripts" / "write_objective_docs.py"
    spec = importlib.util.spec_from_file_location("write_objective_docs", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_pages_are_current(script):
    pages = script.pages()
    written = {path.name: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.md")}
    stale = [name for name in pages if written.get(name) != pages[name]]
    assert not stale, "pages are not current; run `make docs`"
    assert set(written) == set(pages)


def test_every_objective_and_preset_has_one_section_with_its_formula():
    text = "\n".join(
        p.read_text(encoding="utf-8") for p in FOLDER.glob("*.md") if p.stem != "README"
    )
    for name in [*OBJECTIVES.names(), *PRESETS]:
        assert len(re.findall(rf"^## {name}$", text, flags=re.MULTILINE)) == 1, name
    assert text.count("```math") >= len(OBJECTIVES.names())


def test_fences_are_balanced_and_no_directive_is_left():
    for path in FOLDER.glob("*.md"):
        text = path.read_text(encoding="utf-8")
        fences = re.findall(r"^```(\w*)$", text, flags=re.MULTILINE)
        assert all(fence in {"math", "python", "yaml"} for fence in fences[::2]), path
        assert not any(fences[1::2]), path
        assert len(fences) % 2 == 0
        assert ".. math::" not in text
        assert ":func:" not in text
        assert ":class:" not in text


def test_an_unlisted_objective_is_on_the_last_page(script, monkeypatch):
    families = dict(script.FAMILIES)
    title, summary, names = families["text_space"]
    families["text_space"] = (title, summary, names.replace("dor ", ""))
    monkeypatch.setattr(script, "FAMILIES", families)
    assert "## dor\n" in script.pages()["others.md"]
    families["test_time"] = (title, summary, "tpt_entropy no_such_loss")
    with pytest.raises(SystemExit, match="not registered"):
        script.pages()


def test_formula_attributes_and_markup_of_a_small_docstring(script):
    doc = script._parts(
        "Sum.\n\n.. math:: a < b\n\nover ``x`` < y, a * b.\n\nAttributes:\n"
        "    a, b: Two\n        lines.\n\nExample:\n    >>> 1\n    1"
    )
    body = list(script._body(doc["body"]))
    assert body == ["Sum.", "", "```math", "a < b", "```", "", "over `x` &lt; y, a \\* b.", ""]
    assert script._meanings(doc["Attributes:"]) == {"a": "Two lines.", "b": "Two lines."}
    assert doc["Example:"] == [">>> 1", "1"]
