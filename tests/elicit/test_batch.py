"""Questions asked through a batch API: rounds, refusals, lost answers, and going on after an interruption."""

import asyncio
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vlmcal.elicit import ask
from vlmcal.elicit.models.batch import BatchChat
from vlmcal.elicit.models.load import load_chat_model
from vlmcal.elicit.models.server import find_server
from vlmcal.errors import SpecError
from vlmcal.types.question import Question

POLAR = [Question(id=str(i), question=f"Is it {i}?", answer_type="yes_no") for i in range(5)]


class Batches:
    """A server with files and batches; a batch ends at its second look."""

    def __init__(self, refuses=(), loses=0):
        self.files, self.batches, self.sizes, self.looks = {}, {}, [], {}
        self.refuses, self.loses, self.direct = refuses, loses, 0

    def __enter__(self):
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/files":
                    assert b'name="purpose"\r\n\r\nbatch' in content
                    part = re.search(rb'filename="[^"]*"\r\n.*?\r\n\r\n(.*)\r\n--', content, re.S)[
                        1
                    ]
                    self.send({"id": outer.keep(part), "object": "file"})
                elif self.path == "/v1/batches":
                    self.send(outer.begin(json.loads(content)))
                else:
                    outer.direct += 1
                    self.send(completion())

            def do_GET(self):
                *_, name = self.path.removesuffix("/content").split("/")
                if self.path.endswith("/content"):
                    self.send(outer.files[name])
                else:
                    self.send(outer.look(name))

            def send(self, data):
                content = data if isinstance(data, bytes) else json.dumps(data).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def keep(self, content):
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    def begin(self, asked):
        assert asked["endpoint"] == "/v1/chat/completions"
        assert asked["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[asked["input_file_id"]].splitlines()]
        self.sizes.append(len(lines))
        name = f"batch-{len(self.batches)}"
        self.batches[name] = lines
        return {"id": name, "object": "batch", "status": "validating"}

    def look(self, name):
        self.looks[name] = self.looks.get(name, 0) + 1
        if self.looks[name] < 2:
            return {"id": name, "object": "batch", "status": "in_progress"}
        right, wrong = [], []
        for line in self.batches[name]:
            assert (line["method"], line["url"]) == ("POST", "/v1/chat/completions")
            refused = [part for part in self.refuses if part in line["body"]]
            if self.loses:
                self.loses -= 1
                continue
            said = {
                "error": {
                    "message": f"Unsupported parameter: {refused}",
                    "param": (refused or [""])[0],
                }
            }
            answer = (
                {"status_code": 400, "body": said}
                if refused
                else {"status_code": 200, "body": completion()}
            )
            record = {"custom_id": line["custom_id"], "response": answer, "error": None}
            (wrong if refused else right).append(json.dumps(record))
        return {
            "id": name, "object": "batch", "status": "completed",
            "output_file_id": self.keep("\n".join(right).encode()) if right else None,
            "error_file_id": self.keep("\n".join(wrong).encode()) if wrong else None,
        }  # fmt: skip


def completion():
    message = {"role": "assistant", "content": "Answer: no\nConfidence: 80%"}
    usage = {"prompt_tokens": 10, "completion_tokens": 5}
    return {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def chat(server, tmp_path):
    return BatchChat(
        find_server(server.url), "m", state=tmp_path / "batches.json", quiet=0.1, every=0.05
    )


def test_follow_ups_are_rounds(tmp_path):
    with Batches() as server:
        asked = ask(
            POLAR, model=chat(server, tmp_path), elicitors="self_probe", parallel=100, folder=tmp_path / "a"
        )  # fmt: skip
    assert [(a.reading.answer, a.reading.confidence) for a in asked.answers] == [("no", 0.8)] * 5
    assert server.sizes == [5, 5]
    assert server.direct == 1  # the probe
    assert json.loads((tmp_path / "batches.json").read_text()) == {}
    assert asked.about["costs"][0]["tokens_in"] == 100


def test_refused_parts_and_lost_answers_are_asked_again(tmp_path):
    with Batches(refuses=("max_tokens",), loses=2) as server:
        asked = ask(POLAR, model=chat(server, tmp_path), parallel=100)
    assert [a.reading.answer for a in asked.answers] == ["no"] * 5
    assert sum(server.sizes) > 5


def test_a_batch_under_way_is_waited_for_and_not_submitted_again(tmp_path):
    async def leave(model):
        work = asyncio.create_task(model._post({"model": "m", "messages": [], "max_tokens": 9}))
        while not (tmp_path / "batches.json").is_file():
            await asyncio.sleep(0.01)
        work.cancel()
        await model.close()

    async def come_back(model):
        said = await model._post({"model": "m", "messages": [], "max_tokens": 9})
        await model.close()
        return said

    with Batches() as server:
        asyncio.run(asyncio.wait_for(leave(chat(server, tmp_path)), 20))
        said = asyncio.run(asyncio.wait_for(come_back(chat(server, tmp_path)), 20))
    assert said["choices"]
    assert server.sizes == [1]


def test_models_without_batches_are_refused(tmp_path):
    with pytest.raises(SpecError, match="--batch"):
        load_chat_model("ollama:m", batch=tmp_path / "batches.json")
