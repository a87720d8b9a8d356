"""Keys that servers repeat, images outside the folder, and answers of any length."""

import base64
import json
import time
from urllib.parse import quote

import pytest
from PIL import Image

from elicit.fault_server import FaultServer, Manner
from vlmcal.data.vqa.base import load_questions
from vlmcal.elicit import ask
from vlmcal.elicit.models.completions import read_completion
from vlmcal.elicit.models.secrets import hide
from vlmcal.elicit.models.server import find_server
from vlmcal.elicit.parse.answers import parse_answer
from vlmcal.elicit.parse.numbers import parse_confidence
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.errors import DataError, SpecError
from vlmcal.types.chat import Response, Token
from vlmcal.types.question import Question

KEY = "sk-proj-Zq8/+x0123456789wxyz"
ECHOES = (
    KEY,
    f"Bearer {KEY}",
    f"Authorization: Bearer {KEY}",
    quote(KEY, safe=""),
    base64.b64encode(KEY.encode()).decode(),
    KEY[:5] + "..." + KEY[-4:],
    KEY[:8] + "*" * 12 + KEY[-4:],
    KEY[:3] + "…" + KEY[-4:],
    "****" + KEY[-4:],
    KEY[:20],
    f'{{"x-api-key": "{KEY}"}}',
    json.dumps(json.dumps(KEY.replace("/", "\\/"))),
    "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "".join(f"%{ord(letter):02X}" for letter in KEY),
    quote(quote(KEY, safe="")),
    "".join(f"&#{ord(letter)};" for letter in KEY),
    "".join(f"&amp;#x{ord(letter):X};" for letter in KEY),
    KEY.encode().hex(),
    base64.b64encode(f"Bearer {KEY}".encode()).decode(),
    base64.urlsafe_b64encode(f"a:{KEY}".encode()).decode(),
    base64.encodebytes(b"0" * 40 + KEY.encode()).decode(),
    "\n  ".join((KEY[:9], KEY[9:17], KEY[17:])),
    '", "'.join((KEY[:9], KEY[9:17], KEY[17:])),
    "<br>".join(KEY),
    KEY[-15:],
)


@pytest.mark.parametrize("echo", ECHOES)
def test_a_key_is_hidden_in_every_form(echo):
    shown = hide(f"no. Key {echo} is wrong", KEY, answer=True)
    assert "[key]" in shown
    assert shown.startswith("no. Key ")
    assert shown.endswith(" is wrong")
    assert not any(KEY[i : i + 4] in shown for i in range(3, len(KEY) - 3))


def test_answers_that_hold_no_key_stay_as_they_are():
    for text in (
        "yes",
        "0123456789",
        "sk-proj- and 012345",
        "sk...",
        "the key...",
        "left lung...",
        "x" * 50,
        "1...2",
        "projection",
    ):
        assert hide(text, KEY, answer=True) == text
    assert hide("left lung", "left", answer=True) == "left lung"
    assert hide("the key EMPTY is wrong", "EMPTY") == "the key [key] is wrong"


def test_answers_that_repeat_a_key_are_kept_without_it(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server = find_server("http://localhost:1/v1")
    shown = server.without_key(
        Response(text=f"yes {KEY}", reasoning=KEY, tokens=(Token("y", -1.0),))
    )
    assert (shown.text, shown.reasoning, shown.tokens) == ("yes [key]", "[key]", None)
    assert server.without_key(Response(text="no", tokens=(Token("no", -1.0),))).tokens is not None
    with FaultServer(manner=Manner(key=KEY)) as place:
        asked = ask(
            [Question(id="1", question=f"Is it {KEY}?", answer_type="yes_no")],
            model=place.url, folder=tmp_path / "a",
        )  # fmt: skip
        assert asked.answers
        name = json.loads((tmp_path / "a" / "run.json").read_text())["model"]
    assert KEY not in name


def test_a_key_in_the_body_is_refused_before_it_is_written(tmp_path):
    for body in ({"api_key": "abc"}, {"extra": {"Authorization": "Bearer abc"}}):
        with pytest.raises(SpecError, match="--api-key-env") as refused:
            ask([Question(id="1", question="?")], model="http://localhost:1/v1", names={"subject": "m"},
                loading={"extra": body}, folder=tmp_path / "a")  # fmt: skip
        assert "abc" not in str(refused.value)
    assert not (tmp_path / "a").exists()


def test_images_outside_the_folder_are_refused(tmp_path):
    (tmp_path / "mine").mkdir()
    for place in ("secret.png", "mine/own.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / place)
    table = tmp_path / "mine" / "q.csv"
    for name in ("../secret.png", str(tmp_path / "secret.png"), "own.png|../secret.png"):
        table.write_text(f"image,question,answer\n{name},Is it?,yes\n")
        with pytest.raises(DataError, match="--allow-outside"):
            load_questions(table)
        assert len(load_questions(table, allow_outside=True)) == 1
    table.write_text(f"image,question,answer\n{tmp_path / 'secret.png'},Is it?,yes\n")
    assert len(load_questions({"path": table, "images": tmp_path})) == 1
    table.write_text("image,question,answer\nown.png,Is it?,yes\n")
    assert len(load_questions(table)) == 1


@pytest.mark.parametrize(
    "text", [" " * 200_000 + "x", "*" * 200_000, "A. x\n" * 8_000, "yes " * 50_000]
)
def test_long_answers_hold_nobody_up(text):
    start = time.perf_counter()
    for question in (
        Question(id="1", question="?"),
        Question(id="2", question="?", answer_type="choice", options=("effusion", "mass")),
    ):
        parse_answer(text, question)
    parse_confidence(text, "percent")
    assert time.perf_counter() - start < 60
    thought = "<think>" + "Hm. " * 50_000 + "</think>no"
    assert (
        parse_answer(thought, Question(id="3", question="?", answer_type="yes_no")).answer == "no"
    )


def test_an_answer_of_twenty_megabytes_is_one_that_failed():
    said = read_completion(
        {"choices": [{"message": {"content": "y" * 20_000_000}}]}, logprobs=False
    )
    assert said.response.status == "failed"
    assert "20,000,000" in said.response.error


def test_lines_of_other_types_count_as_not_asked(tmp_path):
    path = tmp_path / "responses.jsonl"
    lines = [
        {"key": "a", "status": "ok", "response": {"text": 5}},
        {"key": "b", "status": "ok", "response": []},
        {"key": ["c"], "status": "ok", "response": {"text": "yes", "seconds": "long"}},
        {"key": "d", "status": "ok", "response": {"text": "yes", "tokens": 3}},
        {"key": "e", "status": "ok", "response": {"text": "yes"}},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "garbage\n")
    with ResponseLog(path) as log:
        assert [log.get(k) and log.get(k).text for k in "abde"] == [None, None, None, "yes"]
        assert log.damaged == 4
