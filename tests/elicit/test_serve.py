"""The OpenAI-compatible client against a real server, ``transformers serve``, on a tiny model.

What the server does today is not tested, because its next release may do better: where its manners matter,
the same is asked of it directly, and the client must agree. Servers of other manners: ``fault_server.py``.
"""

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import replace

import pytest
from PIL import Image

from tiny_vlm import make_tiny_vlm
from vlmcal.elicit.base import make_elicitor
from vlmcal.elicit.models.completions import read_complaint
from vlmcal.elicit.models.transformers_local import transformers_chat
from vlmcal.errors import BackboneError
from vlmcal.types.chat import ImageRef, Message, Request
from vlmcal.types.question import Question

NEEDS = ("openai", "fastapi", "uvicorn", "accelerate")
MISSING = [name for name in NEEDS if importlib.util.find_spec(name) is None]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"transformers serve needs {', '.join(MISSING)}"),
    pytest.mark.skipif(os.name != "posix", reason="the server is stopped by its process group"),
]
START, CALL, STOP = 120.0, 30.0, 5.0
MODEL = "tiny"
# Ends with the tests even where these are killed, because its standard input then closes.
CODE = """
import os, sys, threading
from transformers.cli.transformers import main
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(1)), daemon=True).start()
sys.exit(main())
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def get(url, body=None):
    """The answer to a GET, or to a POST of ``body``, without our client."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=CALL) as answer:
        return json.loads(answer.read())


def asked(url, **settings):
    """The completion of a short question, without our client."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "max_tokens": 2}
    return get(f"{url}/chat/completions", {**body, **settings})


def wait_until_ready(process, port, log):
    deadline = time.monotonic() + START
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the server ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        with contextlib.suppress(OSError, ValueError):
            if get(f"http://127.0.0.1:{port}/health") == {"status": "ok"}:
                return
        time.sleep(0.2)
    pytest.fail(f"the server was not ready after {START:g} s:\n{log.read_text()[-3000:]}")


def stop(process):
    # The group, so that nothing that the server started outlives it.
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """URL of a server of one model, which it names as the folder beside which it was started."""
    where = tmp_path_factory.mktemp("server")
    # A checkpoint that draws unless it is told not to: the server itself never switches drawing on.
    make_tiny_vlm(where / MODEL, generation={"do_sample": True, "temperature": 0.6})
    (where / "hub").mkdir()
    port, log = free_port(), where / "log.txt"
    environment = {
        **os.environ, "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(where / "hub"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    options = ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, "serve", MODEL, *options],
            cwd=where, env=environment, stdout=stream, stderr=stream, stdin=subprocess.PIPE,
            start_new_session=True,
        )  # fmt: skip
        try:
            wait_until_ready(process, port, log)
            yield f"http://127.0.0.1:{port}/v1", where
        finally:
            stop(process)


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "chest.png"
    image = Image.new("RGB", (48, 40), "red")
    image.paste(Image.new("RGB", (24, 40), "white"), (24, 0))
    image.save(path)
    return str(path)


def run(url, work, **options):
    """What ``work(chat)`` gives, in an event loop of its own."""
    from vlmcal.elicit.models.openai_http import openai_chat

    async def whole():
        chat = openai_chat(url, model=options.pop("model", MODEL), timeout=CALL, **options)
        try:
            return await work(chat), chat
        finally:
            await chat.close()

    return asyncio.run(asyncio.wait_for(whole(), 2 * CALL))


def test_the_probe_finds_whether_log_probabilities_are_returned(server):
    _, chat = run(server[0], lambda chat: chat.probe())
    (choice,) = asked(server[0], logprobs=True, top_logprobs=2, temperature=0)["choices"]
    given = bool((choice.get("logprobs") or {}).get("content"))
    assert chat.capabilities.logprobs is given
    assert any("log-probabilities" in note for note in chat.capabilities.notes) is not given
    host = server[0].removeprefix("http://")
    assert chat.identity == f"openai:{MODEL}@{host}"


def test_it_answers_about_an_image_as_the_local_model_does(server, picture):
    turns = (
        Message("system", "Be brief."),
        Message("user", "Is it?", (ImageRef(picture), ImageRef(picture, "blank"))),
    )
    request = Request(messages=turns, max_tokens=8)
    served, chat = run(server[0], lambda chat: chat.generate(request))
    local = asyncio.run(transformers_chat(str(server[1] / MODEL)).generate(request))
    assert (served.status, served.tokens) == ("ok", None)
    assert served.text == local.text
    assert (served.prompt_tokens, served.completion_tokens, served.finish_reason) == (
        local.prompt_tokens, local.completion_tokens, local.finish_reason,
    )  # fmt: skip
    assert chat.capabilities.images is True
    assert served.served_by == asked(server[0])["model"]


def test_option_logits_are_read_or_unsupported_and_never_made_up(server, picture):
    """Played against the real server, a missing log-probability is a state and never a number."""
    question = Question(id="1", question="Is it?", images=(picture,), answer_type="yes_no")
    plan = make_elicitor("option_logits").plan(question)
    (request,) = next(plan)
    response, _ = run(server[0], lambda chat: chat.generate(request))
    with pytest.raises(StopIteration) as end:
        # What a random model says is no answer, and what it gives for the options is none either.
        plan.send([replace(response, text="No", tokens=None, finish_reason="stop")])
    reading = end.value.value
    assert (reading.answer, reading.confidence, reading.confidence_status) == (
        "no",
        None,
        "unsupported",
    )


def test_greedy_answers_agree_and_draws_differ(server, picture):
    base = Request(messages=(Message("user", "?", (ImageRef(picture),)),), max_tokens=6)

    async def several(chat):
        greedy = [await chat.generate(base) for _ in range(2)]
        hot = replace(base, temperature=1.0)
        drawn = [await chat.generate(replace(hot, sample=k)) for k in (0, 1, 2, 0)]
        return [r.text for r in greedy], [r.text for r in drawn]

    (greedy, drawn), _ = run(server[0], several)
    assert greedy[0] == greedy[1]
    assert len(set(drawn[:3])) == 3
    assert drawn[3] == drawn[0]  # the seed arrives


def test_another_model_is_refused_with_the_servers_words(server):
    with pytest.raises(urllib.error.HTTPError) as refused:
        asked(server[0], model="gpt")
    said = read_complaint(refused.value.read()).message
    assert "gpt" in said
    with pytest.raises(BackboneError, match=re.escape(said)):
        run(server[0], lambda chat: chat.probe(), model="gpt")


def test_the_model_is_the_only_one_that_the_server_lists_or_must_be_named(server):
    listed = [model["id"] for model in get(f"{server[0]}/models")["data"]]
    if len(listed) == 1:
        _, chat = run(server[0], lambda chat: chat.probe(), model=None)
        assert chat.identity.startswith(f"openai:{listed[0]}@")
    else:
        with pytest.raises(BackboneError, match=f"has {len(listed)} models; name one of them"):
            run(server[0], lambda chat: chat.probe(), model=None)
