"""Alarms: not more false ones than promised however often one looks, and true ones soon."""

import numpy as np
import pytest
from scipy.stats import binom

from vlmcal.errors import SpecError
from vlmcal.posthoc.monitoring import watch, watch_kinds
from vlmcal.types.confidences import Confidences


def stream(seed, n, *, chance=lambda p: p, kinds=None):
    generator = np.random.default_rng(seed)
    p = np.round(generator.beta(4, 1.5, n), 2)
    return Confidences(confidence=p, correct=generator.random(n) < chance(p), kinds=kinds)


def test_looked_at_after_every_outcome_false_alarms_stay_within_alpha():
    false = sum(watch(stream(seed, 1000), alpha=0.1).alarm is not None for seed in range(300))
    assert false <= binom.ppf(0.999, 300, 0.1)


@pytest.mark.parametrize(
    ("chance", "words", "soon"),
    [
        (lambda p: p - 0.15 * (p > 0.2), "too high", 400),
        (lambda p: np.minimum(1, p + 0.2), "too low", 400),
        (lambda p: 0.5 + 0.4 * (p - 0.5), "too", 400),
    ],
)
def test_what_is_wrong_is_noticed_and_named(chance, words, soon):
    found = [watch(stream(seed, 1000, chance=chance)) for seed in range(10)]
    alarms = [each.alarm for each in found]
    assert all(alarm is not None for alarm in alarms)
    assert np.median(alarms) < soon
    assert all(words in each.sentence() for each in found)


def test_the_first_value_by_hand():
    """One right answer at 0.5: the mean of q(1) / p(1) with logit q = a is twice that of expit(a)."""
    from vlmcal.posthoc.monitoring import INTERCEPTS

    found = watch(Confidences(confidence=[0.5], correct=[True]))
    by_hand = np.mean([2 / (1 + np.exp(-a)) for a in INTERCEPTS])
    assert np.exp(found.log_e[0]) == pytest.approx(by_hand) == pytest.approx(1.0)


def test_kinds_share_alpha_and_only_the_wrong_one_alarms():
    kinds = np.where(np.arange(1200) % 2 == 0, "CT", "MR")
    rows = stream(0, 1200)
    generator = np.random.default_rng(1)
    wrong = (kinds == "MR") & (generator.random(1200) < 0.3)
    rows = Confidences(confidence=rows.confidence, correct=rows.correct & ~wrong, kinds=kinds)
    found = watch_kinds(rows)
    assert {k: w.alarm is not None for k, w in found.items()} == {"CT": False, "MR": True}
    assert found["CT"].alpha == 0.025


def test_impossible_alpha_and_no_rows():
    with pytest.raises(SpecError, match="alpha"):
        watch(stream(0, 5), alpha=1.0)
    sure = watch(Confidences(confidence=[1.0, 1.0], correct=[True, False]))
    assert sure.alarm == 2
