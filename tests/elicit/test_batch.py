"""Questions asked through a batch API: rounds, refusals, lost answers, and going on after an interruption."""

import asyncio
import json
import re
import threading
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vlmcal.elicit import ask
from vlmcal.elicit.models.batch import BatchChat
from vlmcal.elicit.models.batch_anthropic import AnthropicBatch
from vlmcal.elicit.models.load import load_chat_model
from vlmcal.elicit.models.server import find_server
from vlmcal.errors import BackboneError, SpecError
from vlmcal.hashing import digest
from vlmcal.io.json_files import read_sealed
from vlmcal.types.question import Question

POLAR = [Question(id=str(i), question=f"Is it {i}?", answer_type="yes_no") for i in range(5)]


class Batches:
    """A server with files and batches; a batch ends at its second look."""

    def __init__(self, refuses=(), loses=0, lists=True):
        self.files, self.batches, self.sizes, self.looks = {}, {}, [], {}
        self.tags, self.lists = {}, lists
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
                if self.path.partition("?")[0] == "/v1/batches":
                    if not outer.lists:
                        self.send_error(404)
                        return
                    listed = [
                        {"id": n, "object": "batch", "metadata": m} for n, m in outer.tags.items()
                    ]
                    self.send({"object": "list", "data": listed, "has_more": False})
                    return
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
        self.tags[name] = asked["metadata"]
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


def waiting(folder):
    """Batches that a folder waits for, by their identity."""
    return read_sealed(folder / "batches.json")


def test_follow_ups_are_rounds(tmp_path):
    with Batches() as server:
        asked = ask(
            POLAR, model=chat(server, tmp_path), elicitors="self_probe", parallel=100, folder=tmp_path / "a"
        )  # fmt: skip
    assert [(a.reading.answer, a.reading.confidence) for a in asked.answers] == [("no", 0.8)] * 5
    assert server.sizes == [5, 5]
    assert server.direct == 1  # the probe
    assert waiting(tmp_path) == {}
    assert asked.about["costs"][0]["tokens_in"] == 100


def test_refused_parts_and_lost_answers_are_asked_again(tmp_path):
    with Batches(refuses=("max_tokens",), loses=2) as server:
        asked = ask(POLAR, model=chat(server, tmp_path), parallel=100)
    assert [a.reading.answer for a in asked.answers] == ["no"] * 5
    assert sum(server.sizes) > 5


def test_a_batch_under_way_is_waited_for_and_not_submitted_again(tmp_path):
    async def leave(model, server):
        work = asyncio.create_task(model._post({"model": "m", "messages": [], "max_tokens": 9}))
        while not server.sizes:
            await asyncio.sleep(0.01)
        work.cancel()
        await model.close()

    async def come_back(model):
        said = await model._post({"model": "m", "messages": [], "max_tokens": 9})
        await model.close()
        return said

    with Batches() as server:
        asyncio.run(asyncio.wait_for(leave(chat(server, tmp_path), server), 20))
        said = asyncio.run(asyncio.wait_for(come_back(chat(server, tmp_path)), 20))
    assert said["choices"]
    assert server.sizes == [1]


async def one(model):
    try:
        return await model._post({"model": "m", "messages": [], "max_tokens": 9})
    finally:
        await model.close()


def killed(kind, *, before):
    """A model of the kind that dies when it hands in a batch, before or after the server has it."""

    class Killed(kind):
        async def _create(self, requests, tag):
            if not before:
                await super()._create(requests, tag)
            raise KeyboardInterrupt

    return Killed


@pytest.mark.parametrize("before", [True, False])
def test_a_command_killed_at_handing_in_submits_once(tmp_path, before):
    with Batches() as server:
        given = {"state": tmp_path / "batches.json", "quiet": 0.1, "every": 0.05}
        place = find_server(server.url)
        model = killed(BatchChat, before=before)(place, "m", **given)
        whole = model._whole({"model": "m", "messages": [], "max_tokens": 9})
        name = digest(whole)[:32]

        async def run():
            model._waiting[name] = (whole, asyncio.get_running_loop().create_future())
            await model._submit()

        with pytest.raises(KeyboardInterrupt):
            asyncio.run(run())
        (entry,) = waiting(tmp_path)
        assert entry.startswith("submitting:")
        said = asyncio.run(asyncio.wait_for(one(BatchChat(place, "m", **given)), 20))
    assert said["choices"]
    assert server.sizes == [1]
    assert waiting(tmp_path) == {}


