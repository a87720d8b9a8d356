"""A calibration error that holds whatever the judge does, where a person labelled a sample."""

import numpy as np
import pytest

from vlmcal.elicit.answers import Answer
from vlmcal.elicit.judge_errors import corrected_ece
from vlmcal.elicit.judging import corrected
from vlmcal.types.reading import Reading


def rows(draw, n=2000, labelled=400):
    """Overconfident by 0.2; the judge misses a third of the right answers."""
    p = draw.uniform(0.5, 1.0, n)
    right = draw.uniform(size=n) < p - 0.2
    judge = right & (draw.uniform(size=n) > 1 / 3)
    known = set(draw.choice(n, labelled, replace=False).tolist())
    return p, judge, [bool(right[i]) if i in known else None for i in range(n)]


def test_the_corrected_error_is_that_of_the_truth():
    draws = [np.random.default_rng(seed) for seed in range(8)]
    found = [corrected_ece(*rows(draw), resamples=100) for draw in draws]
    assert np.mean([each.value for each in found]) == pytest.approx(0.2, abs=0.02)
    assert sum(each.low <= 0.2 <= each.high for each in found) >= 6
    # The judge alone would say 0.38.
    p, judge, _ = rows(np.random.default_rng(0))
    assert abs(float(np.mean(p - judge))) > 0.33


def test_labels_tell_how_the_judge_errs(tmp_path):
    read = Reading(status="answered", answer="x", confidence=0.9, confidence_status="given")
    answers = [Answer(str(i), "verbalized", read, correct=i % 2 == 0) for i in range(8)]
    table = tmp_path / "labels.csv"
    table.write_text("id,correct\n0,true\n1,true\n2,true\n3,false\n")
    (found,) = corrected(answers, table)
    assert found.sensitivity == pytest.approx(2 / 3)
    assert found.specificity == 1.0
    # The judge says half, a quarter of its verdicts miss a right answer: 0.9 - 0.75.
    assert found.ece.value == pytest.approx(0.15)
