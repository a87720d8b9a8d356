"""What is refused, whoever asks; and the headers of every answer."""

import asyncio
import contextlib
import re

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")

NAEVUS = "lesion-007"
PAGES = (
    "/",
    "/?show=all",
    f"/case?item={NAEVUS}",
    "/help",
    "/adjudicate",
    "/agreement",
    "/export",
    "/watch",
)
FORMS = ("/answer", "/reveal", "/final", "/undo", "/export", "/outcomes")


def test_nobody_gets_anything(desk):
    pages = desk.of(NAEVUS).at()
    pages.client.cookies.clear()
    for path in (*PAGES, f"/image?item={NAEVUS}", "/watch.json", "/metrics"):
        answer = pages.client.get(path)
        assert answer.status_code == 401, path
        assert "lesion" not in answer.text
    for path in FORMS:
        assert (
            pages.client.post(
                path, data={"form": "x", "item": NAEVUS, "file": "log.jsonl"}
            ).status_code
            == 401
        )
    assert desk.review.last()[0] == 0


@pytest.mark.parametrize(
    ("path", "role"), [("/adjudicate", "v1"), ("/agreement", "v1"), ("/export", "a1")]
)
def test_roles(desk, path, role):
    desk.of(NAEVUS)
    allowed = {"v1": {"v1", "a1"}, "a1": {"a1"}}[role]
    for code in ("r1", "v1", "a1"):
        desk.at(code).get(path, 200 if code in allowed else 403)
    reader = desk.at("r1")
    form = {"form": next(iter(forms_of(reader.get("/case", item=NAEVUS)))), "file": "log.jsonl"}
    for path in ("/export", "/outcomes"):
        assert reader.client.post(path, data=form).status_code == 403


def forms_of(page):
    return set(re.findall(r'name="form" value="(.*?)"', page))


def test_a_form_of_another_site_or_person_saves_nothing(desk):
    desk.of(NAEVUS)
    pages, other = desk.at("r1"), desk.at("r2")
    (mine,), (theirs,) = (
        forms_of(pages.get("/case", item=NAEVUS)),
        forms_of(other.get("/case", item=NAEVUS)),
    )
    before = desk.review.last()
    sent = {"item": NAEVUS, "choice": "c0"}
    for form, headers, status in (
        ("x", {}, 403), (theirs, {}, 403),
        (mine, {"origin": "https://evil.example"}, 403), (mine, {"origin": "null"}, 403),
        (mine, {"host": "evil.example"}, 421), (mine, {"content-length": "100000"}, 413),
    ):  # fmt: skip
        answer = pages.client.post("/answer", data={**sent, "form": form}, headers=headers)
        assert answer.status_code == status, (form, headers)
    assert pages.client.post("/answer", data=sent).status_code == 400
    # By the version of FastAPI an empty field is one that is absent, or one that is wrong.
    assert pages.client.post("/answer", data={**sent, "form": ""}).status_code in (400, 403)
    assert pages.client.put("/answer", data={**sent, "form": mine}).status_code == 405
    assert desk.review.last() == before
    own = {"origin": "http://127.0.0.1:8765"}
    assert pages.client.post("/answer", data={**sent, "form": mine}, headers=own).status_code == 303


@pytest.mark.parametrize("code", ["a1"])
def test_headers_of_every_answer(desk, code):
    pages = desk.of(NAEVUS).at(code)
    for path in (
        *PAGES,
        f"/image?item={NAEVUS}",
        "/static/review.js",
        "/nothing",
        "/static/x",
        "/case?item=x",
    ):
        answer = pages.client.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert "set-cookie" not in answer.headers
        if answer.headers["content-type"].startswith("text/html"):
            assert "Not a diagnostic device" in answer.text
            assert '<html lang="en">' in answer.text
    for path in (
        "/docs",
        "/openapi.json",
        "/static/../app.py",
        "/static/%2e%2e/app.py",
        "/static/..%2fapp.py",
    ):
        assert pages.client.get(path).status_code == 404


def test_the_token_leaves_the_address(desk):
    pages = desk.of(NAEVUS).at()
    pages.client.cookies.clear()
    answer = pages.client.get("/", params={"token": "v1-with-a-long-token"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=lax" in cookie
    assert "v1 (reviewer)" in pages.get("/")
    assert "set-cookie" not in pages.client.get("/", params={"token": "wrong"}).headers


def test_a_body_that_never_ends_is_cut_off(desk):
    """Sent in parts without a length, as a browser does not."""
    app, heard, sent = desk.of(NAEVUS).app, 0, []

    async def receive():
        nonlocal heard
        heard += 1
        return {"type": "http.request", "body": b"a" * 10_000, "more_body": True}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": "/answer", "raw_path": b"/answer", "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"content-type", b"application/x-www-form-urlencoded")],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80), "scheme": "http", "http_version": "1.1",
    }  # fmt: skip
    asyncio.run(asyncio.wait_for(run(app, scope, receive, send), 20))
    assert heard < 10


async def run(app, *given):
    with contextlib.suppress(Exception):
        await app(*given)


def test_exports_and_outcomes(desk):
    pages = desk.of(NAEVUS, "lesion-014").at("a1")
    pages.send(pages.get("/case", item=NAEVUS), "/answer", choice="c0")
    pages.send(pages.get("/case", item=NAEVUS), "/final", choice="mine", note="secret words")
    page = pages.get("/export")
    assert "4 entries, each follows the one before" in page
    answer = pages.send(page, "/export", 200, file="decisions.csv")
    assert NAEVUS in answer
    assert "secret" not in answer
    assert "secret words" in pages.send(page, "/export", 200, file="decisions.csv", words="yes")
    assert len(pages.send(page, "/export", 200, file="log.jsonl").splitlines()) == 5
    pages.send(page, "/export", 400, file="../users.csv")
    wrong = pages.send(page, "/outcomes", 422, table=f"id,label\n{NAEVUS},scar")
    assert "no class" in wrong
    assert "/tmp" not in wrong
    pages.send(page, "/outcomes", table=f"id,label\n{NAEVUS},benign naevus", source="biopsy")
    assert desk.review.events(NAEVUS)[-1].value["source"] == "biopsy"
    agreed = pages.get("/agreement")
    assert "reader-first" in agreed
    assert "100 %" in agreed