def test_a_server_that_lists_no_batches_is_not_paid_twice(tmp_path):
    (tmp_path / "batches.json").write_text('{"submitting:abc:1": ["n"]}')
    with Batches(lists=False) as server, pytest.raises(BackboneError, match="take the entry"):
        asyncio.run(asyncio.wait_for(one(chat(server, tmp_path)), 20))
    assert server.sizes == []


class Messages:
    """Anthropic's Message Batches; a batch ends at its second look."""

    def __init__(self):
        self.batches, self.looks, self.direct, self.headers = {}, {}, 0, []

    def answer(self, method, path, body):
        if path == "/v1/messages":
            self.direct += 1
            return message()
        if (method, path) == ("POST", "/v1/messages/batches"):
            name = f"msgbatch_{len(self.batches)}"
            self.batches[name] = body["requests"]
            return {"id": name, "processing_status": "in_progress"}
        if path == "/v1/messages/batches":
            return {
                "data": [
                    {
                        "id": name,
                        "created_at": datetime.now(UTC).isoformat(),
                        "request_counts": {"processing": len(asked), "succeeded": 0},
                    }
                    for name, asked in self.batches.items()
                ]
            }
        name = path.split("/")[4]
        if not path.endswith("/results"):
            self.looks[name] = self.looks.get(name, 0) + 1
            return {"processing_status": "ended" if self.looks[name] > 1 else "in_progress"}
        lines = []
        for number, each in enumerate(self.batches[name]):
            assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", each["custom_id"])
            assert each["params"]["max_tokens"]
            result = {"type": "succeeded", "message": message()}
            if number == 0 and name == "msgbatch_0":
                result = {"type": "expired"}
            elif "temperature" in each["params"]:
                said = {
                    "type": "invalid_request_error",
                    "message": "`temperature` is deprecated for this model",
                }
                result = {"type": "errored", "error": {"type": "error", "error": said}}
            lines.append(json.dumps({"custom_id": each["custom_id"], "result": result}))
        return "\n".join(lines)


def message():
    text = {"type": "text", "text": "Answer: no\nConfidence: 80%"}
    usage = {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 4}
    return {"content": [text], "stop_reason": "end_turn", "usage": usage}


@contextmanager
def anthropic(outer):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self.send(outer.answer("POST", self.path, body))

        def do_GET(self):
            self.send(outer.answer("GET", self.path.partition("?")[0], None))

        def send(self, data):
            outer.headers.append({name.lower(): value for name, value in self.headers.items()})
            content = data.encode() if isinstance(data, str) else json.dumps(data).encode()
            self.send_response(200)
            kind = "application/x-jsonl" if isinstance(data, str) else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()


def test_anthropic_batches_with_rounds_refusals_and_expired_messages(tmp_path, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-test-0123456789")
    outer = Messages()
    with anthropic(outer) as url:
        model = load_chat_model(f"anthropic+{url}", name="m", batch=tmp_path / "batches.json")
        model._quiet, model._every = 0.1, 0.05
        asked = ask(POLAR, model=model, parallel=100, folder=tmp_path / "a")
    assert [(a.reading.answer, a.reading.confidence) for a in asked.answers] == [("no", 0.8)] * 5
    assert outer.direct == 1  # the probe
    assert len(outer.batches["msgbatch_0"]) == 5
    assert all(h["x-api-key"] == "sk-ant-test-0123456789" for h in outer.headers)
    assert asked.about["costs"][0]["tokens_cached"] == 20
    assert waiting(tmp_path) == {}


@pytest.mark.parametrize("before", [True, False])
def test_an_anthropic_batch_whose_name_was_lost_is_found(tmp_path, before):
    outer = Messages()
    outer.batches["msgbatch_earlier"] = []
    with anthropic(outer) as url:
        given = {"state": tmp_path / "batches.json", "quiet": 0.1, "every": 0.05}
        place = find_server(url, "NO_SUCH_KEY", optional=True)
        body = {"model": "m", "messages": [], "max_tokens": 9}
        model = killed(AnthropicBatch, before=before)(place, "m", **given)
        name = digest(model._whole(body))[:32]

        async def run():
            model._waiting[name] = (model._whole(body), asyncio.get_running_loop().create_future())
            await model._submit()

        with pytest.raises(KeyboardInterrupt):
            asyncio.run(run())
        said = asyncio.run(asyncio.wait_for(one(AnthropicBatch(place, "m", **given)), 20))
    assert said["choices"]
    assert len(outer.batches) == 2


def test_models_without_batches_are_refused(tmp_path):
    with pytest.raises(SpecError, match="--batch"):
        load_chat_model("ollama:m", batch=tmp_path / "batches.json")
