"""A run in which every answer is one that no server should give: it ends, is logged, and holds no key."""

import json
from collections import Counter

import pytest

from elicit.odd_answers import KEY, NAMES, OddServer
from vlmcal.elicit import ask
from vlmcal.elicit.answers import load_answers
from vlmcal.elicit.asking import Limits
from vlmcal.elicit.models.refusals import retry_after
from vlmcal.elicit.models.secrets import hide
from vlmcal.types.question import Question

pytest.importorskip("openai")


def asked(turn):
    """The questions, and between them ones that are answered well: twenty failures in a row end a run."""
    made = []
    for i, name in enumerate(NAMES):
        made += [(name, f"Is finding {i} there?"), (f"{turn} {i}", f"Is {turn} {i} there?")]
    return [Question(id=i, question=text, answer_type="yes_no", gold=("yes",)) for i, text in made]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd") / "answers"
    with pytest.MonkeyPatch.context() as patch, OddServer() as server:
        patch.setenv("OPENAI_API_KEY", KEY)
        again = dict(model=server.url, names={"subject": "m"}, elicitors="p_true",
                     folder=folder, limits=Limits(attempts=2))  # fmt: skip
        ask(asked("first"), **again)
        first = Counter(server.asked)
        ask(asked("second"), **again)
    return folder, first, server.asked


def test_every_question_is_answered_or_failed_and_the_run_goes_on(run):
    folder, counts, _ = run
    answers = {a.question: a.reading for a in load_answers(folder / "answers.jsonl")}
    assert set(answers) >= set(NAMES)
    failed = {name for name, reading in answers.items() if reading.status == "failed"}
    assert {"deep", "deep-content", "long", "latin", "null", "choices-nulls", "key-page"} <= failed
    assert len(failed) < len(NAMES) / 2
    assert answers["surrogate"].answer == answers["usage-huge"].answer == "yes"
    for name in ("null-content", "no-content"):
        assert answers[name].status == "empty"
        assert counts[name] == 3  # nothing at all is asked for again


def test_what_was_answered_is_not_asked_again(run):
    folder, first, counts = run
    answers = {a.question: a.reading for a in load_answers(folder / "answers.jsonl")}
    for name, reading in answers.items():
        if name in NAMES and reading.status in ("answered", "unparsed", "refused"):
            assert counts[name] == first[name], name


def test_the_log_can_be_read_line_by_line_and_no_file_holds_the_key(run):
    folder, _, _ = run
    assert all(map(json.loads, (folder / "responses.jsonl").read_bytes().splitlines()))
    for file in folder.iterdir():
        text = file.read_text(encoding="utf-8")
        assert hide(text, KEY).count("[key]") == text.count("[key]"), file


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "9" * 300}, float("9" * 300)),
        ({"retry-after-ms": "1" * 20}, 1.1e16),
        ({"Retry-After": "9" * 400}, float("inf")),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({"Retry-After": "\ud800"}, None),
        ({"Retry-After": "Mon, 01 Jan 0001 00:00:00 +2359"}, 0),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 -2359"}, 2.5e11),
    ],
)
def test_any_request_to_wait_is_read(headers, wait):
    found = retry_after({k.lower(): v for k, v in headers.items()})
    assert found is None if wait is None else found == pytest.approx(wait, rel=0.1)
