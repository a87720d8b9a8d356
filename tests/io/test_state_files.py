"""Learned state as JSON with its large arrays beside it."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from vlmcal.errors import StoreError
from vlmcal.io.state_files import (
    damage_named,
    decode,
    encode,
    read_state,
    require_intact,
    write_state,
)

LARGE = np.arange(2001, dtype=np.float32).reshape(3, 667)
KEYS = ("format", "state")


def flip_last_bit(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))


@pytest.fixture
def path(tmp_path):
    state = {"a": [LARGE, LARGE[0]], "names": np.array(["x"] * 3000), "inner": {"b": LARGE + 1}}
    target = tmp_path / "s.json"
    written = write_state(target, {"format": 2, "state": state}, "thing")
    assert [file.name for file in written] == ["s.json", "s.safetensors"]
    return target


def test_only_large_arrays_of_numbers_lie_beside_and_all_come_back(path):
    data = json.loads(path.read_text())
    assert data["arrays"] == "s.safetensors"
    assert data["state"]["a"] == [{"tensor": "array_0"}, encode(LARGE[0])]
    assert len(data["state"]["names"]["data"]) == 3000
    beside = load_file(path.with_suffix(".safetensors"))
    assert sorted(beside) == ["array_0", "array_1"]
    back = read_state(path, KEYS, "thing")
    assert sorted(back) == ["format", "intact", "state"]
    np.testing.assert_array_equal(back["state"]["a"][0], LARGE)
    np.testing.assert_array_equal(back["state"]["inner"]["b"], LARGE + 1)
    assert back["state"]["inner"]["b"].dtype == np.float32


def test_small_state_is_one_file(tmp_path):
    state = {"format": 2, "state": np.zeros(2000)}
    assert write_state(tmp_path / "s.json", state, "thing") == [tmp_path / "s.json"]
    assert "arrays" not in read_state(tmp_path / "s.json", KEYS, "thing")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda p: p.with_suffix(".safetensors").unlink(), "move both files together"),
        (
            lambda p: p.with_suffix(".safetensors").write_bytes(b"12"),
            "s.safetensors: not a readable",
        ),
        (
            lambda p: p.write_text(p.read_text().replace("array_1", "array_7")),
            "'array_7' is missing",
        ),
        (lambda p: p.write_text(p.read_text().replace("0.0", "0.5")), "its checksum"),
        (lambda p: flip_last_bit(p.with_suffix(".safetensors")), "its checksum"),
        (lambda p: p.write_text('{"format": 2, "state": 0}'), "its checksum"),
        (lambda p: p.write_text('{"format": 1, "state": NaN}'), "NaN is no JSON number"),
        (lambda p: p.write_text("[" * 100_000), "not valid JSON"),
        (lambda p: p.write_text(p.read_text()[:50]), "not valid JSON"),
        (lambda p: p.write_bytes(b'{"a": "\xff"}'), "not valid JSON"),
        (
            lambda p: p.write_text('{"format": 1}'),
            "not a saved thing; expected the keys format, state",
        ),
        (lambda p: p.write_text('{"format": 3, "state": 0}'), "format 3"),
        (lambda p: p.write_text('{"format": true, "state": 0}'), "format True"),
        (lambda p: p.rename(p.with_name("t.json")), 'no thing at .*did you mean "t.json"'),
    ],
)
def test_what_is_wrong_with_the_files_is_said(path, damage, said):
    damage(path)
    with pytest.raises(StoreError, match=said):
        require_intact(read_state(path, KEYS, "thing"), path, "thing")


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.0, np.inf, -np.inf]),
        np.array([[1, 2], [3, 4]]),
        np.array(["old", "inf", "Infinity"]),
        np.array([True, False]),
    ],
)
def test_arrays_come_back_as_they_were(value):
    back = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert back.dtype.kind == value.dtype.kind
    assert (back == value).all()


@pytest.mark.parametrize("word", ["inf", "-inf", "nan", "Infinity", "NaN", "number"])
def test_words_stay_words_and_numbers_numbers(word):
    value = {word: [1, None, word, {"b": float("inf"), "c": word}], "d": -float("inf")}
    assert decode(json.loads(json.dumps(encode(value), allow_nan=False))) == value


def test_other_endings_are_refused(tmp_path):
    with pytest.raises(StoreError, match=r'a thing is saved as \.json, got ".*s\.pkl"'):
        write_state(tmp_path / "s.pkl", {"format": 1}, "thing")


def test_errors_while_rebuilding_name_the_file(tmp_path):
    with (
        pytest.raises(StoreError, match=r"s\.json is damaged \(KeyError: 'x'\)"),
        damage_named(tmp_path / "s.json"),
    ):
        {}["x"]
