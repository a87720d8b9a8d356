"""The HTTP chat model against a server that departs from the format and fails on purpose."""

import asyncio
import base64
import json
import logging
import math
import subprocess
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from pathlib import Path

import pytest
from PIL import Image

from elicit.fault_server import FAULTS, FaultServer, Manner, answer_of
from vlmcal.elicit.models.base import PermanentError, TransientError
from vlmcal.elicit.models.completions import read_completion
from vlmcal.elicit.models.logprobs import join_tokens
from vlmcal.elicit.models.openai_http import OpenAIChat, openai_chat
from vlmcal.elicit.models.refusals import retry_after
from vlmcal.elicit.models.server import find_server
from vlmcal.elicit.pacing import Pace, RateLimited
from vlmcal.errors import BackboneError, SpecError, VlmcalError
from vlmcal.types.chat import ImageRef, Message, Request

pytest.importorskip("openai")

KEY = "sk-proj-0123456789abcdefSECRET"


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)


def ask(text="Is there a fracture?", **options) -> Request:
    options = {"logprobs": 5, **options}
    messages = (Message("system", "Answer."), Message("user", text))
    return Request(messages=messages, **options)


def using(server: FaultServer, work: Callable[[OpenAIChat], Awaitable], **options):
    """What ``work`` makes of a model on the server."""

    async def run():
        model = openai_chat(server.url, **{"timeout": 10.0, **options})
        try:
            return await work(model)
        finally:
            await model.close()

    return asyncio.run(run())


def one(server: FaultServer, request: Request | None = None, **options):
    return using(server, lambda model: model.generate(request or ask()), **options)


def facts(manner: Manner, request: Request | None = None):
    """Capabilities after a probe and a request, and the response."""

    async def work(model):
        await model.probe()
        response = await model.generate(request or ask(logprobs=20, temperature=0.7, sample=1))
        return model.capabilities, response

    with FaultServer(manner=manner) as server:
        return (*using(server, work), server)


def test_an_answer_with_everything():
    with FaultServer() as server:
        response = one(server)
    answer, percent = answer_of(server.bodies[0])
    assert response.text == f"Answer: {answer}\nConfidence: {percent}%"
    assert (response.status, response.finish_reason) == ("ok", "stop")
    assert response.served_by == "tiny-vlm-2026"
    assert response.completion_tokens == 8
    assert response.prompt_tokens == len("Answer." + ask().messages[1].text + '""""') // 4
    assert 0 < response.seconds < 10
    assert join_tokens(response.tokens) == response.text
    chosen = response.tokens[2]
    assert chosen.text == f" {answer}"
    assert chosen.logprob == pytest.approx(math.log(percent / 100))
    assert len(chosen.top) == 5
    assert chosen.top[0].logprob >= chosen.top[1].logprob


