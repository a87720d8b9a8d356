"""Who may do what, and what every request must pass."""

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")

from starlette.requests import Request

from vlmcal.errors import DataError
from vlmcal.review.web.access import one_person, several_people
from vlmcal.review.web.guard import host_allowed

TOKENS = {
    "r1": "a-token-of-reader-one",
    "v1": "a-token-of-reviewer-1",
    "a1": "a-token-of-admin-one",
}
LINES = "# CODE,ROLE,TOKEN\n\n" + "".join(
    f"{code},{role},{TOKENS[code]}\n"
    for code, role in (("r1", "reader"), ("v1", "reviewer"), ("a1", "admin"))
)


def users(tmp_path, text=LINES, mode=0o600):
    file = tmp_path / "users.csv"
    file.write_text(text)
    file.chmod(mode)
    return file


def asked(headers, peer="127.0.0.1"):
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": raw, "client": (peer, 1), "method": "GET"})


def test_a_token_says_who_by_cookie_or_bearer(tmp_path):
    access = several_people(users(tmp_path))
    for headers in (
        {"cookie": f"vlmcal_review={TOKENS['v1']}"},
        {"authorization": f"Bearer {TOKENS['v1']}"},
    ):
        person = access.who(asked(headers))
        assert (person.code, person.role) == ("v1", "reviewer")
    for headers in (
        {},
        {"cookie": "vlmcal_review="},
        {"cookie": "vlmcal_review=another"},
        {"authorization": "Bearer "},
        {"authorization": "Basic " + TOKENS["v1"]},
        {"x-remote-user": "a1"},
    ):
        assert access.who(asked(headers)) is None


def test_a_header_is_believed_from_the_proxy_only(tmp_path):
    file = users(tmp_path, "r1,reader\na1,admin\n", 0o644)  # no tokens, so anybody may read it
    access = several_people(file, "X-Remote-User", ["10.0.0.7"])
    assert access.who(asked({"x-remote-user": "a1"}, "10.0.0.7")).role == "admin"
    assert access.who(asked({"x-remote-user": "a1"}, "10.0.0.8")) is None
    assert access.who(asked({"x-remote-user": "a1"}, "127.0.0.1")) is None
    assert access.who(asked({"x-remote-user": "nobody"}, "10.0.0.7")) is None
    assert access.who(asked({}, "10.0.0.7")) is None


def test_form_tokens_differ_between_people_and_survive_a_restart(tmp_path):
    first, again = several_people(users(tmp_path)), several_people(users(tmp_path))
    tokens = {code: person.form_token for code, person in first.by_code.items()}
    assert len(set(tokens.values())) == 3
    assert all(again.by_code[code].owns_form(token) for code, token in tokens.items())
    assert not first.by_code["r1"].owns_form(tokens["a1"])
    assert not first.by_code["r1"].owns_form("é")
    assert "token" not in repr(
        one_person("a-token-of-some-length").person("a-token-of-some-length")
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no user"),
        ("r1,reader\n", "expected CODE,ROLE,TOKEN"),
        ("r1,raeder,a-token-of-reader-one\n", 'did you mean "reader"'),
        ("r1,reader,short\n", "can be guessed"),
        (",reader,a-token-of-reader-one\n", "expected CODE,ROLE,TOKEN"),
        ("r1,reader,a-token-of-reader-one\nr1,admin,a-token-of-admin-one\n", "stands twice"),
        ("r1,reader,a-token-of-reader-one\nr2,admin,a-token-of-reader-one\n", "two users"),
    ],
)
def test_a_file_of_users_that_is_wrong_is_refused(tmp_path, text, said):
    with pytest.raises(DataError, match=said):
        several_people(users(tmp_path, text))


def test_tokens_that_everybody_can_read_are_refused(tmp_path):
    with pytest.raises(DataError, match="chmod o-r"):
        several_people(users(tmp_path, mode=0o644))


@pytest.mark.parametrize(
    ("stated", "bound", "allowed"),
    [
        ("127.0.0.1:8765", "127.0.0.1", True),
        ("localhost", "127.0.0.1", True),
        ("LOCALHOST:1", "127.0.0.1", True),
        ("[::1]:8765", "::1", True),
        ("rebound.example:8765", "127.0.0.1", False),
        ("rebound.example", "0.0.0.0", False),
        ("10.0.0.5:8765", "0.0.0.0", True),
        ("10.0.0.5:8765", "127.0.0.1", False),
        ("review.example", "127.0.0.1", True),
        ("127.0.0.1.evil.example", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("[::1", "127.0.0.1", False),
    ],
)
def test_hosts(stated, bound, allowed):
    assert host_allowed(stated, bound, ["review.example"]) is allowed
