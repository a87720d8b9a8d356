"""A damaged file of answers is made again from the log of responses."""

import json

import pytest

from cli.conftest import *  # noqa: F403  (fixtures: vlmcal, refused)
from vlmcal.elicit import ask
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.types.question import Question

ASKED = [
    Question(id=str(i), question=f"Is {i} there?", answer_type="yes_no", gold=("yes",))
    for i in range(6)
]


def model():
    return ScriptedModel(lambda request: "Answer: yes\nConfidence: 80%", identity="made")


@pytest.fixture
def folder(tmp_path):
    ask(ASKED, model=model(), elicitors=["verbalized", "p_true"], folder=tmp_path / "a")
    return tmp_path / "a"


@pytest.mark.parametrize("damage", ["a line", "all", "cut", "other types", "empty lines"])
def test_answers_are_read_again_from_the_log(vlmcal, folder, damage):
    file = folder / "answers.jsonl"
    whole = file.read_text()
    lines = whole.splitlines(keepends=True)
    file.write_text(
        {
            "a line": "".join([*lines[:3], "garbage\n", *lines[4:]]),
            "all": "\0" * 300,
            "cut": whole[: len(whole) // 2 + 7],
            "other types": "[]\n" * 3 + "".join(lines[3:]),
            "empty lines": "\n" + whole[40:],
        }[damage]
    )
    damaged = file.read_text()
    with pytest.warns(UserWarning, match="is damaged: .* answers were read again from the log"):
        _, answers = AnswerFolder(folder).load()
    read = {json.dumps(a.to_dict()) for a in answers}
    assert read == {json.dumps(json.loads(line)) for line in lines}
    assert file.read_text() == damaged
    shown = vlmcal("vqa", "evaluate", folder, "--resamples", "0")
    assert shown.code == 0, shown.err
    assert "were read again from the log of responses" in " ".join(shown.err.split())
    with pytest.warns(UserWarning, match="is damaged"):
        ask(ASKED, model=model(), elicitors="verbalized", folder=folder)
    assert sorted(file.read_text().splitlines()) == sorted(whole.splitlines())


def test_what_cannot_be_made_again_is_named(refused, folder):
    file = folder / "answers.jsonl"
    file.write_text("garbage\n" + file.read_text())
    (folder / "responses.jsonl").unlink()
    refused("vqa", "evaluate", folder, words=["answers.jsonl, line 1: not an answer"])
