"""Rows to calibrate on where nothing is held out."""

import numpy as np
import pytest

from vlmcal.errors import DataError
from vlmcal.experiment.out_of_fold import folds_of, out_of_fold
from vlmcal.types.predictions import Predictions

LABELS = np.arange(12) % 3


def test_every_row_is_predicted_by_a_learner_that_has_not_seen_it():
    seen = []

    def train(fold, kept):
        seen.append(set(np.flatnonzero(kept)))
        yield None
        return fold

    def predict(fold, left):
        rows = np.flatnonzero(left)
        assert not seen[fold] & set(rows)
        assert seen[fold] | set(rows) == set(range(12))
        extras = {"zero_shot_logits": np.tile(rows[:, None], (1, 3)).astype(np.float32),
                  "zero_shot_text_features": np.eye(3, dtype=np.float32),
                  "text_features": np.full((3, 3), fold, dtype=np.float32)}  # fmt: skip
        logits = np.stack([rows, np.full(len(rows), fold), rows], axis=1)
        return Predictions(logits=logits, labels=LABELS[left], ids=[str(r) for r in rows],
                           split="calibration", extras=extras)  # fmt: skip

    folds = folds_of(LABELS, None)
    found = out_of_fold(folds, train, predict)
    assert found.ids.tolist() == [str(row) for row in range(12)]
    np.testing.assert_array_equal(found.logits[:, 0], np.arange(12))
    np.testing.assert_array_equal(found.logits[:, 1], folds)
    np.testing.assert_array_equal(found.extras["zero_shot_logits"][:, 0], np.arange(12))
    assert set(found.extras) == {"zero_shot_logits", "zero_shot_text_features"}


def test_a_class_with_one_image_or_one_patient_cannot_be_cross_fitted():
    with pytest.raises(DataError, match="no image of class"):
        folds_of(np.array([0, 1, 1, 1, 2]), None)
    patients = np.array(["a", "a", "b", "b", "c", "d"])
    with pytest.raises(DataError, match="two groups"):
        folds_of(np.array([0, 0, 1, 1, 1, 1]), patients)
    folds = folds_of(np.array([0, 0, 1, 1, 0, 1]), patients)
    assert folds[0] == folds[1] != folds[2] == folds[3]
