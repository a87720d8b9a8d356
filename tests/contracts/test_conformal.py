"""What every conformal method promises, checked on each name of the registry."""

import json
import warnings
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import betabinom

from conformal.conformal_rows import simulate, split_rows
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor, ConformalWarning
from vlmcal.conformal.group_conditional import GroupConditional
from vlmcal.conformal.split import SplitConformal
from vlmcal.errors import DataError, SpecError, SplitError

NAMES = CONFORMAL.names()
SPLIT = [name for name, method in CONFORMAL.items() if issubclass(method, SplitConformal)]
DRAWS = 1000

pytestmark = pytest.mark.filterwarnings("ignore::vlmcal.conformal.base.ConformalWarning")


@pytest.fixture(scope="module")
def rows():
    return split_rows(simulate(500, seed=1), 400)


from_dict = ConformalPredictor.from_dict


def fitted(name, calibration, alpha=0.1, **parameters):
    return CONFORMAL.get(name)(**parameters).fit(calibration, alpha)


def test_the_registry_holds_the_methods_of_the_manual():
    assert set(NAMES) == {
        *("lac", "aps", "raps", "saps", "topk", "margin", "class_conditional"),
        *("group_conditional", "clustered", "risk_control", "lata", "abstain", "weighted"),
        *("cross_conformal", "learn_then_test"),
    }


@pytest.mark.parametrize("name", NAMES)
def test_says_what_it_assumes_and_promises(name):
    text = CONFORMAL.get(name).__doc__
    assert "Assumption:" in text
    assert "Guarantee:" in text


@pytest.mark.parametrize("randomised", [True, False])
@pytest.mark.parametrize("name", SPLIT)
def test_coverage_over_many_draws(name, randomised):
    # One stratum per draw: a thousand independent calibrations in one call.
    n, m, alpha = 40, 20, 0.1
    parameters = {"randomised": randomised} if hasattr(CONFORMAL.get(name), "randomised") else {}
    calibration, test = split_rows(simulate(DRAWS * (n + m), seed=2), DRAWS * n)
    mondrian = GroupConditional(score=name, score_parameters=parameters)
    mondrian.fit(calibration, alpha, strata=np.repeat(np.arange(DRAWS), n))
    covered = mondrian.predict(test, strata=np.repeat(np.arange(DRAWS), m)).covered()
    rank = int(np.ceil((n + 1) * (1 - alpha)))
    error = betabinom(m, rank, n + 1 - rank).std() / m / np.sqrt(DRAWS)
    assert covered.mean() >= 1 - alpha - 4 * error
    if parameters.get("randomised", name != "topk"):
        assert covered.mean() == pytest.approx(rank / (n + 1), abs=4 * error)


COVERING = {
    "class_conditional": (100, {}),
    "clustered": (120, {"clusters": 2, "fraction": 0.4}),
    "group_conditional": (60, {}),
    "risk_control": (40, {}),
    "weighted": (40, {}),
    "lata": (40, {"neighbours": 5, "window": 30}),
}


@pytest.mark.parametrize("name", sorted(COVERING))
def test_coverage_of_methods_that_do_more_than_one_threshold(name):
    n, parameters = COVERING[name]
    m, draws, alpha = 20, 400 if name == "clustered" else DRAWS, 0.1
    every = simulate(draws * (n + m), k=3, seed=3)
    per_draw = np.empty(draws)
    method = CONFORMAL.get(name)(**parameters)
    for draw in range(draws):
        block = every.subset(np.arange(draw * (n + m), (draw + 1) * (n + m)))
        calibration, test = split_rows(block, n)
        per_draw[draw] = method.fit(calibration, alpha).predict(test).covered().mean()
    assert per_draw.mean() >= 1 - alpha - 4 * per_draw.std() / np.sqrt(draws)
    assert per_draw.mean() < 0.98


@pytest.mark.parametrize("name", ["class_conditional", "group_conditional"])
def test_coverage_within_each_class_and_each_group(name):
    n, m, draws, alpha = 150, 60, 300, 0.2
    every = simulate(draws * (n + m), k=3, seed=4)
    covered, test_rows = [], np.arange(len(every)) % (n + m) >= n
    for draw in range(draws):
        block = every.subset(np.arange(draw * (n + m), (draw + 1) * (n + m)))
        calibration, test = split_rows(block, n)
        covered.append(fitted(name, calibration, alpha).predict(test).covered())
    covered = np.concatenate(covered)
    part = every.labels if name == "class_conditional" else every.groups
    for value in np.unique(part):
        inside = covered[part[test_rows] == value]
        # Draws share thresholds, which inflates the error: 0.06 is the deviation of a Beta(21, 5).
        error = np.sqrt(0.16 / inside.size + 0.08**2 / draws)
        assert inside.mean() >= 1 - alpha - 4 * error
        assert inside.mean() < 1 - alpha + 0.07


@pytest.mark.parametrize("name", NAMES)
def test_sets_grow_as_alpha_falls(name, rows):
    calibration, test = rows
    sets = [fitted(name, calibration, alpha).predict(test).sets for alpha in (0.4, 0.2, 0.1, 0.02)]
    for smaller, larger in pairwise(sets):
        assert (smaller <= larger).all()
    assert sets[0].sum() < sets[-1].sum()


