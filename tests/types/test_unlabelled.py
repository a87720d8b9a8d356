"""Rows whose right class nobody knows: applied to, never fitted on, never measured."""

import numpy as np
import pytest

from vlmcal.calibrators.temperature import Temperature
from vlmcal.conformal.lac import LAC
from vlmcal.errors import DataError
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.metrics import evaluate
from vlmcal.types.predictions import Predictions

LOGITS = np.random.default_rng(0).normal(size=(40, 3))


def test_they_are_transformed_and_nothing_else(tmp_path):
    known = Predictions(logits=LOGITS, labels=LOGITS.argmax(axis=1) * 0, split="val")
    nobody = Predictions(logits=LOGITS + 1e-3, labels=None)
    assert not nobody.labelled
    after = Temperature().fit(known).transform(nobody)
    assert not after.labelled
    assert not nobody.subset([0, 1]).labelled
    sets = LAC().fit(known, 0.2).predict(nobody)
    assert not sets.labelled
    for use in (
        lambda: Temperature().fit(Predictions(logits=LOGITS, labels=None, split="val")),
        lambda: LAC().fit(Predictions(logits=LOGITS, labels=None, split="val"), 0.2),
        lambda: evaluate(nobody),
        lambda: evaluate(sets),
        nobody.top_label,
        sets.covered,
    ):
        with pytest.raises(DataError, match="labels"):
            use()
    for name in ("a.npz", "a.csv", "a.safetensors"):
        save_predictions(nobody, tmp_path / name)
        again = load_predictions(tmp_path / name, scores="logits", labels_needed=False)
        assert not again.labelled
        np.testing.assert_allclose(again.logits, nobody.logits)
