"""Folds in processes of their own give what they give one after the other."""

import importlib

import numpy as np
import pytest

from vlmcal.errors import DataError
from vlmcal.types.predictions import Predictions

cross_fit = importlib.import_module("vlmcal.posthoc.cross_fit")
compare = importlib.import_module("vlmcal.posthoc.compare").compare
NAMES = ["none", "temperature", "platt", "bbq", "vector"]


@pytest.fixture
def rows():
    rng = np.random.default_rng(3)
    logits = rng.normal(size=(300, 4))
    labels = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    return Predictions(logits=3 * logits, labels=labels, split="val")


@pytest.fixture
def in_processes(monkeypatch):
    def switch():
        monkeypatch.setattr(cross_fit, "_LONG", 1)
        monkeypatch.setattr(cross_fit, "_cores", lambda: 2)

    return switch


def test_a_comparison_is_the_same(rows, in_processes):
    def losses():
        return [
            (row.name, row.cross_validated, row.error) for row in compare(rows, methods=NAMES).rows
        ]

    alone = losses()
    in_processes()
    assert losses() == alone


def test_what_does_not_suit_the_rows_is_raised_or_left_out_alike(rows, in_processes):
    def said(**given):
        with pytest.raises(DataError) as caught:
            compare(rows, **given)
        return str(caught.value)

    named = said(methods=["temperature", "feature_isotonic"])
    left_out = {row.name for row in compare(rows).left_out}
    few = said(methods=NAMES, folds=400)
    in_processes()
    assert said(methods=["temperature", "feature_isotonic"]) == named
    assert {row.name for row in compare(rows).left_out} == left_out
    assert said(methods=NAMES, folds=400) == few