@pytest.mark.parametrize("name", NAMES)
def test_refuses_test_rows_and_rows_it_has_seen(name, rows):
    calibration, test = rows
    with pytest.raises(SplitError, match="test"):
        fitted(name, replace(calibration, split="test"))
    with pytest.raises(SplitError, match="10 rows"):
        fitted(name, calibration).predict(calibration.subset(np.arange(10)))
    numbered = [replace(part, ids=None) for part in rows]
    assert len(fitted(name, numbered[0]).predict(numbered[1])) == len(test)
    with pytest.raises(SplitError):
        fitted(name, numbered[0]).predict(numbered[0])


@pytest.mark.parametrize("name", NAMES)
def test_survives_json(name, rows):
    calibration, test = rows
    first = fitted(name, calibration)
    text = json.dumps(first.to_dict(), allow_nan=False)
    second = from_dict(json.loads(text))
    assert type(second) is type(first)
    assert json.dumps(second.to_dict(), allow_nan=False) == text
    one, two = first.predict(test), second.predict(test)
    assert (one.sets == two.sets).all()
    assert json.dumps(two.provenance, allow_nan=False)
    assert two.alpha == 0.1
    with pytest.raises(SplitError):
        second.predict(calibration)


@pytest.mark.parametrize("name", NAMES)
def test_unfitted_survives_json_and_refuses_to_predict(name, rows):
    method = CONFORMAL.get(name)()
    method = from_dict(json.loads(json.dumps(method.to_dict(), allow_nan=False)))
    with pytest.raises(SpecError, match="not fitted"):
        method.predict(rows[1])


@pytest.mark.parametrize("name", NAMES)
def test_numbering_of_the_classes_does_not_matter(name, rows):
    order = np.array([2, 0, 3, 1])
    back = np.argsort(order)
    moved = [
        replace(
            part,
            logits=part.logits[:, order],
            labels=back[part.labels],
            class_names=tuple(part.class_names[i] for i in order),
        )
        for part in rows
    ]
    plain = fitted(name, rows[0]).predict(rows[1])
    permuted = fitted(name, moved[0]).predict(moved[1])
    assert (permuted.sets == plain.sets[:, order]).all()


@pytest.mark.parametrize("name", [name for name in NAMES if name != "lata"])
def test_a_row_gets_the_same_set_in_any_order_and_batch(name, rows):
    calibration, test = rows
    method = fitted(name, calibration)
    plain = method.predict(test).sets
    backwards = np.arange(len(test))[::-1]
    assert (method.predict(test.subset(backwards)).sets == plain[backwards]).all()
    assert (method.predict(test.subset([7])).sets[0] == plain[7]).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("k", [1, 2])
def test_few_classes(name, k):
    calibration, test = split_rows(simulate(120, k=k, seed=5), 80)
    sets = fitted(name, calibration).predict(test)
    assert sets.sets.shape == (40, k)
    assert sets.covered().mean() > 0.75


@pytest.mark.parametrize("name", NAMES)
def test_too_few_rows_give_full_sets_and_say_how_many_are_needed(name):
    calibration, test = split_rows(simulate(20, seed=6), 5)
    test = test if name == "group_conditional" else replace(test, groups=None)
    with pytest.warns(ConformalWarning, match=r"needed|needs"):
        method = fitted(name, calibration)
    need = {"abstain": "22", "learn_then_test": "59"}.get(name, "9")
    assert any(f" {need} " in message for message in method.messages_)
    result = method.predict(test)
    assert result.sets.all()
    assert result.provenance["messages"] == method.messages_


@pytest.mark.parametrize("name", NAMES)
def test_another_class_list(name, rows):
    calibration, test = rows
    other = replace(test, class_names=("a", "b", "c", "d"))
    method = fitted(name, calibration)
    if not method.any_classes:
        with pytest.raises(DataError, match="each class"):
            method.predict(other)
        return
    with pytest.warns(ConformalWarning, match="does not carry over"):
        result = method.predict(other)
    assert "does not carry over" in result.provenance["messages"][-1]


@pytest.mark.parametrize("name", NAMES)
def test_bad_input_is_named(name, rows):
    calibration, _ = rows
    for alpha in (0.0, 1.0, 10, float("nan")):
        with pytest.raises(SpecError, match="alpha"):
            fitted(name, calibration, alpha)
    saved = CONFORMAL.get(name)().to_dict()
    saved["parameters"]["no_such"] = 1
    with pytest.raises(SpecError, match="no_such"):
        from_dict(saved)
    with pytest.raises(SpecError, match="expected a saved"):
        CONFORMAL.get(name).from_dict({**saved, "conformal": "other"})


@pytest.mark.parametrize("name", NAMES)
def test_training_rows_are_accepted_with_a_warning(name, rows):
    with pytest.warns(ConformalWarning, match="not trained on them"):
        fitted(name, replace(rows[0], split="train"))


@pytest.mark.parametrize("name", NAMES)
def test_enough_rows_give_no_warning(name):
    calibration, test = split_rows(simulate(4000, k=20, seed=7), 3500)
    if name != "group_conditional":
        calibration, test = replace(calibration, groups=None), replace(test, groups=None)
    parameters = {"clusters": 2, "fraction": 0.5} if name == "clustered" else {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        method = fitted(name, calibration, 0.4, **parameters)
        method.predict(test)
    assert method.messages_ == []
