"""The notebooks run, and hold what they print."""

from pathlib import Path

import nbformat
import pytest

import run_notebooks

BOOKS = sorted(run_notebooks.FOLDER.glob("*.ipynb"))


def code(book):
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_they_were_run_from_top_to_bottom_and_fail_nowhere(path):
    book = nbformat.read(path, as_version=4)
    assert [cell.execution_count for cell in code(book)] == list(range(1, len(code(book)) + 1))
    outputs = [each for cell in code(book) for each in cell.outputs]
    assert any("image/png" in each.get("data", {}) for each in outputs)
    assert not [
        each for each in outputs if each.output_type == "error" or each.get("name") == "stderr"
    ]
    assert "/tmp/" not in Path(path).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("path", BOOKS, ids=lambda p: p.stem)
def test_they_run_and_end_with_what_they_hold(path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    held, now = nbformat.read(path, as_version=4), run_notebooks.run(path)
    for before, after in zip(code(held), code(now), strict=True):
        assert [each.output_type for each in before.outputs] == [
            e.output_type for e in after.outputs
        ]


def test_there_are_three():
    assert len(BOOKS) == 3
