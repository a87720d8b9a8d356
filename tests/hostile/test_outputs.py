"""What is written never destroys an input, a device or a file behind a link."""

import json
import os
import stat
import threading

import pytest

from cli.conftest import *  # noqa: F403  (fixtures: vlmcal, refused)
from vlmcal.errors import StoreError
from vlmcal.io.atomic import atomic_file, atomic_write

ROWS = "label,a,b\n" + "a,0.75,0.25\nb,0.5,0.5\nb,0.125,0.875\na,0.625,0.375\n" * 10


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "rows.csv"
    file.write_text(ROWS)
    return file


@pytest.mark.parametrize("option", ["--json", "--csv", "--report", "--latex", "--markdown", "-o"])
def test_an_input_is_never_an_output(vlmcal, table, option):
    assert vlmcal("evaluate", table, "--probs", option, table).code == 2
    assert table.read_text() == ROWS


@pytest.mark.parametrize(
    ("option", "start"),
    [("--json", "{"), ("--csv", "metric"), ("--report", "<!"), ("--latex", "%")],
)
def test_standard_output_holds_the_result_and_nothing_else(vlmcal, table, option, start):
    for place in ("-", "/dev/stdout"):
        result = vlmcal("evaluate", table, "--probs", "--resamples", "0", option, place)
        assert result.code == 0, result.err
        assert result.out.lower().startswith(start), result.out[:80]
        assert "rows" in result.err
    if option == "--json":
        assert json.loads(result.out)


def test_only_one_result_goes_to_standard_output(refused, table):
    refused("evaluate", table, "--probs", "--json", "-", "--csv", "-", words=["only one"])


def test_a_device_is_written_into(vlmcal, table):
    before = os.stat("/dev/null")
    assert vlmcal("evaluate", table, "--probs", "--resamples", "0", "--json", "/dev/null").code == 0
    after = os.stat("/dev/null")
    assert stat.S_ISCHR(after.st_mode)
    assert after.st_ino == before.st_ino


@pytest.mark.parametrize("write", ["whole", "pieces"])
def test_a_pipe_is_written_into(tmp_path, write):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_text()))
    reader.start()
    if write == "whole":
        atomic_write(pipe, "a line\n" * 20_000)
    else:
        with atomic_file(pipe) as stream:
            stream.write("a line\n" * 20_000)
    reader.join(timeout=10)
    assert found == ["a line\n" * 20_000]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_links_are_followed_inside_their_folder_only(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    own.mkdir()
    other.mkdir()
    (own / "page.html").write_text("old")
    (own / "latest.html").symlink_to("page.html")
    atomic_write(own / "latest.html", "new")
    assert (own / "latest.html").is_symlink()
    assert (own / "page.html").read_text() == "new"
    (other / "theirs.html").write_text("theirs")
    (own / "away.html").symlink_to(other / "theirs.html")
    with pytest.raises(StoreError, match="leads out of its folder"):
        atomic_write(own / "away.html", "new")
    with pytest.raises(StoreError, match="leads out of its folder"), atomic_file(own / "away.html"):
        pass
    assert (other / "theirs.html").read_text() == "theirs"
