"""What every registered calibrator promises, checked for every registered calibrator."""

import json
import warnings

import numpy as np
import pytest
from scipy.special import log_softmax

from vlmcal.calibrators.base import CALIBRATORS, CalibrationWarning, Calibrator, make
from vlmcal.calibrators.scalar import ScalarCalibrator
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.types.binary import as_binary
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

NAMES = CALIBRATORS.names()
FOR_CONFIDENCES = ("hac_platt", "hac_gate", "fusion")  # they read what comes with an answer
TEMPERATURE = 1.7


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        yield


def confidences(n, seed, prefix, split="val"):
    rng = np.random.default_rng(seed)
    c = rng.beta(4, 1.5, n)
    return Confidences(
        confidence=c,
        correct=rng.random(n) < c**2,
        ids=[f"{prefix}{i}" for i in range(n)],
        split=split,
    )


def rows(name, k=4, n=300, seed=0, prefix="v", split="val", labels=None, dtype=np.float64):
    """Over-confident scores with every extra that some calibrator reads."""
    rng = np.random.default_rng(seed)
    if name in FOR_CONFIDENCES:
        base = confidences(n, seed, prefix, split)
        score = np.where(base.correct, 0.2, 0.6) + 0.3 * rng.random(n)
        if name == "fusion":
            gaps = np.where(rng.random(n) < 0.2, np.nan, rng.random(n))
            return as_binary(base, signals=np.stack([1 - score, gaps], axis=1))
        return as_binary(base, hallucination=score)
    z = rng.normal(size=(n, k)) * 1.5
    y = (z + rng.gumbel(size=(n, k))).argmax(axis=1) if labels is None else labels
    fixed = np.random.default_rng(99)
    text = fixed.normal(size=(2, k, 6))
    return Predictions(
        logits=(z * TEMPERATURE).astype(dtype),
        labels=y,
        ids=[f"{prefix}{i}" for i in range(n)],
        split=split,
        extras={
            "image_features": np.eye(6)[y] + 0.7 * rng.normal(size=(n, 6)),
            "zero_shot_logits": z + 0.3 * rng.normal(size=(n, k)),
            "zero_shot_text_features": text[0],
            "text_features": text[1],
            "base_zero_shot_text_features": text[0][:1] + 0.5,
            "cots_temperature": np.full(n, 1.5),
            "cots_share": np.full(n, 0.75),
            "cots_views": np.full((n, k), 1 / k),
            "base_text_features": text[1][:1] - 0.5,
        },
    )


def classes_for(name):
    return [2] if name in FOR_CONFIDENCES else [2, 4]


def pairs():
    return [(name, k) for name in NAMES for k in classes_for(name)]


@pytest.mark.parametrize(("name", "k"), pairs())
def test_probabilities_are_valid(name, k):
    out = make(name).fit(rows(name, k)).transform(rows(name, k, seed=1, prefix="t"))
    probs = out.probabilities()
    assert np.isfinite(probs).all()
    assert probs.min() >= 0
    assert probs.max() <= 1 + 1e-12
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-9)
    assert out.provenance["steps"][-1]["calibrator"] == name
    assert out.provenance["steps"][-1]["scheme"] == "split"


@pytest.mark.parametrize(("name", "k"), pairs())
def test_argmax_is_kept_where_promised(name, k):
    test = rows(name, k, n=2000, seed=1, prefix="t")
    out = make(name).fit(rows(name, k)).transform(test)
    if CALIBRATORS.get(name).keeps_argmax:
        np.testing.assert_array_equal(out.predicted(), test.predicted())


def test_order_preserving_isotonic_keeps_argmax():
    test = rows("isotonic", n=2000, seed=1, prefix="t")
    out = make("isotonic", {"form": "order_preserving"}).fit(rows("isotonic")).transform(test)
    np.testing.assert_array_equal(out.predicted(), test.predicted())


@pytest.mark.parametrize(("name", "k"), pairs())
def test_log_loss_on_the_fitting_rows_never_worse_than_identity(name, k):
    kind = CALIBRATORS.get(name)
    if not kind.nested or (issubclass(kind, ScalarCalibrator) and k > 2):
        pytest.skip("identity is not among its maps")
    for seed in range(5):
        val = rows(name, k, n=40, seed=seed)
        options = {"smooth": False} if hasattr(kind, "smooth") else {}
        after = make(name, options).fit_transform_same(val).log_probabilities()
        before = val.log_probabilities()
        at = np.arange(len(val)), val.labels
        assert -after[at].mean() <= -before[at].mean() + 1e-9


@pytest.mark.parametrize("name", ["temperature", "ensemble_temperature", "adaptive_temperature"])
def test_one_parameter_families_recover_the_temperature(name):
    calibrator = make(name).fit(rows(name, k=6, n=20000))
    if name == "temperature":
        assert calibrator.temperature_ == pytest.approx(TEMPERATURE, rel=0.03)
    test = rows(name, k=6, n=500, seed=1, prefix="t")
    out = calibrator.transform(test).log_probabilities()
    truth = log_softmax(test.logits / TEMPERATURE, axis=1)
    assert np.abs(np.exp(out) - np.exp(truth)).max() < 0.02


@pytest.mark.parametrize("name", ["platt", "beta", "spline"])
def test_binary_families_recover_a_logistic_truth(name):
    big = rows(name, k=2, n=30000)
    test = rows(name, k=2, n=500, seed=1, prefix="t")
    out = make(name).fit(big).transform(test).probabilities()
    truth = np.exp(log_softmax(test.logits / TEMPERATURE, axis=1))
    assert np.abs(out - truth).max() < 0.03