def test_images_are_sent_as_they_are_before_the_text(tmp_path):
    path = tmp_path / "scan.png"  # a JPEG under a wrong name
    Image.new("L", (3, 2), 7).save(path, "JPEG")
    request = Request(messages=(Message("user", "What?", (ImageRef(str(path)),)),))
    with FaultServer() as server:
        capabilities = using(server, lambda m: _ask_then_facts(m, request), detail="low")
    part, text = server.bodies[0]["messages"][0]["content"]
    head, _, encoded = part["image_url"]["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(encoded) == path.read_bytes()
    assert part["image_url"]["detail"] == "low"
    assert text == {"type": "text", "text": "What?"}
    assert capabilities.images is True


async def _ask_then_facts(model, request):
    await model.generate(request)
    return model.capabilities


# The matrix: how a server departs, and what must be known about it after the probe and one request.
@pytest.mark.parametrize(
    ("manner", "expected", "has_tokens", "note"),
    [
        (Manner(), (True, 20, False), True, None),
        (Manner(logprobs="dropped"), (False, None, None), False, "it gave none"),
        (Manner(logprobs="empty"), (False, None, None), False, "it gave none"),
        (Manner(refuses=("logprobs",)), (False, None, None), False, "refuses requests for log"),
        (Manner(refuses=("top_logprobs",)), (True, 0, False), True, "refuses to give alternatives"),
        (Manner(logprobs="no-top"), (True, 0, False), True, None),
        (Manner(most_alternatives=5), (True, 5, False), True, "at most 5 alternatives"),
        (Manner(most_alternatives=5, silent_limit=True), (True, 5, False), True, "at most 5"),
        (Manner(most_alternatives=0), (True, 0, False), True, None),
        (Manner(logprobs="sentinel"), (True, 20, True), True, "-9999"),
        (Manner(logprobs="sentinel-chosen"), (False, None, True), False, "-9999"),
        (Manner(logprobs="nan"), (False, None, None), False, "nan"),
        (Manner(logprobs="positive"), (True, 20, False), True, "0.5"),
        (Manner(logprobs="null-bytes"), (True, 20, False), True, None),
        (Manner(logprobs="completion"), (True, 20, False), True, None),
        (Manner(logprobs="llama"), (True, 20, False), True, "sampling filters"),
        (Manner(refuses=("max_tokens",)), (True, 20, False), True, "max_completion_tokens"),
        (Manner(refuses=("temperature",)), (True, 20, False), True, "temperature"),
        (Manner(refuses=("seed",)), (True, 20, False), True, "seed"),
        (Manner(refuses=("system",)), (True, 20, False), True, "system messages"),
        (
            Manner(refuses=("max_tokens", "temperature", "logprobs")),
            (False, None, None),
            False,
            "max_completion_tokens",
        ),
        (Manner(usage=False), (True, 20, False), True, None),
    ],
    ids=repr,
)
def test_what_is_known_about_servers(manner, expected, has_tokens, note):
    known, response, server = facts(manner)
    assert (known.logprobs, known.top_logprobs, known.sentinel) == expected
    assert response.status == "ok"
    assert response.text.startswith("Answer: ")
    assert (response.tokens is not None) == has_tokens
    if note is None:
        assert known.notes == []
    else:
        assert any(note in each for each in known.notes), known.notes
    assert len(set(known.notes)) == len(known.notes)
    last = server.bodies[-1]
    assert not set(manner.refuses) & set(last)
    if not manner.usage:
        assert response.prompt_tokens is None


def test_what_was_learned_is_kept_so_that_later_requests_are_sent_once():
    refused = ("max_tokens", "temperature", "seed", "system", "logprobs")

    async def work(model):
        await model.probe()
        await model.generate(ask(temperature=0.7))
        before = len(server.bodies)
        await asyncio.gather(*(model.generate(ask(str(n), temperature=0.7)) for n in range(5)))
        return len(server.bodies) - before

    with FaultServer(manner=Manner(refuses=refused)) as server:
        assert using(server, work) == 5
    assert server.bodies[-1]["messages"][0]["content"].startswith("Answer.\n\n")


def test_the_probe_is_one_call_where_nothing_is_refused():
    with FaultServer() as server:
        using(server, lambda model: model.probe())
    assert len(server.bodies) == 1
    assert server.bodies[0]["max_tokens"] == 16


def test_later_responses_change_what_is_known():
    # Log-probabilities that some answers lack, as behind a load balancer.
    async def work(model):
        await model.probe()
        server.manner = Manner(logprobs="dropped")
        response = await model.generate(ask())
        return model.capabilities, response

    with FaultServer() as server:
        known, response = using(server, work)
    assert response.tokens is None
    assert known.logprobs is True
    assert any("with some answers" in note for note in known.notes)


@pytest.mark.parametrize(
    ("content", "text", "status", "reason", "error"),
    [
        ("parts", "Answer: ", "ok", "stop", ""),
        ("reasoning", "Answer: ", "ok", "stop", ""),
        ("null", "", "ok", "stop", ""),
        ("refusal", "", "filtered", "stop", "I cannot help"),
        ("filter", "Answer", "filtered", "content_filter", "content filter"),
        ("length", "Answer", "ok", "length", ""),
    ],
)
def test_contents(content, text, status, reason, error):
    with FaultServer(manner=Manner(content=content)) as server:
        response = one(server)
    assert response.text.startswith(text)
    assert "maybe" not in response.text
    assert "Hm" not in response.text
    assert (response.status, response.finish_reason) == (status, reason)
    assert error in response.error
    if not text:
        assert response.text == ""


@pytest.mark.parametrize(
    ("fault", "kind", "wait", "cause"),
    [
        ("429", RateLimited, None, "429"),
        ("429-wait", RateLimited, 0.05, "429"),
        ("429-date", RateLimited, 0.0, "429"),
        ("500", TransientError, None, "500"),
        ("503", TransientError, None, "503"),
        ("hang", TransientError, None, "within 0.3 s"),
        ("dribble", TransientError, None, "within 0.3 s"),
        ("truncated", TransientError, None, "expected JSON"),
        ("cut", TransientError, None, "connection failed"),
        ("html", TransientError, None, "Gateway Please log in"),
        ("empty", TransientError, None, "expected an answer with choices"),
        ("error-200", TransientError, None, "Provider returned error"),
        ("reset", TransientError, None, "connection failed"),
    ],
)
def test_faults_that_may_pass(fault, kind, wait, cause):
    patience = 0.3 if fault in ("hang", "dribble") else 10.0
    with (
        FaultServer(script=[fault], hang=2.0) as server,
        pytest.raises(TransientError, match=cause) as caught,
    ):
        one(server, timeout=patience, model="tiny-vlm")
    assert type(caught.value) is kind
    assert caught.value.wait == wait
    assert len(str(caught.value)) < 400
    assert len(server.bodies) == 1  # the client itself repeats nothing
    assert sum(server.answered.values()) == 0 or fault == "dribble"


def test_a_slow_answer_and_a_wrong_content_type_are_answers():
    with FaultServer(script=["dribble", "wrong-type"], hang=0.2) as server:
        assert one(server).status == "ok"
        assert one(server).status == "ok"


def test_a_server_that_is_not_there():
    async def work():
        model = openai_chat("http://127.0.0.1:9/v1", model="m", timeout=2)
        with pytest.raises(TransientError, match="connection failed"):
            await model.generate(ask())
        with pytest.raises(BackboneError, match="running"):
            await model.probe()
        await model.close()

    asyncio.run(work())
    with pytest.raises(BackboneError, match="is it running"):
        openai_chat("http://127.0.0.1:9/v1")


def test_refusals_of_a_request_are_permanent(tmp_path):
    path = tmp_path / "x.png"
    Image.new("L", (1, 1)).save(path)
    request = Request(messages=(Message("user", "What?", (ImageRef(str(path)),)),))

    async def work(model):
        with pytest.raises(PermanentError, match="not a multimodal"):
            await model.generate(request)
        return model.capabilities

    with FaultServer(manner=Manner(refuses=("images",))) as server:
        assert using(server, work).images is False
        assert len(server.bodies) == 1
        with pytest.raises(PermanentError, match="404"):
            one(server, model="other")
        with pytest.raises(PermanentError, match="UTF-8"):
            one(server, ask("\ud800"))


def test_models_on_the_server():
    with FaultServer(manner=Manner(models=("qwen-vl", "gemma-3"))) as server:
        with pytest.raises(BackboneError, match="2 models; name one of them: qwen-vl, gemma-3"):
            openai_chat(server.url)
        with pytest.raises(BackboneError, match=r'no model "qwen-v".*did you mean "qwen-vl"'):
            using(server, lambda m: m.probe(), model="qwen-v")
        using(server, lambda m: m.probe(), model="gemma-3")
    with FaultServer() as server:
        model = openai_chat(server.url)
        assert model.identity == f"openai:tiny-vlm@127.0.0.1:{server.port}/v1"
        assert repr(model) == f"OpenAIChat('{model.identity}')"
        with pytest.raises(BackboneError, match="URL is the one before"):
            asyncio.run(openai_chat(f"http://127.0.0.1:{server.port}/counts", model="m").probe())


def test_the_probe_outlasts_a_passing_fault():
    with FaultServer(script=["500", "429-wait"]) as server:
        assert using(server, lambda m: _probe_then_facts(m)).logprobs is True
        assert len(server.bodies) == 3


async def _probe_then_facts(model):
    await model.probe()
    return model.capabilities


def test_the_detail_is_part_of_the_identity():
    model = openai_chat("https://API.example.org/v1/?api-version=3", model="m", detail="low")
    assert model.identity == "openai:m@api.example.org/v1#detail=low"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("localhost:8000/v1", "expected a URL"),
        ("ftp://host/v1", "expected a URL"),
        (f"http://user:{KEY}@host/v1", "no password"),
        (f"http://host/v1?key={KEY}", "no password"),
        ("http://host/v1/chat/completions", "leave"),
    ],
)
def test_urls_that_cannot_be(url, told):
    with pytest.raises(SpecError, match=told) as caught:
        openai_chat(url, model="m")
    assert "SECRET" not in str(caught.value)


