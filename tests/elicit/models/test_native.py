"""Dialects of their own, each against a small server that speaks it."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from vlmcal.elicit import ask
from vlmcal.elicit.models.load import load_chat_model
from vlmcal.elicit.models.native import NATIVE
from vlmcal.errors import BackboneError, SpecError
from vlmcal.types.question import Question

YES, NO = math.log(0.6), math.log(0.4)
THOUGHT = "Could it be no?"


def anthropic(body):
    return {
        "model": "m-1",
        "content": [{"type": "thinking", "thinking": THOUGHT}, {"type": "text", "text": "Yes"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 3},
    }


def gemini(body):
    top = [{"token": "Yes", "logProbability": YES}, {"token": "No", "logProbability": NO}]
    return {
        "candidates": [
            {
                "content": {"parts": [{"text": THOUGHT, "thought": True}, {"text": "Yes"}]},
                "finishReason": "STOP",
                "logprobsResult": {
                    "topCandidates": [{"candidates": top}],
                    "chosenCandidates": top[:1],
                },
            }
        ],
        "usageMetadata": {
            "promptTokenCount": 12,
            "candidatesTokenCount": 1,
            "thoughtsTokenCount": 2,
        },
    }


def ollama(body):
    top = [{"token": "Yes", "logprob": YES}, {"token": "No", "logprob": NO}]
    return {
        "model": "m",
        "message": {"role": "assistant", "content": "Yes", "thinking": THOUGHT},
        "done_reason": "stop",
        "prompt_eval_count": 12,
        "eval_count": 3,
        "logprobs": [{"token": "Yes", "logprob": YES, "top_logprobs": top}],
    }


def responses(body):
    top = [{"token": "Yes", "logprob": YES}, {"token": "No", "logprob": NO}]
    text = {"type": "output_text", "text": "Yes", "logprobs": [{**top[0], "top_logprobs": top}]}
    return {
        "status": "completed",
        "output": [
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": THOUGHT}]},
            {"type": "message", "content": [text]},
        ],
        "usage": {
            "input_tokens": 12,
            "output_tokens": 3,
            "output_tokens_details": {"reasoning_tokens": 2},
        },
    }


ANSWERS = {f.__name__: f for f in (anthropic, gemini, ollama, responses)}


@pytest.fixture
def server():
    """Answers with ``reply(body)``, a status and JSON; keeps paths, headers and bodies."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args):
            pass

        def do_GET(self):
            self.send({"data": [{"id": "other"}], "models": [{"name": "models/other"}]}, 200)

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            http.seen.append((self.path, dict(self.headers), body))
            self.send(*http.reply(body))

        def send(self, data, status):
            content = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.seen = []
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    yield http
    http.shutdown()
    http.server_close()


def model(server, kind, **more):
    url = f"{kind}+http://127.0.0.1:{server.server_address[1]}"
    return load_chat_model(url, name="m", **more)


@pytest.fixture
def question(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "x.png")
    return Question(
        id="1", question="Is it?", answer_type="yes_no", images=(str(tmp_path / "x.png"),)
    )


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_answer_in_each_dialect(server, question, kind, monkeypatch, tmp_path):
    monkeypatch.setenv(NATIVE[kind].key, "secret-of-sixteen-letters")
    server.reply = lambda body: (ANSWERS[kind](body), 200)
    made = ask(
        [question], model=model(server, kind), elicitors="option_logits", folder=tmp_path / "a"
    )
    (answer,) = made.answers
    assert answer.reading.answer == "yes"
    if kind == "anthropic":
        assert answer.reading.confidence_status == "unsupported"
    else:
        assert answer.reading.confidence == pytest.approx(0.6)
    line = json.loads((tmp_path / "a" / "responses.jsonl").read_text().splitlines()[-1])["response"]
    assert line["reasoning"] == THOUGHT
    assert (line["prompt_tokens"], line["completion_tokens"]) == (12, 3)
    path, headers, body = server.seen[-1]
    assert path.endswith(NATIVE[kind].path("m"))
    assert "secret-of-sixteen-letters" in " ".join(headers.values())
    assert "iVBOR" in json.dumps(body)  # the image
    assert made.about["model"].startswith(f"{kind}:m@127.0.0.1")


@pytest.mark.parametrize("kind", ANSWERS)
def test_room_and_refusals_are_those_of_every_server(server, kind):
    asked = Question(id="1", question="Is it?", answer_type="yes_no")

    def reply(body):
        told = json.dumps(body)
        if '"temperature"' in told:
            return {"error": {"message": "`temperature` is deprecated for this model."}}, 400
        return ANSWERS[kind](body), 200

    server.reply = reply
    made = ask([asked], model=model(server, kind, extra={"seen": 1}), elicitors="option_logits")
    assert made.answers[0].reading.answer == "yes"
    assert server.seen[-1][2]["seen"] == 1
    notes = made.about["capabilities"]["subject"]["notes"]
    assert any("temperature" in note for note in notes)
    server.reply = lambda body: ({"error": {"message": "model 'm' not found"}}, 404)
    with pytest.raises(BackboneError, match=r'no model "m".*other'):
        ask([asked], model=model(server, kind))


def test_what_gemini_blocks_is_filtered(server):
    server.reply = lambda body: ({"promptFeedback": {"blockReason": "SAFETY"}}, 200)
    asked = Question(id="1", question="Is it?", answer_type="yes_no")
    made = ask([asked], model=model(server, "gemini"))
    assert made.answers[0].reading.status == "refused"


def test_kinds_and_names_are_checked():
    assert load_chat_model("anthropic:m").identity == "anthropic:m@api.anthropic.com"
    with pytest.raises(SpecError, match="--name"):
        load_chat_model("ollama+http://localhost:11434")
