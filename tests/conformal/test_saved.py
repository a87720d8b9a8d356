"""Plain data and the identity of rows."""

import json

import numpy as np
import pytest
from scipy.stats import kstest

from vlmcal.conformal.saved import decode, encode, row_keys, row_uniforms, rows_digest
from vlmcal.types.predictions import Predictions


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.0, np.inf, -np.inf]),
        np.array([[1, 2], [3, 4]]),
        np.array(["old", "inf"]),
        np.array([True, False]),
    ],
)
def test_arrays_come_back_as_they_were(value):
    back = decode(json.loads(json.dumps(encode(value), allow_nan=False)))
    assert back.dtype.kind == value.dtype.kind
    assert (back == value).all()


def test_nested_values_come_back():
    value = {"a": [1, None, "x", {"b": float("inf")}], "c": 0.1}
    assert decode(json.loads(json.dumps(encode(value)))) == value


def test_given_ids_name_rows_and_row_numbers_do_not():
    logits = np.random.default_rng(0).normal(size=(3, 5))
    given = Predictions(logits=logits, labels=[0, 1, 2], ids=["a", "b", "c"])
    assert row_keys(given).tolist() == ["a", "b", "c"]
    numbered = Predictions(logits=logits, labels=[0, 1, 2])
    other = Predictions(logits=logits + 1, labels=[0, 1, 2])
    relabelled = Predictions(logits=logits, labels=[2, 2, 2])
    assert not set(row_keys(numbered)) & set(row_keys(other))
    assert (row_keys(numbered) == row_keys(relabelled)).all()
    assert rows_digest(row_keys(numbered)) != rows_digest(row_keys(other))


def test_uniform_numbers_are_uniform_and_independent_of_order():
    keys = np.array([f"row {i}" for i in range(20000)])
    u = row_uniforms(keys, 0, "a")
    assert kstest(u, "uniform").pvalue > 1e-3
    assert (row_uniforms(keys[::-1], 0, "a") == u[::-1]).all()
    for other in (row_uniforms(keys, 1, "a"), row_uniforms(keys, 0, "b"), np.roll(u, 1)):
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.03
    assert u.min() >= 0
    assert u.max() < 1
