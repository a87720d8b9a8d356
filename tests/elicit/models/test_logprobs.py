"""Log-probabilities as different servers write them."""

import json
import math

import pytest

from vlmcal.data.rows import read_rows
from vlmcal.elicit.answers import load_answers
from vlmcal.elicit.models.completions import read_completion
from vlmcal.elicit.models.logprobs import join_tokens, read_tokens
from vlmcal.elicit.models.server import find_server
from vlmcal.elicit.response_log import ResponseLog
from vlmcal.elicit.tokens import word_confidence
from vlmcal.errors import DataError, SpecError
from vlmcal.types.chat import Alternative, Request, Token


def entry(text, logprob, top=None, **more):
    said = {"token": text, "logprob": logprob, **more}
    return said if top is None else {**said, "top_logprobs": [entry(*each) for each in top]}


@pytest.mark.parametrize(
    "nothing",
    [None, {}, [], "no", {"content": None}, {"content": []}, {"content": {}}, {"tokens": []}],
)
def test_nothing_is_nothing(nothing):
    assert read_tokens(nothing) == (None, False, ())


def test_the_chat_form():
    reading = read_tokens(
        {
            "content": [
                entry(" yes", -0.5, [(" no", -1.5), (" yes", -0.5)], bytes=[32, 121, 101, 115])
            ]
        }
    )
    top = (Alternative(" yes", -0.5), Alternative(" no", -1.5))  # likeliest first
    assert reading == ((Token(" yes", -0.5, top, b" yes"),), False, ())


def test_alternatives_may_be_missing_and_bytes_may_be_null():
    reading = read_tokens({"content": [entry("a", -1, bytes=None), entry("b", 0)]})
    assert reading.tokens == (Token("a", -1.0), Token("b", 0.0))
    assert reading.defects == ()


def test_split_characters_join_by_their_bytes():
    # "µ" is C2 B5; three ways in which servers write its halves.
    for first, second in (
        (entry("�", -0.1, bytes=[0xC2]), entry("�", -0.2, bytes=[0xB5])),
        (entry("bytes:\\xc2", -0.1), entry("bytes:\\xb5", -0.2)),
        (entry("<0xC2>", -0.1), entry("<0xB5>", -0.2)),
    ):
        tokens = read_tokens({"content": [entry("5 ", -0.3), first, second, entry("m", 0)]}).tokens
        assert tokens is not None
        assert [t.raw for t in tokens] == [None, b"\xc2", b"\xb5", None]
        assert join_tokens(tokens) == "5 µm"


def test_a_sentinel_drops_its_alternative_and_leaves_the_rest():
    for value in (-9999.0, -9999, -math.inf, -1e9):
        reading = read_tokens({"content": [entry("A", -0.1, [("A", -0.1), ("B", value)])]})
        assert reading == ((Token("A", -0.1, (Alternative("A", -0.1),)),), True, ())


def test_a_sentinel_for_a_chosen_token_leaves_no_tokens():
    reading = read_tokens({"content": [entry("A", -0.1), entry("B", -9999.0)]})
    assert reading == (None, True, ())


@pytest.mark.parametrize("value", [math.nan, 0.5, math.inf, None, "-1", True])
def test_impossible_values_are_told_and_dropped(value):
    chosen = read_tokens({"content": [entry("A", -0.1), entry("B", value)]})
    assert chosen.tokens is None
    assert len(chosen.defects) == 1
    other = read_tokens({"content": [entry("A", -0.1, [("A", -0.1), ("B", value)])]})
    assert other.tokens == (Token("A", -0.1, (Alternative("A", -0.1),)),)
    assert len(other.defects) == 1


def test_a_rounding_error_above_zero_is_zero():
    reading = read_tokens({"content": [entry("A", 1.2e-7)]})
    assert reading == ((Token("A", 0.0),), False, ())


def test_numbers_that_are_no_bytes_are_told():
    reading = read_tokens({"content": [entry("A", -0.1, bytes=[65, 300])]})
    assert reading.tokens == (Token("A", -0.1),)
    assert len(reading.defects) == 1


def test_probabilities_in_place_of_logarithms():
    said = {
        "content": [
            {
                "token": "A",
                "prob": 0.75,
                "top_probs": [
                    {"token": "A", "prob": 0.75},
                    {"token": "B", "prob": 0.25},
                    {"token": "C", "prob": 0},
                ],
            }
        ]
    }
    (token,) = read_tokens(said).tokens or ()
    assert token.logprob == pytest.approx(-0.2876820724517809)
    assert [(a.text, math.exp(a.logprob)) for a in token.top] == [
        ("A", pytest.approx(0.75)),
        ("B", pytest.approx(0.25)),
    ]
    assert "sampling" in read_tokens(said).defects[0]


def test_the_form_of_text_completions():
    said = {
        "tokens": ["No", "."],
        "token_logprobs": [-0.25, -0.5],
        "top_logprobs": [{"Yes": -2.0, "No": -0.25}, None],
        "text_offset": [0, 2],
    }
    top = (Alternative("No", -0.25), Alternative("Yes", -2.0))
    assert read_tokens(said).tokens == (Token("No", -0.25, top), Token(".", -0.5))
    assert read_tokens({**said, "top_logprobs": None}).tokens == (
        Token("No", -0.25),
        Token(".", -0.5),
    )
    for wrong in ({**said, "token_logprobs": [-0.25]}, {**said, "token_logprobs": [None, -0.5]}):
        assert read_tokens(wrong).tokens is None
        assert read_tokens(wrong).defects


def test_non_finite_json_is_read():
    said = json.loads('{"content": [{"token": "A", "logprob": NaN}]}')
    assert read_tokens(said).tokens is None


@pytest.mark.parametrize("name", ["<|im_end|>", "</s>", "<end_of_turn>", "[EOS]", ""])
def test_a_stop_token_without_a_value_takes_nothing_from_the_answer(name):
    said = {"content": [entry("A", -0.1), entry(name, -9999.0, bytes=[])]}
    assert read_tokens(said).tokens == (Token("A", -0.1),)


def test_letters_beside_the_text_of_an_option_are_no_alternatives_to_it():
    token = Token("pn", -0.5, (Alternative("pn", -0.5), Alternative("B", -2.0)))
    assert word_confidence(token, ("A", "B"), "B", normalise=True)[0] == (None, "unparsed")


def test_halves_of_characters_reach_no_file(tmp_path):
    said = {"content": [entry("left\ud83d", -0.1, [("left\ud83d", -0.1)])]}
    data = {"choices": [{"message": {"content": "left\ud83d"}, "logprobs": said}]}
    response = read_completion(data, logprobs=True).response
    assert response.text == "left\ufffd"
    with ResponseLog(tmp_path / "log.jsonl") as log:
        log.put("k", Request(messages=()), response)
        assert log.get("k") == response


@pytest.mark.parametrize("inside", ["[" * 100_000, "9" * 6000])
def test_json_that_no_reader_takes_is_one_message(tmp_path, inside):
    for name, written in (("q.json", f"[{inside}]"), ("q.jsonl", inside)):
        path = tmp_path / name
        path.write_text(written)
        with pytest.raises(DataError, match=r"cannot be read|not JSON"):
            list(read_rows(path))
    with pytest.raises(DataError, match="line 1"):
        load_answers(tmp_path / "q.jsonl")


def test_a_url_that_is_none_is_refused():
    with pytest.raises(SpecError, match="expected a URL"):
        find_server("http://[::1")
