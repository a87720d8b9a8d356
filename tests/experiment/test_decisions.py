"""Resampling whole groups for the intervals of calibrated probabilities."""

import numpy as np
import pytest

from vlmcal.calibrators.platt import Platt
from vlmcal.errors import SplitError
from vlmcal.posthoc.decisions import _resampled, similar_right
from vlmcal.types.confidences import Confidences


def rows(n=60):
    generator = np.random.default_rng(3)
    confidence = generator.random(n)
    return Confidences(
        confidence=confidence,
        correct=generator.random(n) < confidence,
        ids=[f"q{i}" for i in range(n)],
        groups=[f"image {k}" for k in generator.integers(0, 20, n)],
    )


def test_groups_are_drawn_whole_and_as_many_as_there_are():
    given = rows()
    assert given.groups is not None
    place = {c: i for i, c in enumerate(given.confidence.tolist())}
    sizes = {g: int((given.groups == g).sum()) for g in given.groups.tolist()}
    samples = list(_resampled(given, 8, 0, 0))
    assert len({sample.confidence.tobytes() for sample in samples}) == 8
    for sample in samples:
        drawn = [place[c] for c in sample.confidence.tolist()]
        assert sample.correct.tolist() == given.correct[drawn].tolist()
        times = np.bincount(drawn, minlength=len(given))
        of_group = {g: set(times[given.groups == g].tolist()) for g in sizes}
        assert all(len(found) == 1 for found in of_group.values())
        assert sum(found.pop() for found in of_group.values()) == len(sizes)


def test_a_fit_on_drawn_rows_is_the_same_fit_and_knows_no_rows():
    given = rows()
    known, drawn = Platt().fit(given), Platt().fit(given, identify=False)
    with pytest.raises(SplitError, match="60 rows were also used"):
        known.transform(given)
    renamed = Confidences(
        confidence=given.confidence, correct=given.correct, ids=[f"r{i}" for i in range(60)]
    )
    np.testing.assert_array_equal(
        drawn.transform(given).confidence, known.transform(renamed).confidence
    )


def test_similar_answers_of_one_image_count_as_fewer():
    """Four neighbours, two images that agree within: design effect 4, so Wilson's interval of one row.

    With two images its quantile is Student's with one degree of freedom, z = 12.706: the ends are
    0.5 -+ 0.5 z / sqrt(1 + z^2).
    """
    found = similar_right(
        Confidences(
            confidence=[0.5] * 5,
            correct=[True, True, False, False, True],
            groups=["b", "b", "c", "c", "a"],
        ),
        neighbours=4,
    )[4]
    assert found.value == 0.5
    assert (found.low, found.high) == pytest.approx((0.0015, 0.9985), abs=1e-4)