def test_keys_that_cannot_be(monkeypatch):
    for name, value in (
        (KEY, ""),
        ("hf_SECRETabc", ""),
        ("MY_KEY", ""),
        ("MY_KEY", "two SECRET words"),
        ("MY_KEY", "SECRET\u00e9"),
    ):
        if value:
            monkeypatch.setenv(name, value)
        with pytest.raises(SpecError, match="API key") as caught:
            find_server("http://host/v1", name)
        assert "SECRET" not in str(caught.value)


def test_the_key_appears_nowhere_but_in_the_request(monkeypatch, caplog, capfd):
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    told: list[str] = []

    async def work(model):
        told.extend([model.identity, repr(model), repr(model._server), str(vars(model))])
        await model.probe()
        response = await model.generate(ask())
        told.extend([repr(response), repr(model.capabilities)])
        for fault in FAULTS:
            server.script = [fault]
            try:
                await model.generate(ask())
            except TransientError as error:
                told.append(_all_of(error))

    with FaultServer(manner=Manner(key=KEY), hang=0.2) as server:
        using(server, work, api_key_env="MY_KEY")
        assert set(server.authorizations) == {f"Bearer {KEY}"}
        server.manner = Manner(key="another", models=("a", "b"))
        for call in (
            lambda: openai_chat(server.url, api_key_env="MY_KEY"),
            lambda: using(server, lambda m: m.probe(), model="a", api_key_env="MY_KEY"),
            lambda: one(server, model="a", api_key_env="MY_KEY"),
        ):
            with pytest.raises(BackboneError, match=r"refuses the key.*MY_KEY") as caught:
                call()
            told.append(_all_of(caught.value))
    out, err = capfd.readouterr()
    everything = "\n".join([*told, caplog.text, out, err])
    assert "POST" in caplog.text  # the log did listen
    for secret in (KEY, KEY[:8], KEY[-6:], base64.b64encode(KEY.encode()).decode()):
        assert secret not in everything


