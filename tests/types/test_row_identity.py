"""The identity of rows: which were fitted on, and which groups stand on both sides."""

import numpy as np
import pytest
from scipy.stats import kstest

from vlmcal.calibrators.base import CalibrationWarning, Calibrator
from vlmcal.calibrators.temperature import Temperature
from vlmcal.conformal.base import ConformalPredictor, ConformalWarning
from vlmcal.conformal.lac import LAC
from vlmcal.errors import SplitError
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_hashes import content_hashes, row_uniforms, string_hashes
from vlmcal.types.row_identity import FittedRows, Marks, row_keys


def scores(n, k=4, seed=0):
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, k))
    return z, (z / 2 + rng.gumbel(size=(n, k))).argmax(axis=1)


def rows(n=200, seed=0, **other):
    z, y = scores(n, seed=seed)
    return Predictions(**{"logits": z, "labels": y, **other})


def fit_lac(val):
    return LAC().fit(val, 0.1)


def fit_temperature(val):
    return Temperature().fit(val)


WARNINGS = (CalibrationWarning, ConformalWarning)
BOTH = pytest.mark.parametrize("fit", [fit_lac, fit_temperature])


def apply(fitted, test):
    return fitted.predict(test) if isinstance(fitted, LAC) else fitted.transform(test)


def reloaded(fitted, folder):
    fitted.save(folder / "f.json")
    kind = ConformalPredictor if isinstance(fitted, LAC) else Calibrator
    return kind.load(folder / "f.json")


@BOTH
@pytest.mark.parametrize("k", [4, 40])
def test_fitting_rows_are_known_whatever_became_of_their_array(fit, k):
    z, y = scores(200, k)
    kept, fitted = z.copy(), fit(Predictions(logits=z, labels=y))
    z += 1.0
    with pytest.raises(SplitError, match="the very 200 rows"):
        apply(fitted, Predictions(logits=kept[::-1], labels=y[::-1]))


@BOTH
@pytest.mark.parametrize("n", [200, 3000])
def test_the_same_rows_are_known_in_any_order_with_any_labels(fit, n, tmp_path):
    val = rows(n)
    fitted = fit(val)
    for each in (fitted, reloaded(fitted, tmp_path)):
        for other in (
            val,
            val.subset(np.arange(n)[::-1]),
            Predictions(logits=val.logits, labels=np.zeros(n, dtype=int)),
            Predictions(logits=val.logits[::-1], labels=np.zeros(n, dtype=int)),
        ):
            with pytest.raises(SplitError, match=r"fitted on|used for fitting"):
                apply(each, other)


@BOTH
def test_a_part_of_the_rows_is_refused_by_ids_and_told_by_content(fit, tmp_path):
    val = rows(ids=[f"scan {i}" for i in range(200)])
    part = val.subset(np.arange(150, 200))
    new = rows(100, seed=1, ids=[f"new {i}" for i in range(100)])
    both = {
        "logits": np.vstack([new.logits, part.logits]),
        "labels": np.concatenate([new.labels, part.labels]),
    }
    fitted = fit(val)
    for each in (fitted, reloaded(fitted, tmp_path)):
        with pytest.raises(SplitError, match="50 rows were also used for fitting, of 150"):
            apply(each, Predictions(**both, ids=[*new.ids, *part.ids]))
        assert len(apply(each, new)) == 100
        with pytest.warns(
            WARNINGS, match="50 of the 150 rows of these rows have exactly the scores"
        ):
            apply(each, Predictions(**both))


@BOTH
def test_equal_scores_that_may_be_chance_are_told_and_not_refused(fit):
    z, y = scores(300, k=2)
    coarse = np.round(z, 1)
    first = Predictions(logits=coarse[:150], labels=y[:150])
    second = Predictions(logits=coarse[150:], labels=y[150:])
    with pytest.warns(WARNINGS, match="have exactly the scores"):
        assert len(apply(fit(first), second)) == 150


