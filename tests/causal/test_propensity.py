"""Propensity scores: schemes, estimates and diagnostics against numbers worked out by hand."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

from vlmcal.calibrators.base import CALIBRATORS, scalar_calibrators
from vlmcal.causal import (
    ESTIMATORS,
    SCHEMES,
    benchmark,
    boosting_design,
    calibrate_scores,
    cross_fit,
    diagnose,
    effect,
    nested_scores,
    study,
)
from vlmcal.cli.app import app
from vlmcal.errors import DataError, SpecError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
SAMPLE = boosting_design(300, seed=3)
FITTED = cross_fit(SAMPLE.x, SAMPLE.d, SAMPLE.y)


def calibrated(**options):
    return calibrate_scores(FITTED.scores, SAMPLE.d, FITTED.fold, **options)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_gives_scores_inside_the_clip(scheme):
    nested = nested_scores(SAMPLE.x, SAMPLE.d, FITTED.fold) if scheme == "nested" else None
    m = calibrated(scheme=scheme, method="isotonic", clip=0.05, nested=nested)
    assert m.shape == (300,)
    assert m.min() >= 0.05
    assert m.max() <= 0.95


ALONE = [
    name
    for name in scalar_calibrators()
    if not CALIBRATORS.get(name).needs and not CALIBRATORS.get(name).fit_needs
]


@pytest.mark.parametrize("method", ALONE)
def test_any_scalar_calibrator_can_be_used(method):
    m = calibrated(method=method, scheme="full-sample")
    assert np.isfinite(m).all()
    assert ((m > 0) & (m < 1)).all()


def test_other_folds_do_not_see_a_rows_own_treatment():
    flipped = SAMPLE.d.copy()
    flipped[FITTED.fold == 0] = 1 - flipped[FITTED.fold == 0]
    first = calibrate_scores(FITTED.scores, flipped, FITTED.fold)
    inside = FITTED.fold == 0
    assert np.array_equal(first[inside], calibrated()[inside])
    assert not np.array_equal(first[~inside], calibrated()[~inside])


def test_within_a_fold_isotonic_reaches_the_share_of_each_fold():
    m = calibrated(scheme="within-fold", method="isotonic", clip=0.0)
    for fold in range(5):
        inside = FITTED.fold == fold
        assert m[inside].mean() == pytest.approx(SAMPLE.d[inside].mean())


def test_estimates_of_four_rows_by_hand():
    y, d, m = [2.0, 4.0, 1.0, 3.0], [1, 1, 0, 0], [0.5, 0.8, 0.5, 0.2]
    # w1 = 2, 1.25; w0 = 2, 1.25
    assert effect(y, d, m, estimator="ht").value == pytest.approx((4 + 5 - 2 - 3.75) / 4)
    assert effect(y, d, m, estimator="hajek").value == pytest.approx(9 / 3.25 - 5.75 / 3.25)
    # controls weighted by odds 1, 0.25
    assert effect(y, d, m, estimator="att_hajek").value == pytest.approx(3 - 1.75 / 1.25)
    # treated 0.5, 0.2; controls 0.5, 0.2
    assert effect(y, d, m, estimator="overlap").value == pytest.approx(1.8 / 0.7 - 1.1 / 0.7)
    g0, g1 = [1.0, 2.0, 1.0, 2.0], [2.0, 3.0, 2.0, 3.0]
    # 1 + (0 + 1.25 - 0 - 1.25) / 4
    assert effect(y, d, m, estimator="aipw", g0=g0, g1=g1).value == pytest.approx(1.0)
    # v = .5, .2, -.5, -.2; u = y - 2 = 0, 2, -1, 1: sum vu = .7, sum v^2 = .58
    assert effect(y, d, m, estimator="plr_residual", mean=[2.0] * 4).value == pytest.approx(
        0.7 / 0.58
    )


def test_estimates_are_those_of_doubleml():
    """DoubleML 0.11.4, IRM and PLR with these predictions; its variance divides by n, ours by n - 1."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=60)
    m = 1 / (1 + np.exp(-x))
    d = draw.random(60) < m
    y = x + d + draw.normal(size=60)
    aipw = effect(y, d, m, estimator="aipw", g0=x + 0.1, g1=x + 0.9)
    assert (aipw.value, aipw.se * np.sqrt(59 / 60)) == pytest.approx(
        (1.2166677955325094, 0.2456943393413946), rel=1e-9
    )
    plr = effect(y, d, m, estimator="plr_residual", mean=x + 0.5)
    assert (plr.value, plr.se) == pytest.approx((1.0802244226583961, 0.2296790733579691), rel=1e-9)


def test_a_right_outcome_model_makes_aipw_exact_whatever_the_propensity():
    d, g0 = np.array([0, 1] * 5), np.linspace(0, 1, 10)
    out = effect(g0 + 2 * d, d, np.full(10, 0.1), estimator="aipw", g0=g0, g1=g0 + 2)
    assert (out.value, out.se) == pytest.approx((2, 0), abs=1e-12)


def test_equal_weights_leave_the_differences_of_the_arms():
    out = diagnose(np.full(300, 0.5), SAMPLE.d, SAMPLE.x)
    assert out.after == pytest.approx(out.before)
    assert out.effective == pytest.approx((SAMPLE.d.sum(), 300 - SAMPLE.d.sum()))