def _all_of(error: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def test_without_a_key_the_message_names_the_variable():
    with (
        FaultServer(manner=Manner(key=KEY)) as server,
        pytest.raises(BackboneError, match="put a key into OPENAI_API_KEY"),
    ):
        using(server, lambda m: m.probe(), model="tiny-vlm")


def test_an_account_without_credit_ends_the_run(monkeypatch):
    broke = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    model = openai_chat("http://host/v1", model="m")
    with pytest.raises(BackboneError, match="no credit"):
        model._fail(429, {}, broke)
    with pytest.raises(BackboneError, match="no credit"):
        model._fail(402, {}, b"{}")


def test_waits_that_servers_name():
    assert retry_after({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after({"retry-after": "12"}) == 12.0
    later = formatdate(time.time() + 30, usegmt=True)
    assert 28 < (retry_after({"retry-after": later}) or 0) <= 30
    for nonsense in ("", "soon", "-3", "nan"):
        assert retry_after({"retry-after": nonsense}) is None


def test_no_more_requests_are_on_their_way_than_allowed():
    async def work(model):
        await asyncio.gather(*(model.generate(ask(str(n))) for n in range(24)))

    with FaultServer(delay=0.03) as server:
        using(server, work, parallel=4)
    assert server.most_at_once == 4


def test_all_questions_are_answered_once_by_a_server_that_often_fails():
    pace = Pace(base=0.02, cap=0.05)

    async def work(model):
        return await asyncio.gather(*(pace.call(model, ask(str(n))) for n in range(60)))

    kinds = tuple(kind for kind in FAULTS if kind != "dribble")
    with FaultServer(faults=0.5, seed=3, kinds=kinds, hang=0.3) as server:
        responses = using(server, work, timeout=10.0, parallel=16, model="tiny-vlm")
    assert [r.status for r in responses] == ["ok"] * 60
    assert {n for n in server.answered.values() if n} == {1}
    assert sum(server.answered.values()) == 60
    assert len(server.met) > 10
    assert pace.requests == len(server.bodies) == 60 + pace.retries
    assert pace.retries > 30


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "openai", None)
    with pytest.raises(BackboneError, match=r'pip install "vlmcal\[mllm\]"'):
        openai_chat("http://host/v1", model="m")


def test_the_modules_can_be_imported_without_the_package():
    code = (
        "import sys; sys.modules['openai'] = None; import vlmcal.elicit.models.openai_http; "
        "print([m for m in ('torch', 'httpx', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("data", [None, [], "x", {}, {"choices": None}, {"choices": [{}]}])
def test_what_is_no_completion_may_pass(data):
    with pytest.raises(TransientError, match="expected"):
        read_completion(data, logprobs=True)


def test_answers_that_the_server_broke_off_may_pass():
    data = {"choices": [{"message": {"content": "A"}, "finish_reason": "error"}]}
    with pytest.raises(TransientError, match="broke off"):
        read_completion(data, logprobs=True)


def test_closing_while_a_request_is_cancelled():
    async def work(model):
        task = asyncio.create_task(model.generate(ask()))
        while not server.met:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await model.generate(ask("again"))

    with FaultServer(script=["hang"], hang=3.0) as server:
        assert using(server, work, model="tiny-vlm").status == "ok"


def test_the_fault_server_as_a_process():
    script = Path(__file__).parent.parent / "fault_server.py"
    command = [sys.executable, str(script), "--seed", "1", "--faults", "0.3", "--lifetime", "20"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())
        server = FaultServer(port=port)
        pace = Pace(base=0.02, cap=0.05)

        async def work(model):
            return [(await pace.call(model, ask(str(n)))).status for n in range(10)]

        assert using(server, work, timeout=10.0) == ["ok"] * 10
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/counts", timeout=5) as page:
            counts = json.load(page)
        process.kill()
    assert sorted(n for n in counts["answered"].values() if n) == [1] * 10
    assert counts["requests"] == 10 + pace.retries


def test_the_fault_server_repeats_itself():
    def fates(seed):
        server = FaultServer(faults=0.5, seed=seed)
        with server:
            return [server.fate(str(n % 7)) for n in range(50)]

    assert fates(1) == fates(1) != fates(2)


def test_errors_of_images_pass_through(tmp_path):
    request = Request(messages=(Message("user", "x", (ImageRef(str(tmp_path / "no.png")),)),))
    with FaultServer() as server, pytest.raises(VlmcalError, match=r"no\.png"):
        one(server, request)
