"""Calibrators and conformal methods on plain arrays of any kind."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

import vlmcal
from vlmcal.calibrators.base import CALIBRATORS, Calibrator
from vlmcal.calibrators.platt import Platt
from vlmcal.calibrators.temperature import Temperature
from vlmcal.conformal.aps import APS
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.conformal.class_conditional import ClassConditional
from vlmcal.conformal.lac import LAC
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.types.array_rows import array_rows
from vlmcal.types.arrays import as_array
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_identity import SharedRowsWarning

PLAIN = [n for n, c in CALIBRATORS.items() if not c.needs + c.fit_needs and "pro" not in n[:3]]


def data(n=300, k=3, seed=0):
    rng = np.random.default_rng(seed)
    z = 2 * rng.normal(size=(n, k))
    return z, (z / 2 + rng.gumbel(size=z.shape)).argmax(axis=1)


def lists(z):
    return z.tolist()


def frame(z):
    pandas = pytest.importorskip("pandas")
    return pandas.DataFrame(z, columns=list("abc")[: z.shape[1]])


def tensor(z, dtype="float64"):
    torch = pytest.importorskip("torch")
    made = torch.tensor(z, dtype=getattr(torch, dtype))
    return made.requires_grad_() if made.is_floating_point() else made


@pytest.mark.parametrize("form", [np.asarray, lists, frame, tensor])
def test_all_forms_give_the_same_numbers(form):
    (z, y), (new, _) = data(), data(50, seed=1)
    expected = Temperature().fit(Predictions(logits=z, labels=y))
    expected = expected.transform(Predictions(logits=new, labels=np.zeros(50, dtype=int)))
    fitted = Temperature().fit(form(z), y.tolist())
    np.testing.assert_allclose(fitted.predict_proba(form(new)), expected.probabilities())
    np.testing.assert_array_equal(fitted.predict(form(new)), new.argmax(axis=1))
    sets = APS().fit(form(softmax(z, axis=1)), y, alpha=0.1, scores="probs")
    assert sets.predict(form(softmax(new, axis=1))).sets.shape == (50, 3)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_tensors_of_any_type(dtype):
    (z, y), (new, _) = data(), data(50, seed=1)
    fitted = Temperature().fit(tensor(z, dtype), tensor(y, "int64"))
    assert fitted.temperature_ == pytest.approx(Temperature().fit(z, y).temperature_, rel=0.01)
    assert fitted.predict_proba(tensor(new, dtype)).shape == (50, 3)


@pytest.mark.parametrize("name", [n for n in PLAIN if n != "feature_isotonic"])
def test_every_calibrator_takes_arrays_and_needs_no_labels_to_be_applied(name):
    (z, y), (new, _) = data(), data(50, seed=1)
    fitted = CALIBRATORS.get(name)().fit(z, y)
    by_rows = CALIBRATORS.get(name)().fit(Predictions(logits=z, labels=y))
    by_rows = by_rows.transform(Predictions(logits=new, labels=np.zeros(50, dtype=int)))
    np.testing.assert_array_equal(fitted.predict_proba(new), by_rows.probabilities())


def test_names_of_classes_come_from_labels_or_columns():
    z, y = data()
    names = np.array(["cat", "dog", "owl"])
    fitted = ClassConditional().fit(z, names[y], 0.2)
    assert fitted.fitted_on_["class_names"] == names.tolist()
    assert fitted.predict(data(9, seed=1)[0]).class_names == tuple(names)
    framed = frame(z).rename(columns={"a": "owl", "b": "dog", "c": "cat"})
    fitted = Temperature().fit(framed, names[::-1][y])
    assert fitted.fitted_on_["class_names"] == ["owl", "dog", "cat"]
    assert fitted.temperature_ == Temperature().fit(z, y).temperature_
    with pytest.raises(DataError, match="'fox' is no column"):
        Temperature().fit(framed, ["fox"] * 300)
    with pytest.raises(DataError, match="2 different names for 3 columns"):
        Temperature().fit(z, ["cat", "dog"] * 150)


def test_one_number_per_row_is_a_confidence():
    rng = np.random.default_rng(0)
    c = rng.random(200)
    fitted = Platt().fit(c, rng.random(200) < c)
    assert fitted.predict_proba([0.2, 0.9]).shape == (2,)
    with pytest.raises(DataError, match="one number per row"):
        LAC().fit(c, rng.integers(2, size=200), 0.1)


def test_what_the_numbers_are_is_never_guessed():
    z, y = data()
    probs = softmax(z, axis=1)
    with pytest.raises(SpecError, match="scores='probs'"):
        Temperature().fit(probs, y)
    fitted = Temperature().fit(probs, y, scores="probs")
    assert fitted.temperature_ == pytest.approx(Temperature().fit(z, y).temperature_)
    assert fitted.predict_proba(softmax(data(5, seed=1)[0], axis=1)).shape == (5, 3)
    with pytest.raises(SpecError, match="carry their labels"):
        Temperature().fit(Predictions(logits=z, labels=y), y)
    with pytest.raises(SpecError, match="need labels"):
        Temperature().fit(z)
    with pytest.raises(SpecError, match=r"fit\(scores, labels, alpha"):
        LAC().fit(z, y)
    with pytest.raises(SpecError, match=r"fit\(rows, alpha\)"):
        LAC().fit(Predictions(logits=z, labels=y))


def test_the_rows_that_were_fitted_on_are_refused_here_too(tmp_path):
    z, y = data()
    fitted = Temperature().fit(z, y)
    with pytest.raises(SplitError, match="very 300 rows"):
        fitted.predict_proba(z[::-1])
    fitted.save(tmp_path / "t.json")
    with pytest.raises(SplitError, match="very 300 rows"):
        Calibrator.load(tmp_path / "t.json").predict_proba(z)
    LAC().fit(z, y, 0.1).save(tmp_path / "l.json")
    assert len(ConformalPredictor.load(tmp_path / "l.json").predict(data(7, seed=2)[0])) == 7


@pytest.mark.parametrize("groups", [None, np.arange(300) % 60])
def test_groups_of_plain_rows(groups):
    (z, y), (new, _) = data(), data(50, seed=1)
    fitted = Temperature().fit(z, y, groups=groups)
    if groups is None:
        fitted.predict_proba(new, groups=np.arange(50))
    else:
        with pytest.warns(UserWarning, match="50 of 50 groups"):
            fitted.predict_proba(new, groups=np.arange(50))


@pytest.mark.parametrize(
    "name", [n for n in CONFORMAL.names() if n not in ("lata", "group_conditional", "weighted")]
)
def test_sets_of_unlabelled_rows(name):
    (z, y), (new, _) = data(), data(50, seed=1)
    fitted = CONFORMAL.get(name)().fit(z, y, 0.2)
    sets = fitted.predict(new)
    assert not sets.labelled
    assert sets.sets.any(axis=1).mean() > 0.5
    with pytest.raises(DataError, match="no labels"):
        CONFORMAL.get(name)().fit(Predictions(logits=z, labels=None), 0.2)


def test_rows_without_labels_are_only_fitted_by_methods_that_read_none():
    z, _ = data()
    rows = Predictions(logits=z, labels=None, extras={"zero_shot_logits": z})
    with pytest.raises(DataError, match="no labels"):
        Temperature().fit(rows)
    assert CALIBRATORS.get("zs_range")().fit(rows).temperature_ == 1.0


@pytest.mark.parametrize("labels", ["strings", "series", "categorical", "column", "objects"])
def test_labels_of_every_form_give_the_same_numbers(labels):
    pandas = pytest.importorskip("pandas")
    z, y = data()
    names = np.array(["cat", "dog", "owl"])
    forms = {
        "strings": names[y].tolist(),
        "series": pandas.Series(names[y], index=np.arange(300)[::-1]),
        "categorical": pandas.Series(pandas.Categorical(names[y])),
        "column": pandas.DataFrame({"label": y}),
        "objects": y.astype(object),
    }
    given = forms[labels]
    found = vlmcal.evaluate(z, given, "ece", scores="logits", intervals=False)
    expected = vlmcal.evaluate(Predictions(logits=z, labels=y), "ece", intervals=False)
    assert found["ece"] == expected["ece"]
    assert Temperature().fit(z, given).temperature_ == Temperature().fit(z, y).temperature_


def test_labels_that_are_missing_are_no_class():
    z, y = data()
    names = np.array(["cat", "dog", "owl"])[y].astype(object)
    for nothing in (None, float("nan"), pytest.importorskip("pandas").NA):
        names[7] = nothing
        with pytest.raises(DataError, match="1 of 300 are missing, first in row 7"):
            vlmcal.evaluate(z, names, scores="logits")


def test_columns_in_another_order_are_refused_and_others_told():
    (z, y), (new, _) = data(), data(50, seed=1)
    fitted = Temperature().fit(frame(z), y)
    with pytest.raises(DataError, match=r"another order.*frame\[\['a', 'b', 'c'\]\]"):
        fitted.predict_proba(frame(new)[["c", "a", "b"]])
    with pytest.warns(UserWarning, match="class"):
        fitted.predict_proba(frame(new).rename(columns={"a": "x"}))


@pytest.mark.parametrize("form", [np.asarray, lists, frame, tensor])
@pytest.mark.parametrize("scores", ["logits", "probs"])
def test_comparisons_of_plain_arrays(form, scores):
    (z, y), (new, truth) = data(), data(80, seed=1)
    val, test = Predictions(logits=z, labels=y), Predictions(logits=new, labels=truth)
    names = np.array(["a", "b", "c"])
    if scores == "probs":
        z, new = softmax(z, axis=1), softmax(new, axis=1)
    given = {"labels": names[y], "test_labels": truth, "scores": scores}
    found = vlmcal.compare(form(z), form(new), ["none", "temperature"], **given)
    expected = vlmcal.compare(val, test, ["none", "temperature"])
    assert found.best.cross_validated == pytest.approx(expected.best.cross_validated)
    assert dict(found.best.test) == pytest.approx(dict(expected.best.test))
    sets = vlmcal.conformal_sets(form(z), form(new), 0.1, ["aps", "lac"], **given)
    assert sets["lac"].evaluation["coverage"].value == pytest.approx(
        vlmcal.conformal_sets(val, test, 0.1, ["lac"])["lac"].evaluation["coverage"].value
    )
    assert sets["lac"].sets.class_names == tuple("abc")


TORCH = pytest.importorskip("torch")
FORMS = {
    "tensors with gradients": lambda z: [TORCH.tensor(row, requires_grad=True) for row in z],
    "tensors of one number": lambda z: [[TORCH.tensor(cell) for cell in row] for row in z],
    "nullable columns": lambda z: pd.DataFrame(z).astype("Float64"),
    "objects": lambda z: z.astype(object),
    "decimals": lambda z: [[Decimal(cell) for cell in row] for row in z.tolist()],
    "other bytes": lambda z: z.astype(">f8"),
    "nothing masked": lambda z: np.ma.array(z, mask=False),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_numbers_in_other_containers_are_the_same_numbers(form):
    z, y = data(40)
    found = as_array(form(z))
    assert found.dtype.kind == "f"
    np.testing.assert_array_equal(found, z)
    measured = vlmcal.evaluate(form(z), y, "nll", scores="logits", intervals=False)
    expected = vlmcal.evaluate(z, y, "nll", scores="logits", intervals=False)
    assert measured["nll"].value == expected["nll"].value


def test_lists_of_coarse_tensors_keep_their_rounding_unit():
    z, y = data(40)
    coarse = TORCH.tensor(softmax(z, axis=1)).bfloat16()
    whole = vlmcal.evaluate(coarse, y, "ece", scores="probs", intervals=False)["ece"].value
    parts = vlmcal.evaluate(list(coarse), y, "ece", scores="probs", intervals=False)["ece"].value
    assert parts == whole


@pytest.mark.parametrize(
    ("values", "labels", "words"),
    [
        (np.ma.masked_less(data()[0], -3), data()[1], "masked"),
        (data()[0], np.ma.masked_equal(data()[1], 2), "masked"),
        (data()[0] + 1j, data()[1], "expected numbers"),
        ([[1.0, 0.0], [1.0]], [0, 1], "got list"),
        (TORCH.zeros(3, 2, device="meta"), [0, 1, 0], "got Tensor"),
        (pd.DataFrame({"a": [1.0, None], "b": [0.0, 1.0]}).convert_dtypes(), [0, 1], "in 1 of 2"),
        ([["1", "0"]], [0], "expected numbers"),
        (np.zeros((2, 2)), pd.Series([0, None], dtype="Int64"), "1 of 2 are missing"),
        (np.zeros((2, 2)), [0.0, np.nan], "1 of 2 are missing"),
        (pd.DataFrame(np.eye(3), columns=[1, 2, 3]), [1, 2, 1], "names or positions"),
    ],
)
def test_what_is_no_number_is_refused(values, labels, words):
    with pytest.raises(DataError, match=words):
        vlmcal.evaluate(values, labels, "accuracy", scores="logits", intervals=False)


def test_integers_that_name_columns_are_names():
    z, y = data(60)
    for names in ([1, 2, 3], ["10", "20", "30"]):
        frame = pd.DataFrame(z, columns=names)
        rows = array_rows(frame, np.array(names).astype(int)[y], "logits")
        assert rows.labels.tolist() == y.tolist()
        assert array_rows(frame, np.where(y > 1, 0, y), "logits").labels.max() == 1


def test_comparisons_without_labels_of_the_test_rows():
    (z, y), (new, _) = data(), data(80, seed=1)
    found = vlmcal.compare(z, new, ["temperature"], labels=y)
    assert (dict(found.best.test), found.best.changed) == ({}, 0.0)
    sets = vlmcal.conformal_sets(z, new, 0.1, ["lac"], labels=y, scores="logits")
    assert sets["lac"].evaluation is None
    assert "lac      marginal         -" in repr(sets)
    groups = np.arange(300) % 60
    kept = vlmcal.compare(z, methods=["temperature"], labels=y, groups=groups)
    rows = Predictions(logits=z, labels=y, groups=groups)
    assert (
        kept.best.cross_validated
        == vlmcal.compare(rows, None, ["temperature"]).best.cross_validated
    )


@pytest.mark.parametrize(
    ("rows", "given", "words"),
    [
        ((data()[0], data(9)[0]), {}, "labels="),
        ((data()[0],), {"labels": data()[1], "test_labels": [1]}, "no test rows"),
        (([0.1, 0.9], [0.2]), {"labels": [0, 1]}, "right answers"),
        ((Predictions(logits=data()[0], labels=data()[1]),), {"labels": [0]}, "carry their"),
    ],
)
def test_what_a_comparison_lacks_is_said(rows, given, words):
    with pytest.raises(SpecError, match=words):
        vlmcal.compare(*rows, methods=["none"], **given)


def test_groups_on_both_sides_of_a_comparison_are_said_once():
    (z, y), (new, truth) = data(), data(90, seed=1)
    groups = {"groups": np.arange(300) % 30, "test_groups": np.arange(90) % 40}
    given = {"labels": y, "test_labels": truth, "scores": "logits", **groups}
    with pytest.warns(SharedRowsWarning, match="^30 of 40 groups of the test rows") as told:
        vlmcal.compare(z, new, ["none", "temperature"], **given)
    assert len(told) == 1
    with pytest.warns(SharedRowsWarning, match="^30 of 40 groups of the test rows") as told:
        vlmcal.conformal_sets(z, new, 0.1, ["lac", "aps"], **given)
    assert len(told) == 1


def test_methods_are_named_in_any_writing_one_or_several():
    (z, y), (new, truth) = data(90), data(60, seed=1)
    given = {"labels": y, "test_labels": truth, "scores": "logits"}
    for methods, names in (
        ("temperature", {"temperature"}),
        ("none, histogram(bins=5)", {"none", "histogram(bins=5)"}),
        ({"name": "histogram", "bins": 5}, {"histogram(bins=5)"}),
        ([Temperature(), {"name": "histogram", "bins": 5}], {"temperature", "histogram(bins=5)"}),
        (Temperature(), {"temperature"}),
    ):
        assert {row.name for row in vlmcal.compare(z, new, methods, **given).rows} == names
    for methods, names in (
        ("lac", {"lac"}),
        ({"name": "raps", "penalty": 0.3}, {"raps(penalty=0.3)"}),
        ([LAC(), "aps"], {"lac", "aps"}),
        ({"mine": LAC()}, {"mine"}),
    ):
        found = vlmcal.conformal_sets(z, new, 0.2, methods, **given)
        assert {row.name for row in found.rows} == names
    one = vlmcal.evaluate(z, y, {"name": "ece", "bins": 5}, scores="logits", intervals=False)
    assert (
        one["ece"] == vlmcal.evaluate(z, y, "ece(bins=5)", scores="logits", intervals=False)["ece"]
    )
    with pytest.raises(SpecError, match='did you mean "temperature"'):
        vlmcal.compare(z, new, "temprature", **given)
