"""What is written never destroys an input, a device or a file behind a link."""

import json
import os
import socket
import stat
import threading
from pathlib import Path

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
    (tmp_path / "new.csv").write_text(
        "label,a,b\na,0.875,0.125\nb,0.25,0.75\na,0.5,0.5\nb,0.375,0.625\n"
    )
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


def test_a_socket_is_written_into(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    with socket.socket(socket.AF_UNIX) as ear:
        ear.bind("ear")
        ear.listen(1)

        def hear():
            with ear.accept()[0] as line, line.makefile() as stream:
                found.append(stream.read())

        reader = threading.Thread(target=hear)
        reader.start()
        atomic_write("ear", "a line\n" * 20_000)
        reader.join(timeout=10)
        assert found == ["a line\n" * 20_000]
        assert stat.S_ISSOCK(os.stat("ear").st_mode)


@pytest.mark.parametrize(
    "command",
    [
        "calibrate fit rows.csv --probs -m platt -o -",
        "conformal fit rows.csv --probs -m lac --alpha 0.3 -o /dev/stdout",
        "calibrate fit rows.csv --probs -m histogram -o -",
    ],
)
def test_saved_methods_go_to_standard_output_in_one_piece(vlmcal, table, command):
    result = vlmcal(*command.split())
    assert result.code == 0, result.err
    Path("piped.json").write_text(result.out)
    applied = vlmcal(command.split()[0], "apply", "piped.json", "new.csv", "--probs", "-o", "-")
    assert applied.code == 0, applied.err
    assert len(applied.out.splitlines()) == 5


def test_what_is_read_beside_the_rows_is_no_output_either(refused, table):
    Path("truth.csv").write_text("id,label\n0,a\n")
    read = ["evaluate", table, "--probs", "--labels-file", "truth.csv"]
    refused(*read, "--csv", "truth.csv", words=["this is an input"])
    refused(*read, "--json", "a.html", "--report", "a.html", words=["two results have this name"])
    refused(*read, "--figures", "-", words=["standard output"])
    assert Path("truth.csv").read_text() == "id,label\n0,a\n"


def test_parts_of_what_is_read_are_no_output(vlmcal, refused, table):
    new = ["calibrate", "apply", "cal.json", "new.csv", "--probs"]
    assert vlmcal("calibrate", "fit", table, "--probs", "-m", "platt", "-o", "cal.json").code == 0
    before = Path("cal.json").read_text()
    refused(*new, "-o", "cal.safetensors", words=["this is an input"])
    assert Path("cal.json").read_text() == before
    assert vlmcal(*new, "-o", "after.safetensors").code == 0
    refused("evaluate", "after.safetensors", "--json", "after.json", words=["this is an input"])
    Path("log.csv").write_text("id,question,answer,gold\n1,Is it?,yes,yes\n2,Is it?,no,yes\n")
    assert vlmcal("vqa", "import", "log.csv", "-o", "answers").code == 0
    for name in ("run.json", "answers.jsonl", "questions.jsonl"):
        kept = Path("answers", name).read_text()
        refused("vqa", "evaluate", "answers", "--json", f"answers/{name}", words=["is a part of"])
        assert Path("answers", name).read_text() == kept
    refused("vqa", "import", "log.csv", "-o", "-", words=["standard output"])
    for _ in range(2):
        assert vlmcal("vqa", "evaluate", "answers", "-o", "answers/page.html").code == 0


def test_images_are_no_output_of_their_audit(refused, tmp_path):
    picture = tmp_path / "cat" / "a.png"
    picture.parent.mkdir()
    picture.write_bytes(b"not read")
    refused("data", "audit", tmp_path, "--json", picture, words=["ends in .json"])
    assert picture.read_bytes() == b"not read"


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