@pytest.mark.parametrize("name", NAMES)
def test_refuses_to_fit_on_test_rows(name):
    with pytest.raises(SplitError, match="test"):
        make(name).fit(rows(name, 2, split="test"))


@pytest.mark.parametrize("name", NAMES)
def test_refuses_the_fitted_rows(name):
    val = rows(name, 2)
    calibrator = make(name).fit(val)
    with pytest.raises(SplitError, match="rows it was fitted on"):
        calibrator.transform(val)
    with pytest.raises(SplitError, match="20 rows were also used for fitting"):
        calibrator.transform(val.subset(np.arange(20)))
    loaded = type(calibrator).from_dict(json.loads(json.dumps(calibrator.to_dict())))
    with pytest.raises(SplitError, match="rows it was fitted on"):
        loaded.transform(val)


@pytest.mark.parametrize("name", NAMES)
def test_refuses_to_be_applied_unfitted(name):
    with pytest.raises(SpecError, match="not fitted"):
        make(name).transform(rows(name, 2))


@pytest.mark.parametrize(("name", "k"), pairs())
def test_json_round_trip_is_bit_for_bit(name, k, tmp_path):
    calibrator = make(name).fit(rows(name, k))
    test = rows(name, k, seed=1, prefix="t")
    expected = calibrator.transform(test).logits
    copy = type(calibrator).from_dict(json.loads(json.dumps(calibrator.to_dict(), allow_nan=False)))
    np.testing.assert_array_equal(copy.transform(test).logits, expected)
    calibrator.save(tmp_path / "cal.json")
    loaded = Calibrator.load(tmp_path / "cal.json")
    assert type(loaded) is type(calibrator)
    np.testing.assert_array_equal(loaded.transform(test).logits, expected)
    assert loaded.to_dict() == calibrator.to_dict()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_CONFIDENCES])
def test_float32_scores_give_the_answer_of_float64(name):
    double = make(name).fit(rows(name)).transform(rows(name, seed=1, prefix="t"))
    single = make(name).fit(rows(name, dtype=np.float32))
    single = single.transform(rows(name, seed=1, prefix="t", dtype=np.float32))
    # curves with steps may move a single row over an edge
    difference = np.abs(single.probabilities() - double.probabilities()).max(axis=1)
    assert np.quantile(difference, 0.98) < 1e-4


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_CONFIDENCES])
def test_absent_classes_do_not_break_anything(name):
    labels = np.arange(120) % 3
    val = rows(name, k=5, n=120, labels=labels)
    probs = make(name).fit(val).transform(rows(name, k=5, seed=1, prefix="t")).probabilities()
    assert np.isfinite(probs).all()
    np.testing.assert_allclose(probs.sum(axis=1), 1, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_CONFIDENCES])
def test_another_class_list_is_refused_or_promised(name):
    calibrator = make(name).fit(rows(name, k=4))
    other = rows(name, k=3, seed=1, prefix="t")
    if calibrator.takes_any_classes():
        assert calibrator.transform(other).probabilities().shape == (300, 3)
    else:
        with pytest.raises(DataError, match="fitted on the classes"):
            calibrator.transform(other)


@pytest.mark.parametrize("name", NAMES)
def test_confidences_in_confidences_out(name):
    kind = CALIBRATORS.get(name)
    val, test = confidences(200, 0, "v"), confidences(150, 1, "t", "test")
    if not kind.scalar:
        with pytest.raises(DataError, match="needs class scores"):
            make(name).fit(val)
    elif kind.needs:
        with pytest.raises(DataError, match=kind.needs[0]):
            make(name).fit(val)
    else:
        out = make(name).fit(val).transform(test)
        assert isinstance(out, Confidences)
        assert out.split == "test"
        np.testing.assert_array_equal(out.correct, test.correct)
        assert (out.confidence >= 0).all()
        assert (out.confidence <= 1).all()


@pytest.mark.parametrize("name", NAMES)
def test_certain_and_repeated_confidences(name):
    kind = CALIBRATORS.get(name)
    if not kind.scalar or kind.needs:
        pytest.skip("not for scalar confidences")
    c = np.repeat([0.0, 0.5, 0.9, 1.0], 25)
    correct = np.arange(100) % 2 == 0
    val = Confidences(confidence=c, correct=correct, ids=[f"v{i}" for i in range(100)])
    test = Confidences(confidence=[0.0, 0.7, 1.0], correct=[True] * 3, ids=list("abc"))
    out = make(name).fit(val).transform(test).confidence
    assert np.isfinite(out).all()


@pytest.mark.parametrize("name", NAMES)
def test_metadata(name):
    kind = CALIBRATORS.get(name)
    assert issubclass(kind, Calibrator)
    assert kind.name == name
    assert kind.__doc__
    assert ">>>" in kind.__doc__
    assert all(key.endswith("_") for key in kind.state)


@pytest.mark.parametrize("name", NAMES)
def test_an_unknown_parameter_names_the_nearest(name):
    with pytest.raises(SpecError, match=f'calibrator "{name}" has no option "nonsense"'):
        make(name, {"nonsense": 1})


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_CONFIDENCES])
def test_a_missing_extra_is_named(name):
    kind = CALIBRATORS.get(name)
    val = rows(name)
    bare = Predictions(logits=val.logits, labels=val.labels, ids=val.ids)
    if kind.needs or kind.fit_needs or name.startswith("procal"):
        with pytest.raises(DataError, match=f'calibrator "{name}" needs'):
            make(name).fit(bare)
    else:
        make(name).fit(bare)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FOR_CONFIDENCES])
def test_one_class_is_refused(name):
    val = rows(name)
    single = Predictions(logits=val.logits[:, :1], labels=np.zeros(300, int), extras=val.extras)
    with pytest.raises(DataError, match="at least 2 classes"):
        make(name).fit(single)
