"""What every registered metric promises, checked for every registered metric."""

import json
import math
import warnings

import numpy as np
import pytest

from vlmcal.errors import VlmcalError
from vlmcal.metrics import evaluate
from vlmcal.metrics.base import METRICS
from vlmcal.metrics.kit.inputs import Rows
from vlmcal.metrics.kit.ranking import RankStatistic
from vlmcal.metrics.measured import Evaluation
from vlmcal.types.confidences import Confidences
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

NAMES = METRICS.names()
K = 3
# Options without a default, and options that choose rows by chance, by their names.
REQUIRED = {"costs": 1.0 - np.eye(K)}
UNSEEDED = {"folds": 0}


def predictions(n, seed=0, coarse=False):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, K)) * 1.5
    if coarse:
        logits = np.round(logits)
    labels = (logits + rng.gumbel(size=(n, K))).argmax(axis=1)
    text = rng.normal(size=(2, K, 8))
    return Predictions(
        logits=logits,
        labels=labels,
        extras={
            "image_features": np.eye(8)[labels] + rng.normal(size=(n, 8)),
            "knn_distance": rng.random(n),
            "text_features": text[0],
            "zero_shot_text_features": text[1],
        },
    )


def carriers(n, seed=0, coarse=False):
    """One of each type that metrics unpack."""
    rows = predictions(n, seed, coarse)
    top = rows.top_label()
    kinds = np.where(np.arange(n) % 2 == 0, "open", "closed")
    yield rows
    yield Confidences(confidence=top.confidence, correct=top.correct, kinds=kinds)
    yield PredictionSets(sets=rows.probabilities() > 0.2, labels=rows.labels, alpha=0.2)


def carrier(name, n=60, seed=0, coarse=False):
    entry, options = METRICS.get(name), required(name)
    for data in carriers(n, seed, coarse):
        rows = Rows.of(data)
        if entry.applies_to(rows) or (options and rows.has("probabilities")):
            return data
    raise AssertionError(f"{name}: no type carries what it needs; extend `predictions`")


def required(name):
    options = METRICS.get(name).options
    return {key: option for key, option in REQUIRED.items() if key in options}


def arrays(name, n=60, seed=0, coarse=False):
    """Leading arrays and carried options of a metric, as plain NumPy arrays."""
    rows, options = Rows.of(carrier(name, n, seed, coarse)), required(name)
    args, keywords = METRICS.get(name).arguments(rows, options)
    plain = [a.dense() if isinstance(a, ClassProbabilities) else np.asarray(a) for a in args]
    keywords.pop("resolution", None)
    return plain, keywords


def by_row(values, rows, n):
    return values[rows] if np.ndim(values) and len(values) == n else values


def value(name, args, carried):
    return METRICS.get(name)(*args, **carried)


def same(one, two, tolerance=1e-9):
    return (math.isnan(one) and math.isnan(two)) or one == pytest.approx(two, abs=tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_finite_and_within_its_bounds(name):
    low, high = METRICS.get(name).bounds
    for seed in range(3):
        found = value(name, *arrays(name, seed=seed))
        assert math.isfinite(found)
        assert low - 1e-9 <= found <= high + 1e-9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("coarse", [False, True], ids=["continuous", "ties"])
def test_the_order_of_the_rows_does_not_matter(name, coarse):
    args, carried = arrays(name, coarse=coarse)
    shuffled = np.random.default_rng(1).permutation(60)
    turned = [by_row(a, shuffled, 60) for a in args]
    options = {key: by_row(option, shuffled, 60) for key, option in carried.items()}
    chance = {key: o for key, o in UNSEEDED.items() if key in METRICS.get(name).options}
    carried, options = {**carried, **chance}, {**options, **chance}
    assert same(value(name, args, carried), value(name, turned, options))


@pytest.mark.parametrize("name", NAMES)
def test_one_row_is_measured_or_refused_with_a_reason(name):
    low, high = METRICS.get(name).bounds
    args, carried = arrays(name, n=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = value(name, args, carried)
        except VlmcalError as error:
            assert "expected" in str(error)  # noqa: PT017
            return
    assert math.isnan(found) or low - 1e-9 <= found <= high + 1e-9


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["list", "torch", "gradient", "bfloat16"])
def test_every_kind_of_array_is_read(name, form):
    args, carried = arrays(name, coarse=True)
    wanted = value(name, args, carried)
    if form == "list":
        given = [a.tolist() for a in args]
    else:
        torch = pytest.importorskip("torch")
        given = [torch.tensor(a) for a in args]
        floating = [t.is_floating_point() for t in given]
        if form == "gradient":
            given = [t.requires_grad_(f) for t, f in zip(given, floating, strict=True)]
        if form == "bfloat16":
            given = [t.bfloat16() if f else t for t, f in zip(given, floating, strict=True)]
    found = value(name, given, carried)
    if form != "bfloat16":
        assert same(wanted, found)
    else:
        assert math.isfinite(found) == math.isfinite(wanted)


@pytest.mark.parametrize("name", [n for n in NAMES if METRICS.get(n).resample])
def test_weights_equal_repetition(name):
    args, carried = arrays(name)
    weights = np.random.default_rng(2).integers(1, 4, 60)
    rows = np.repeat(np.arange(60), weights)
    statistic = METRICS.get(name).resample(*args, **carried)
    weighted = statistic(weights.astype(np.float64))
    repeated = value(name, [by_row(a, rows, 60) for a in args], carried)
    # In a ranking a row of weight w stands at one rank; the ranks between its copies are not gone through.
    assert same(weighted, repeated, 1 / 60 if isinstance(statistic, RankStatistic) else 1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_evaluation_is_json_and_its_interval_holds_the_value(name):
    data = carrier(name)
    options = {name: required(name)}
    found = evaluate(data, [name], resamples=50, options=options)
    again = Evaluation.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()
    estimate = found[name]
    assert (estimate.low is None) == (estimate.high is None)
    if estimate.low is not None:
        assert estimate.low <= estimate.value <= estimate.high
    if estimate.p_value is not None:
        assert 0 <= estimate.p_value <= 1
    assert METRICS.get(name).interval or estimate.low is None
    assert "{" not in found.definitions[name]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_numbers(name):
    data = carrier(name)
    options = {name: required(name)}
    one, two = (evaluate(data, [name], resamples=20, seed=3, options=options) for _ in range(2))
    assert one.estimates == two.estimates or math.isnan(one[name].value)


@pytest.mark.parametrize(
    "name", [n for n in NAMES if METRICS.get(n).calibration and METRICS.get(n).infer]
)
def test_a_calibration_error_of_a_calibrated_model_is_chance(name):
    rejected = []
    for seed in range(20):
        estimate = evaluate(carrier(name, n=200, seed=seed), [name], seed=seed)[name]
        if estimate.p_value is not None:
            rejected.append(estimate.p_value < 0.05)
    assert sum(rejected) <= 5