def test_stated_confidences_are_equal_by_nature():
    c = np.tile([0.5, 0.7, 0.8, 0.9, 1.0], 40)
    correct = np.random.default_rng(0).random(200) < 0.7
    fitted = Temperature().fit(Confidences(confidence=c, correct=correct))
    after = fitted.transform(Confidences(confidence=c[:150], correct=correct[:150]))
    assert len(after) == 150
    with pytest.raises(SplitError, match="very 200 rows"):
        fitted.transform(Confidences(confidence=c[::-1], correct=correct))


@BOTH
def test_groups_on_both_sides_are_counted(fit, tmp_path):
    val = rows(240, ids=[f"v{i}" for i in range(240)], groups=[f"p{i % 60}" for i in range(240)])
    test = rows(
        200,
        seed=1,
        ids=[f"t{i}" for i in range(200)],
        groups=[f"p{30 + i % 40}" for i in range(200)],
    )
    fitted = fit(val)
    for each in (fitted, reloaded(fitted, tmp_path)):
        with pytest.warns(
            WARNINGS,
            match="30 of 40 groups of these rows were fitted on",
        ):
            apply(each, test)
    assert "p30" not in (tmp_path / "f.json").read_text()


def test_of_many_groups_a_file_keeps_enough():
    n = 5000
    val = rows(n, groups=[f"p{i}" for i in range(n)])
    test = rows(n, seed=1, groups=[f"p{i + n // 2}" for i in range(n)])
    known = FittedRows.from_dict(FittedRows.of(val).to_dict(), n)
    shared = known.shared(test, "it")
    assert known.groups.kept.size == 1000
    assert shared.of_groups == pytest.approx(1000, rel=0.15)
    assert shared.groups / shared.of_groups == pytest.approx(0.5, abs=0.06)


def test_given_ids_name_rows_and_row_numbers_do_not():
    logits = np.random.default_rng(0).normal(size=(3, 5))
    given = Predictions(logits=logits, labels=[0, 1, 2], ids=["a", "b", "c"])
    assert row_keys(given).tolist() == ["a", "b", "c"]
    numbered = Predictions(logits=logits, labels=[0, 1, 2])
    other = Predictions(logits=logits + 1, labels=[0, 1, 2])
    turned = Predictions(logits=logits[::-1], labels=[2, 2, 2])
    assert not set(row_keys(numbered)) & set(row_keys(other))
    assert row_keys(numbered).tolist() == row_keys(turned)[::-1].tolist()


def test_repeated_rows_have_keys_of_their_own():
    keys = row_keys(Predictions(logits=[[1.0, 0.0], [2.0, 0.0]] * 50, labels=[0] * 100))
    assert np.unique(keys).size == 100
    assert {key.partition(".")[0] for key in keys} == {keys[0], keys[1]}


def test_hashes_do_not_clash_and_do_not_depend_on_the_width_of_the_array():
    z, _ = scores(200_000, k=3)
    assert np.unique(content_hashes(z)).size == len(z)
    rounded = np.unique(np.round(z, 1), axis=0)
    assert np.unique(content_hashes(rounded)).size == len(rounded)
    names = np.array([f"patient-{i}" for i in range(100_000)])
    assert np.unique(string_hashes(names)).size == names.size
    assert string_hashes(names[:1]) == string_hashes(np.array([names[0], "x" * 80]))[0]
    assert content_hashes(np.array([[0.0, 1.0]])) == content_hashes(np.array([[-0.0, 1.0]]))


def test_marks_that_were_cut_off_are_refused():
    assert Marks.from_text(Marks(np.array([3, 9], dtype=np.uint64)).to_text(2)).kept.tolist() == [
        3,
        9,
    ]
    with pytest.raises(ValueError, match="cut off"):
        Marks.from_text("00ff")


def test_uniform_numbers_are_uniform_and_independent_of_order():
    keys = np.array([f"row {i}" for i in range(20000)])
    u = row_uniforms(keys, 0, "a")
    assert kstest(u, "uniform").pvalue > 1e-3
    assert (row_uniforms(keys[::-1], 0, "a") == u[::-1]).all()
    for other in (row_uniforms(keys, 1, "a"), row_uniforms(keys, 0, "b"), np.roll(u, 1)):
        assert abs(np.corrcoef(u, other)[0, 1]) < 0.03
    assert u.min() >= 0
    assert u.max() < 1
