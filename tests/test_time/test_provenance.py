"""Calibrators are fitted on rows that went through the same adaptation."""

from dataclasses import replace

import numpy as np
import pytest

from vlmcal.calibrators.base import Calibrator, make
from vlmcal.conformal.lac import LAC
from vlmcal.errors import DataError
from vlmcal.types.predictions import Predictions

TPT = {"test_time": {"method": {"name": "tpt", "views": 8}, "start": "0123456789abcdef"}}


def rows(prefix, provenance=None, n=60):
    draw = np.random.default_rng(len(prefix))
    z = draw.normal(size=(n, 3))
    y = (z + draw.gumbel(size=(n, 3))).argmax(axis=1)
    ids = [f"{prefix}{i}" for i in range(n)]
    return Predictions(logits=2 * z, labels=y, ids=ids, provenance=provenance or {})


def test_same_adaptation_from_other_starts_and_orders_is_fine():
    other = {"test_time": {**TPT["test_time"], "start": "another"}}
    make("temperature").fit(rows("a", TPT)).transform(rows("bb", other))


@pytest.mark.parametrize(
    ("fitted", "given", "words"),
    [
        (None, TPT, r"not adapted at test time, and these are adapted .* tpt\(views=8\).*held-out"),
        (
            TPT,
            None,
            r"adapted at test time by tpt\(views=8\), and these are of a model that was not",
        ),
        (TPT, {"test_time": {"method": {"name": "c_tpt"}}}, r"tpt\(views=8\).*by c_tpt;"),
    ],
)
def test_other_rows_are_refused_with_advice(fitted, given, words, tmp_path):
    calibrator = make("temperature").fit(rows("a", fitted))
    with pytest.raises(DataError, match=words):
        calibrator.transform(rows("bb", given))
    calibrator.save(tmp_path / "calibrator.json")
    with pytest.raises(DataError, match=words):
        Calibrator.load(tmp_path / "calibrator.json").transform(rows("bb", given))
    sets = LAC()
    sets.fit(rows("a", fitted), 0.2)
    with pytest.raises(DataError, match=words):
        sets.predict(rows("bb", given))


def test_calibrated_rows_still_say_how_they_were_adapted():
    after = make("temperature").fit(rows("a", TPT)).transform(rows("bb", TPT))
    assert after.provenance["test_time"] == TPT["test_time"]


def test_cots_reads_what_tuning_stored():
    extras = {
        "cots_temperature": np.full(60, 2.0),
        "cots_share": np.full(60, 0.75),
        "cots_views": np.full((60, 3), 1 / 3),
    }
    one, two = (replace(rows(p, TPT), extras=extras) for p in ("a", "bb"))
    after = make("cots").fit(one).transform(two)
    np.testing.assert_allclose(after.logits, two.logits / 2)
    mixed = make("e_cots").fit(one).transform(two).probabilities()
    np.testing.assert_allclose(mixed, 0.75 * after.probabilities() + 0.25 / 3)
    with pytest.raises(DataError, match="needs cots_temperature"):
        make("cots").fit(rows("a", TPT))
