"""Calibrators of each finding, and sets that miss few of them."""

import json
import warnings

import numpy as np
import pytest

from vlmcal.calibrators.platt import Platt
from vlmcal.errors import DataError, SplitError, StoreError
from vlmcal.findings.base import FindingMethod, FindingWarning
from vlmcal.findings.false_negative_rate import FalseNegativeRate, FalseNegativeRatePerFinding
from vlmcal.findings.per_label import PerLabel
from vlmcal.metrics.finding_sets import evaluate_finding_sets
from vlmcal.types.multi_label import MultiLabel

NAMES = ("edema", "mass", "nodule")


def drawn(seed=0, n=400, split="val", shift=(-1.0, 0.0, 0.5), names=NAMES):
    """Findings of one image depend on each other through its severity."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, 1)) + rng.normal(size=(n, len(names))) + shift
    y = rng.random(z.shape) < 1 / (1 + np.exp(-0.6 * z + 0.3))
    return MultiLabel(
        probabilities=1 / (1 + np.exp(-z)),
        labels=y,
        names=names,
        ids=[f"{seed}-{i}" for i in range(n)],
        split=split,
    )


VAL, TEST = drawn(0), drawn(1, split="test")


def test_per_label_is_a_loop_over_the_findings():
    after = PerLabel("platt").fit(VAL).transform(TEST)
    for at, name in enumerate(NAMES):
        alone = Platt().fit(VAL.column(name)).transform(TEST.column(name)).probabilities()[:, 1]
        assert np.array_equal(after.probabilities[:, at], alone)
    assert np.array_equal(after.labels, TEST.labels)


def test_unknown_truths_are_not_fitted_on_and_order_of_findings_does_not_matter():
    y = VAL.labels.copy()
    y[::3, 1] = np.nan
    holes = MultiLabel(probabilities=VAL.probabilities, labels=y, names=NAMES, split="val")
    kept = VAL.subset(np.isfinite(y[:, 1]))
    fitted = PerLabel("platt").fit(holes)
    assert fitted.maps_[1].curves_ == Platt().fit(kept.column("mass")).curves_
    turned = MultiLabel(
        probabilities=VAL.probabilities[:, ::-1], labels=y[:, ::-1], names=NAMES[::-1], split="val"
    )
    assert PerLabel("platt").fit(turned).maps_[1].curves_ == fitted.maps_[1].curves_


def test_findings_with_few_rows_fall_back_and_say_so():
    rare = VAL.labels.copy()
    rare[:, 0] = 0
    rare[:4, 0] = 1
    rare[:, 1] = 0
    rare[:40, 1] = 1
    rows = MultiLabel(probabilities=VAL.probabilities, labels=rare, names=NAMES, split="val")
    with pytest.warns(FindingWarning) as told:
        fitted = PerLabel("isotonic").fit(rows)
    assert fitted.maps() == {"edema": "none", "mass": "platt", "nodule": "isotonic"}
    text = " ".join(str(item.message) for item in told)
    assert "stay as they are: edema" in text
    assert 'get "platt": mass' in text
    with pytest.warns(FindingWarning, match="stay as they are"):
        after = fitted.transform(TEST)
    assert np.allclose(after.probabilities[:, 0], TEST.probabilities[:, 0])


@pytest.mark.parametrize(
    "method", [PerLabel("beta"), FalseNegativeRate(), FalseNegativeRatePerFinding()]
)
def test_saved_and_loaded_and_rows_refused(tmp_path, method):
    file = tmp_path / "fitted.json"
    method.fit(VAL)
    method.save(file)
    again = FindingMethod.load(file)
    if isinstance(method, PerLabel):
        same = [m.transform(TEST).probabilities for m in (method, again)]
    else:
        same = [m.predict(TEST).sets for m in (method, again)]
    assert np.array_equal(*same)
    use = again.transform if isinstance(again, PerLabel) else again.predict
    with pytest.raises(SplitError, match="also used for fitting"):
        use(VAL.subset(slice(0, 10)))
    with pytest.raises(DataError, match="was fitted on the classes"):
        use(drawn(2, names=("edema", "mass", "hernia")))
    text = json.loads(file.read_text())
    text["fitted_on"]["n"] = 12
    file.write_text(json.dumps(text))
    with pytest.raises(StoreError, match="checksum"):
        FindingMethod.load(file)
    with pytest.raises(SplitError, match="test"):
        type(method)().fit(TEST)


def test_calibration_helps_on_other_rows():
    from vlmcal.metrics.multi_label import evaluate_multi_label

    test = drawn(5, 4000)
    after = PerLabel().fit(drawn(6, 4000)).transform(test)
    values = [evaluate_multi_label(rows, resamples=0)["macro_ece"].value for rows in (test, after)]
    assert values[1] < 0.03 < 0.05 < values[0]


def test_the_threshold_of_the_paper_by_trying_all():
    rows, alpha = drawn(3, 57), 0.13
    found = FalseNegativeRate(empty="zero").fit(rows, alpha).threshold_
    y, p, n = rows.labels == 1, rows.probabilities, len(rows)

    def bound(threshold):
        count = y.sum(axis=1)
        missed = (y & (p < threshold)).sum(axis=1) / np.maximum(count, 1)
        return n / (n + 1) * missed.mean() + 1 / (n + 1)

    best = max(value for value in p[y] if bound(value) <= alpha)
    assert found == best
    assert FalseNegativeRate().fit(rows, alpha).threshold_ <= best


def test_the_rate_of_missed_findings_is_kept_on_average():
    """Mean over calibration draws, against alpha and alpha less what n rows can waste (B / (n + 1))."""
    alpha, n, rates, per = 0.2, 60, [], []
    test = drawn(7, 4000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FindingWarning)
        for seed in range(100, 220):
            cal = drawn(seed, n)
            sets = FalseNegativeRate().fit(cal, alpha).predict(test)
            rates.append(evaluate_finding_sets(sets, resamples=0)["false_negative_rate"].value)
            own = FalseNegativeRatePerFinding().fit(cal, alpha).predict(test)
            found = evaluate_finding_sets(own, resamples=0)
            per.append([1 - found.groups[name]["sensitivity"].value for name in NAMES])
    error = np.std(rates) / np.sqrt(len(rates))
    assert alpha - 2 / (n / 2) - 3 * error < np.mean(rates) < alpha + 2 * error
    assert (np.mean(per, axis=0) < alpha + 0.012).all()


def test_too_few_rows_give_full_sets_and_say_so():
    with pytest.warns(FindingWarning, match="at least 19 are needed"):
        fitted = FalseNegativeRate().fit(drawn(4, 15), 0.05)
    with pytest.warns(FindingWarning):
        assert fitted.predict(TEST).sets.all()
