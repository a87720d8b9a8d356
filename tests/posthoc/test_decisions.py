"""What a card says holds in simulations: interval, similar answers, and whom to rely on."""

from dataclasses import replace

import numpy as np
import pytest

from posthoc.simulated_hospital import hospital
from vlmcal.calibrators.platt import Platt
from vlmcal.posthoc.decisions import decide
from vlmcal.posthoc.kind_maps import COMMON, PULLS, KindMaps, cross_fit_kinds
from vlmcal.posthoc.kind_spread import LEAST_SPREAD, kind_shift
from vlmcal.posthoc.similar import agreed, similar_right
from vlmcal.types.confidences import Confidences
from vlmcal.types.estimate import Estimate


@pytest.fixture(scope="module")
def told():
    found = []
    for seed in range(8):
        rows, chance = hospital(seed)
        found.append((rows, chance, decide(rows, Platt(), resamples=20, seed=seed)))
    return found


def test_the_interval_holds_the_true_chance_of_the_kind_and_stated_confidence(told):
    inside = [(d.low - 1e-9 <= chance) & (chance <= d.high + 1e-9) for _, chance, d in told]
    assert np.mean(inside) >= 0.9
    rare = np.concatenate(
        [i[rows.kinds == "modality"] for i, (rows, _, _) in zip(inside, told, strict=True)]
    )
    assert rare.mean() >= 0.75
    # and it says something: it is not simply everything
    assert np.mean([(d.high - d.low).mean() for _, _, d in told]) < 0.3


def test_a_card_never_contradicts_itself(told):
    for _, _, d in told:
        for shown, low, high, similar in zip(
            d.rows.confidence, d.low, d.high, d.similar, strict=True
        ):
            assert similar.low - 1e-12 <= shown <= similar.high + 1e-12
            assert low <= shown <= high
        assert ((d.rows.confidence >= d.thresholds[0]) == d.accepted).all()


def test_new_answers_are_told_the_same_without_contradiction():
    past, _ = hospital(20)
    rows, chance = hospital(21)
    d = decide(past, Platt(), rows, resamples=20)
    assert ((d.low - 1e-9 <= chance) & (chance <= d.high + 1e-9)).mean() >= 0.8
    for shown, similar in zip(d.rows.confidence, d.similar, strict=True):
        assert similar.low <= shown <= similar.high
    assert d.thresholds[0] == decide(past, Platt(), resamples=0).thresholds[0]
    # Verdicts of new answers are not read.
    blind = decide(past, Platt(), replace(rows, correct=~rows.correct), resamples=20)
    np.testing.assert_array_equal(blind.rows.confidence, d.rows.confidence)


def test_a_probability_is_drawn_to_the_nearer_end_of_its_like():
    drawn, which = agreed(
        np.array([0.84, 0.4, 0.6]), (Estimate(0.64, 0.5, 0.76),) * 2 + (Estimate(float("nan")),)
    )
    assert drawn.tolist() == [0.76, 0.5, 0.6]
    assert which.tolist() == [True, True, False]


def test_more_images_are_said_to_be_needed_or_that_none_would_do():
    generator = np.random.default_rng(1)
    c = generator.uniform(0.5, 1, 120)
    rows = Confidences(confidence=c, correct=generator.random(120) < 0.88 + 0.24 * (c - 0.5))
    found = decide(rows, Platt(), resamples=0)
    assert found.outlook is not None
    assert found.outlook.images > 120
    assert found.outlook.share > found.accepted.mean()
    hopeless = Confidences(confidence=c, correct=np.arange(120) % 2 == 0)
    assert decide(hopeless, Platt(), resamples=0).outlook is None


def two_kinds(n, right=(0.3, 0.9)):
    kinds = np.repeat(["open", "closed"], n)
    generator = np.random.default_rng(0)
    return Confidences(
        confidence=generator.uniform(0.8, 1, 2 * n),
        correct=generator.random(2 * n) < np.repeat(right, n),
        kinds=kinds,
    )


def test_kinds_get_their_own_map_only_where_they_differ():
    differ = cross_fit_kinds(Platt(), two_kinds(200))
    assert differ.pull < COMMON
    assert "a map for each kind" in differ.told()
    alike = cross_fit_kinds(Platt(), two_kinds(200, right=(0.7, 0.7)))
    assert alike.pull == COMMON
    assert tuple(alike.losses) == PULLS
    assert "one map for all" in alike.told()
    means = [differ.rows.confidence[differ.rows.kinds == k].mean() for k in ("open", "closed")]
    assert means == pytest.approx([0.3, 0.9], abs=0.06)


def test_the_pull_mixes_log_odds_by_the_rows_of_the_kind():
    rows = two_kinds(100)
    new = replace(rows, ids=[f"n{i}" for i in range(200)]).subset(slice(90, 110))
    common, own, mixed = (
        KindMaps.fit(Platt(), rows, m).transform(new).confidence for m in (COMMON, 0, 25)
    )
    log_odds = [np.log(p / (1 - p)) for p in (common, own, mixed)]
    np.testing.assert_allclose(log_odds[2], 0.8 * log_odds[1] + 0.2 * log_odds[0], atol=1e-6)


def test_an_unseen_kind_gets_the_common_map_and_a_wide_shift():
    rows = two_kinds(100)
    new = Confidences(confidence=[0.9], correct=[True], kinds=["number"], ids=["x"])
    maps = KindMaps.fit(Platt(), rows, 0.0)
    assert maps.transform(new).confidence == maps.common.transform(new).confidence
    shift = kind_shift(cross_fit_kinds(Platt(), rows).common, new)
    assert shift.mean[0] == 0
    assert shift.deviation[0] >= LEAST_SPREAD


def test_similar_answers_are_of_other_images_and_the_same_kind():
    rows = replace(two_kinds(60), groups=np.arange(120).astype(str))
    for kind, estimate in zip(rows.kinds, similar_right(rows), strict=True):
        assert (estimate.value < 0.6) == (kind == "open")
