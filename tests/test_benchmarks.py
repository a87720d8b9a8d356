"""Benchmarks that cannot be run everywhere run in their tiny form, and write where they say."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
# no torch here
pytest.importorskip("torch")


def run(script, *options):
    paths = [str(FOLDER.parent / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, str(FOLDER / script), *options]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_gpu_script_names_what_it_leaves_out_when_the_time_is_spent(tmp_path):
    found = run(
        "gpu.py", "--device", "cpu", "--tiny", "--budget", "-1", "--json", str(tmp_path / "g.json")
    )
    assert found.returncode == 0, found.stderr
    lines = json.loads((tmp_path / "g.json").read_text())
    assert lines[0]["part"] == "machine"
    assert {line["left_out"] for line in lines[1:]} == {"time is spent"}
    assert {line["part"] for line in lines[1:]} == {"encoding", "channels last", "cells", "step"}


def test_tables_are_written_between_their_marks(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import tables

    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peers -->\nold\n<!-- end of peers -->\nafter\n")
    monkeypatch.setattr(tables, "PAGE", page)
    tables.write("peers", "| new |")
    assert page.read_text() == "before\n<!-- peers -->\n| new |\n<!-- end of peers -->\nafter\n"
    with pytest.raises(SystemExit, match="no place"):
        tables.write("growth", "| new |")