def test_calibration_of_an_over_confident_learner_cuts_the_error_of_the_estimate():
    out = benchmark([("platt(smooth=false)", "other-folds")], repetitions=3, n=1000)
    (raw, calibrated_) = out["raw"], out["platt(smooth=false), other-folds"]
    assert calibrated_[1] < raw[1]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: calibrated(scheme="other-fold"), SpecError, "other-folds"),
        (lambda: calibrated(method="dirichlet"), SpecError, "class scores"),
        (lambda: calibrate_scores(FITTED.scores, SAMPLE.d), DataError, "fold"),
        (lambda: calibrate_scores([0.2, 0.3], [1, 1], [0, 1]), DataError, "one arm"),
        (lambda: effect([1.0, 2.0], [0, 1], [0.5, 1.0]), DataError, "clip"),
        (lambda: effect([1.0, 2.0], [0, 1], [0.5, 0.5]), SpecError, "g0"),
        (lambda: effect([1.0, 2.0], [0, 1], [0.5, 0.5], estimator="ipw"), SpecError, "estimator"),
        (lambda: study(SAMPLE.d, SAMPLE.y), SpecError, "covariates"),
        (lambda: cross_fit(SAMPLE.x, SAMPLE.d, learner="forrest"), SpecError, "forest"),
    ],
)
def test_errors_say_what_to_do(call, kind, words):
    with pytest.raises(kind, match=words):
        call()


def test_schemes_have_the_names_of_their_paper_too():
    same = calibrated(scheme="alg-3-cross-fitted-calib", method="isotonic")
    assert np.array_equal(same, calibrated(scheme="within-fold", method="isotonic"))
    with pytest.raises(SpecError, match="leaks"):
        calibrated(scheme="alg-4-single-split-calib")


def people(folder, **columns):
    path = folder / "arms.csv"
    texts = {"arm": np.where(SAMPLE.d == 1, "drug", "placebo"), "y": SAMPLE.y.astype(str)}
    texts |= {"x": SAMPLE.x[:, 0].astype(str), "ward": np.array(["A", "B", "C"] * 100), **columns}
    lines = [",".join(texts), *map(",".join, zip(*texts.values(), strict=True))]
    path.write_text("\n".join(lines))
    return [str(path), "--treatment", "arm", "--outcome", "y", "--covariates"]


def test_arms_and_categories_may_be_words(tmp_path):
    numbers = tmp_path / "n.json"
    words = [*people(tmp_path), "x,ward", "--treated", "drug", "--json", str(numbers)]
    result = CliRunner().invoke(app, ["propensity", *words])
    assert result.exit_code == 0, result.output
    assert "ward=C" in result.output
    x = np.column_stack([SAMPLE.x[:, 0], *(np.arange(300) % 3 == n for n in (1, 2))])
    own = study(SAMPLE.d, SAMPLE.y, covariates=x)
    found = json.loads(numbers.read_text())["calibrated"]["effects"]["aipw"]["value"]
    assert found == pytest.approx(own.effects[0].value, abs=1e-9)
    yes = people(tmp_path, arm=np.where(SAMPLE.d == 1, "Yes", "no"))
    assert CliRunner().invoke(app, ["propensity", *yes, "x"]).exit_code == 0


@pytest.mark.parametrize(
    ("columns", "more", "words"),
    [
        ({}, ["x"], '"drug", "placebo".*--treated'),
        ({}, ["x", "--treated", "drugs"], 'did you mean "drug"'),
        ({"arm": np.array(["a", "b", "c"] * 100)}, ["x", "--treated", "a"], "two arms"),
        (
            {"arm": np.array(["drug", ""] * 150)},
            ["x", "--treated", "drug"],
            "empty, first in row 2",
        ),
        ({"arm": np.array(["yes"] * 300)}, ["x"], "one arm"),
        ({"ward": np.arange(300).astype("U3")}, ["x,ward,y", "--treated", "drug"], "name it once"),
        ({"x": np.array([f"id {n}" for n in range(300)])}, ["x", "--treated", "drug"], "300 diff"),
        ({"x": np.array(["1.5", ""] * 150)}, ["x", "--treated", "drug"], "150 of 300"),
        ({"ward": np.array(["A"] * 300)}, ["ward", "--treated", "drug"], "same text"),
        ({}, ["x", "--treated", "drug", "--level", "1.5"], "level"),
        ({"f": np.array(["1"] * 300)}, ["x", "--treated", "drug", "--fold", "f"], "2 folds"),
    ],
)
def test_tables_that_tell_no_two_arms_are_refused(tmp_path, columns, more, words):
    result = CliRunner().invoke(app, ["propensity", *people(tmp_path, **columns), *more])
    assert isinstance(result.exception, DataError | SpecError), result.output
    assert re.search(words, str(result.exception)), str(result.exception)


def table(folder):
    path = folder / "people.csv"
    names = [f"x{i}" for i in range(10)]
    rows = np.column_stack([SAMPLE.x, SAMPLE.d, SAMPLE.y, FITTED.scores, FITTED.fold])
    lines = [",".join([*names, "treated", "y", "score", "fold"])]
    path.write_text("\n".join(lines + [",".join(f"{v:.12g}" for v in row) for row in rows]))
    return path


def test_the_command_line_shows_raw_beside_calibrated_and_saves(tmp_path):
    path, out, numbers = table(tmp_path), tmp_path / "m.csv", tmp_path / "n.json"
    names = ",".join(f"x{i}" for i in range(10))
    common = [str(path), "--treatment", "treated", "--outcome", "y"]
    first = CliRunner().invoke(
        app,
        ["propensity", *common, "--covariates", names, "-o", str(out), "--json", str(numbers)],
    )
    assert first.exit_code == 0, first.output
    assert "aipw" in first.output
    assert len(out.read_text().splitlines()) == 301
    found = json.loads(numbers.read_text())
    assert set(found["calibrated"]["effects"]) == set(ESTIMATORS)
    brought = CliRunner().invoke(
        app, ["propensity", *common, "--score", "score", "--fold", "fold", "-m", "isotonic"]
    )
    assert brought.exit_code == 0, brought.output
    assert "aipw" not in brought.output
