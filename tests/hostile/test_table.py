"""Commands that no one should be able to break anything with, each with the words of its one error.

``table.txt`` holds a command in one line and, indented, what it says in the next; ``inputs.py`` makes files.
All run in one process and one folder, in which nothing may appear or change.
"""

import os
from pathlib import Path

import pytest

from cli.conftest import vlmcal  # noqa: F401  (fixture)
from hostile.inputs import write_all

LINES = Path(__file__).with_name("table.txt").read_text(encoding="utf-8").splitlines()
CASES = list(zip(LINES[::2], [line.strip() for line in LINES[1::2]], strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("hostile")
    write_all(root)
    return root


def bare(text):
    """Without what the parser of options words otherwise from one version to the next."""
    return (
        text.replace("'", "")
        .replace("option: ", "option ")
        .replace("argument(s)", "argument")
        .lower()
    )


def held(root):
    """Names, sizes and times of all that lies in a folder."""
    found = {}
    for place, _, names in os.walk(root):
        for name in names:
            state = os.lstat(Path(place, name))
            found[Path(place, name)] = (state.st_size, state.st_mtime_ns)
    return found


def test_there_are_many_and_each_is_another():
    commands = [command for command, _ in CASES]
    assert len(set(commands)) == len(commands) >= 300
    assert all(len(words) > 8 for _, words in CASES)


@pytest.mark.parametrize(("command", "words"), CASES, ids=[command for command, _ in CASES])
def test_is_refused_in_words_and_nothing_is_written(vlmcal, folder, monkeypatch, command, words):  # noqa: F811
    monkeypatch.chdir(folder)
    before = held(folder)
    result = vlmcal(*command.split(" "))
    said = " ".join((result.out + result.err).split()).replace(f"{folder}/", "")
    assert result.code == 2, said
    assert "Traceback" not in said
    assert bare(words) in bare(said.replace(str(folder), "."))
    assert held(folder) == before
