"""What is replaced on request, and what never is; and that a changed file of our own is not believed."""

import json

import pytest

from cli.conftest import vlmcal  # noqa: F401  (fixture)
from vlmcal.elicit import ask
from vlmcal.elicit.answers import load_answers
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.io.json_files import remembered
from vlmcal.metrics.kit.bootstrap import with_interval
from vlmcal.types.chat import Request, Response
from vlmcal.types.estimate import Estimate
from vlmcal.types.question import Question

LOG = "id,question,answer,gold,confidence\n1,Is it?,yes,yes,0.9\n2,Is it?,no,yes,0.4\n"


def test_answers_of_another_table_are_replaced_where_the_message_is_followed(vlmcal, tmp_path):  # noqa: F811
    for name, text in {"a.csv": LOG, "b.csv": LOG.replace("2,Is", "3,Is")}.items():
        (tmp_path / name).write_text(text)
    folder = tmp_path / "answers"
    assert vlmcal("vqa", "import", tmp_path / "a.csv", "-o", folder).code == 0
    again = ("vqa", "import", tmp_path / "b.csv", "-o", folder)
    refused = vlmcal(*again)
    assert refused.code == 2
    assert "or replace them with --force" in " ".join(refused.err.split())
    assert vlmcal(*again, "--force").code == 0
    assert {a.question for a in load_answers(folder / "answers.jsonl")} == {"1", "3"}
    (folder / "responses.jsonl").write_text("{}\n")  # as of a model that was asked
    for more in ((), ("--force",)):
        refused = vlmcal("vqa", "import", tmp_path / "a.csv", "-o", folder, *more)
        assert refused.code == 2
        assert "--force" not in refused.err
    assert {a.question for a in load_answers(folder / "answers.jsonl")} == {"1", "3"}


def test_a_folder_of_somebody_else_is_not_replaced(vlmcal, tmp_path):  # noqa: F811
    (tmp_path / "a.csv").write_text(LOG)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "answers.jsonl").write_text("mine")
    refused = vlmcal("vqa", "import", tmp_path / "a.csv", "-o", tmp_path / "mine", "--force")
    assert refused.code == 2
    assert (tmp_path / "mine" / "answers.jsonl").read_text() == "mine"


def test_changed_answers_are_refused_and_those_without_a_checksum_are_read(vlmcal, tmp_path):  # noqa: F811
    (tmp_path / "a.csv").write_text(LOG)
    folder = tmp_path / "answers"
    assert vlmcal("vqa", "import", tmp_path / "a.csv", "-o", folder).code == 0
    path, about = folder / "answers.jsonl", folder / "run.json"
    path.write_text(path.read_text().replace("true", "false", 1))
    refused = vlmcal("vqa", "evaluate", folder)
    assert refused.code == 2
    assert "does not match its checksum in run.json" in refused.err
    kept = {k: v for k, v in json.loads(about.read_text()).items() if k != "answers_checksum"}
    about.write_text(json.dumps(kept))  # as the message says, and as older versions wrote it
    _, answers = AnswerFolder(folder).load()
    assert [answer.correct for answer in answers] == [False, False]


@pytest.mark.parametrize("damage", ["garbage", "[]", "{}", "another model"])
def test_a_damaged_run_file_is_written_again_where_its_message_is_followed(
    vlmcal,  # noqa: F811
    tmp_path,
    damage,
):
    asked = [
        Question(id=str(i), question=f"Is {i}?", answer_type="yes_no", gold=("yes",)) for i in "12"
    ]
    calls = []
    model = ScriptedModel(
        lambda r: calls.append(r) or "Answer: yes\nConfidence: 80%", identity="made"
    )
    folder = tmp_path / "a"
    ask(asked, model=model, elicitors="verbalized", folder=folder)
    about, answers = folder / "run.json", (folder / "answers.jsonl").read_text()
    whole = about.read_text()
    about.write_text(whole.replace('"made"', '"other"') if damage == "another model" else damage)
    if damage != "{}":  # which says nothing wrong
        refused = vlmcal("vqa", "evaluate", folder, "--resamples", "0")
        assert refused.code == 2
        assert "run.json is damaged or was edited. Repeat the command" in refused.err
        with pytest.warns(UserWarning, match="is damaged and is written anew"):
            ask(asked, model=model, elicitors="verbalized", folder=folder)
    else:
        ask(asked, model=model, elicitors="verbalized", folder=folder)
    assert len(calls) == 2  # nothing was asked twice
    assert (folder / "answers.jsonl").read_text() == answers
    assert json.loads(about.read_text())["model"] == "made"
    assert vlmcal("vqa", "evaluate", folder, "--resamples", "0").code == 0


def test_a_damaged_run_file_of_a_table_is_written_again_with_force(vlmcal, tmp_path):  # noqa: F811
    (tmp_path / "a.csv").write_text(LOG)
    again = ("vqa", "import", tmp_path / "a.csv", "-o", tmp_path / "a")
    assert vlmcal(*again).code == 0
    (tmp_path / "a" / "run.json").write_text("garbage")
    refused = vlmcal(*again)
    assert refused.code == 2
    assert "`vlmcal vqa import` takes --force" in " ".join(refused.err.split())
    assert vlmcal(*again, "--force").code == 0
    assert vlmcal("vqa", "evaluate", tmp_path / "a", "--resamples", "0").code == 0


def test_a_changed_line_of_the_log_is_asked_again_and_lines_of_older_versions_are_read(tmp_path):
    path, request = tmp_path / "responses.jsonl", Request(messages=())
    with ResponseLog(path) as log:
        for key in ("k1", "k2"):
            log.put(key, request, Response(text="No. 80%"))
    first, second = path.read_text().splitlines(keepends=True)
    path.write_text(first.replace("No.", "Yes") + second)
    with ResponseLog(path) as log:
        assert log.get("k1") is None
        assert (log.damaged, log.get("k2").text) == (1, "No. 80%")
    old = {k: v for k, v in json.loads(first).items() if k != "checksum"} | {"schema": 1}
    path.write_text(json.dumps(old) + "\n" + json.dumps({**old, "key": "k3", "schema": 2}) + "\n")
    with ResponseLog(path) as log:
        assert log.get("k1").text == "No. 80%"
        assert log.get("k3") is None  # a line of this version without a checksum


def test_a_changed_number_is_measured_again(tmp_path):
    path, made = tmp_path / "evaluations" / "a.json", []

    def measure():
        made.append(1)
        return {"ece": 0.25}

    for _ in range(2):
        assert remembered(path, measure, dict, dict) == {"ece": 0.25}
    assert len(made) == 1
    path.write_text(path.read_text().replace("0.25", "0.05"))
    with pytest.warns(UserWarning, match="does not match its checksum.*measured again"):
        assert remembered(path, measure, dict, dict) == {"ece": 0.25}
    path.write_text('{"ece": 0.5}')  # of a version without checksums
    assert remembered(path, measure, dict, dict) == {"ece": 0.5}


def test_no_interval_ends_beyond_what_the_measure_can_be():
    class Wide:
        method = "made"

        def interval(self, level):
            return (-0.2, 1.3)

    found = with_interval(Estimate(0.9), Wide(), 0.95, (0.0, 1.0))
    assert (found.low, found.high) == (0.0, 1.0)
