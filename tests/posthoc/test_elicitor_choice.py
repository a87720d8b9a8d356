"""The verdict is about all ways of asking, not about the first."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from vlmcal.calibrators.platt import Platt
from vlmcal.elicit.rows import ElicitorRows, States
from vlmcal.posthoc.elicitor_choice import choose_elicitor
from vlmcal.types.confidences import Confidences


def elicitor(label, confidence, correct, **more):
    n = len(confidence)
    rows = Confidences(
        confidence=confidence,
        correct=correct,
        ids=[f"q{i}" for i in range(n)],
        groups=[f"image {i // 2}" for i in range(n)],
        **more,
    )
    states = States(
        n, Counter(answered=n), Counter(given=n), n, int(rows.correct.sum()), ("exact",)
    )
    return ElicitorRows(label, states, rows, rows, (), ())


@pytest.fixture
def verdicts():
    generator = np.random.default_rng(0)
    chance = generator.choice([0.2, 0.95], 400)
    return chance, generator.random(400) < chance


def test_the_one_whose_confidence_tells_is_to_be_used(verdicts):
    chance, right = verdicts
    noise = np.random.default_rng(1).uniform(0.5, 1, 400)
    found = choose_elicitor(
        [elicitor("noise", noise, right), elicitor("knows", chance, right)], Platt()
    )
    assert [c.name for c in found.candidates] == ["knows", "noise"]
    assert found.equals == ("knows",)
    (told,) = found.sentences()
    assert told.startswith("Use “knows”")
    # By hand, about: half of the answers are right with 0.2, half with 0.95.
    p = np.where(chance < 0.5, right[chance < 0.5].mean(), right[chance > 0.5].mean())
    assert found.candidates[0].worth == pytest.approx((right - (right - p) ** 2).mean(), abs=0.01)


def test_the_same_answers_are_not_distinguishable(verdicts):
    chance, right = verdicts
    shaken = np.clip(chance + np.random.default_rng(2).normal(0, 0.01, 400), 0, 1)
    found = choose_elicitor([elicitor("a", chance, right), elicitor("b", shaken, right)], Platt())
    assert set(found.equals) == {"a", "b"}
    assert "not distinguishable" in found.sentences()[0]


def test_fusion_is_a_candidate_and_a_plain_elicitor_is_preferred_where_it_does_not_help(verdicts):
    chance, right = verdicts
    noise = np.random.default_rng(1).uniform(0.5, 1, 400)
    stated = elicitor("stated", noise, right, extras={"signals": chance[:, None]})
    found = choose_elicitor([stated], Platt())
    assert found.candidates[0].name == "fusion on stated"
    assert found.equals == ("fusion on stated",)
    useless = elicitor("stated", chance, right, extras={"signals": noise[:, None]})
    assert "such as “stated”" in choose_elicitor([useless], Platt()).sentences()[0]


def test_unanswered_questions_are_worth_nothing(verdicts):
    chance, right = verdicts
    full = elicitor("full", chance, right)
    half = elicitor("half", chance, right)
    half = replace(half, parsed=half.parsed.subset(slice(0, 200)))
    found = choose_elicitor([half, full], Platt())
    assert found.candidates[0].name == "full"
    assert found.candidates[1].worth < 0.6 * found.candidates[0].worth
    assert found.candidates[1].usable == 200
    # One that is always wrong and knows it is worth nothing, however well calibrated.
    wrong = elicitor("wrong", np.full(400, 0.01), np.zeros(400, bool))
    assert choose_elicitor([wrong, full], Platt()).candidates[1].worth == pytest.approx(0, abs=0.01)
