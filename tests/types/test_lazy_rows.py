"""What rows make only when it is asked for: ids, and the logarithms of probabilities."""

import numpy as np

from vlmcal.calibrators.temperature import Temperature
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions, from_probabilities
from vlmcal.types.softmax import log_softmax, row_sums, softmax


def test_row_numbers_are_made_when_they_are_asked_for():
    rows = Predictions(logits=[[1.0, 0.0], [0.0, 1.0]], labels=[0, 1])
    scaled = rows.with_scores(rows.logits / 2, "logits", {"by": "hand"})
    for each in (
        rows,
        scaled,
        rows.top_label(),
        Confidences(confidence=[0.5, 0.6], correct=[0, 1]),
    ):
        assert "ids" not in vars(each)
        assert each.ids.tolist() == ["0", "1"]
        assert "ids" in vars(each)
    assert rows.numbered
    assert not rows.subset(slice(1, 2)).numbered
    assert scaled.provenance["steps"] == [{"by": "hand"}]


def test_probabilities_stay_as_they_came():
    given = np.float32([[0.7, 0.3], [0.2, 0.8]])
    rows = from_probabilities(given, [0, 1])
    assert rows.given_probabilities is given
    assert "logits" not in vars(rows)
    assert rows.top_label().confidence.tolist() == [float(given[0, 0]), float(given[1, 1])]
    np.testing.assert_array_equal(rows.logits, np.log(given.astype(np.float64)))
    assert rows.subset([1]).given_probabilities is None
    fitted = Temperature().fit(from_probabilities([[0.9, 0.1]] * 4, [0, 0, 0, 1]))
    after = fitted.transform(rows)
    assert after.given_probabilities is None
    assert after.predicted().tolist() == [0, 1]


def test_softmax_is_exact_for_any_size_of_logits_and_does_not_depend_on_other_rows():
    rng = np.random.default_rng(0)
    for k in (3, 33, 80):
        z = rng.normal(size=(50, k)) * np.repeat([1.0, 1000.0], 25)[:, None]
        shifted = z - z.max(axis=1, keepdims=True)
        exact = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
        np.testing.assert_allclose(softmax(z), exact, rtol=1e-13, atol=1e-300)
        np.testing.assert_array_equal(softmax(z[:25]), softmax(z)[:25])
        np.testing.assert_array_equal(softmax(z[:1]), softmax(z)[:1])
        sums = row_sums(z)
        confidence, predicted = Predictions(logits=z, labels=None).top()
        np.testing.assert_allclose(confidence, exact.max(axis=1), rtol=1e-13)
        np.testing.assert_array_equal(predicted, z.argmax(axis=1))
        np.testing.assert_array_equal(sums.probability(z, predicted), softmax(z).max(axis=1))
        np.testing.assert_allclose(log_softmax(z), z - sums.log[:, None], rtol=1e-12, atol=1e-12)


def test_quotients_of_a_temperature_are_made_when_they_are_asked_for():
    rng = np.random.default_rng(0)
    for k in (4, 80):
        z = np.float32(rng.normal(size=(2, 60, k)) * 20)
        fitted = Temperature().fit(z[0], rng.integers(0, k, 60))
        rows = Predictions(logits=z[1], labels=rng.integers(0, k, 60))
        after = fitted.transform(rows)
        whole = z[1].astype(np.float64) / fitted.temperature_
        plain = Predictions(logits=whole, labels=rows.labels)
        for read in ("probabilities", "log_probabilities", "predicted"):
            np.testing.assert_array_equal(getattr(after, read)(), getattr(plain, read)())
        np.testing.assert_array_equal(after.top_label().confidence, plain.top_label().confidence)
        np.testing.assert_allclose(
            after.probabilities(np.float32), plain.probabilities(), rtol=1e-5
        )
        np.testing.assert_array_equal(after.logits, whole)
        assert after.subset([3]).logits.tolist() == whole[[3]].tolist()


def test_sums_of_rows_belong_to_their_scores():
    rows = Predictions(logits=np.float32([[2.0, 0.0], [0.0, 1.0]]), labels=[0, 1])
    assert rows.sums is rows.sums
    halved = rows.with_scores(rows.logits / 2, "logits", {})
    np.testing.assert_allclose(halved.sums.log, np.log(np.exp(halved.logits).sum(axis=1)))
