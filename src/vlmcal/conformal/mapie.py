"""The sets of MAPIE, to the letter: its tolerance and how it fills a set."""

from typing import Final, Literal

import numpy as np

from vlmcal.conformal.scores import aps_scores, rank_classes
from vlmcal.types.arrays import BoolArray, FloatArray

TOLERANCE: Final = 1e-8  # MAPIE compares all scores and probabilities with this

LastLabel = bool | Literal["randomized"]


def topk_sets(probabilities: FloatArray, places: int) -> BoolArray:
    """The classes at least as probable as the one at place ``places`` (from 0), with all that tie with it.

    Example:
        >>> topk_sets(np.array([[0.5, 0.25, 0.25]]), 1).tolist()
        [[True, True, True]]
    """
    last = np.take_along_axis(
        probabilities, rank_classes(probabilities, "reversed").order[:, places : places + 1], axis=1
    )
    return probabilities - last >= -TOLERANCE


def filled_sets(
    probabilities: FloatArray,
    threshold: float,
    include_last: LastLabel,
    uniforms: FloatArray | None = None,
) -> BoolArray:
    """Sets (N, K) filled from the likeliest class on until their mass reaches the threshold.

    The last class is the first one, in the numbering of the classes, whose mass is the smallest that
    reaches the threshold; where that class has (almost) no probability of its own, the smallest
    probability above the tolerance stands in for it.

    Args:
        probabilities: (N, K).
        threshold: Mass to be reached.
        include_last: Whether the class that crosses the threshold is in the set: always, never unless the
            set would be empty, or at random.
        uniforms: (N, 1) random numbers, for "randomized".

    Example:
        >>> p = np.array([[0.5, 0.3, 0.2]])
        >>> filled_sets(p, 0.7, True).tolist(), filled_sets(p, 0.7, False).tolist()
        ([[True, True, False]], [[True, False, False]])
    """
    mass = aps_scores(rank_classes(probabilities, "reversed"))
    if include_last is False:
        limit = np.maximum(threshold, mass.min(axis=1, keepdims=True))
        last = np.where(mass - limit > TOLERANCE, -np.inf, mass).argmax(axis=1)[:, None]
    else:
        last = np.where(mass - threshold < -TOLERANCE, np.inf, mass).argmin(axis=1)[:, None]
    own = np.take_along_axis(probabilities, last, axis=1)
    smallest = np.where(probabilities < TOLERANCE, np.inf, probabilities)
    own = np.where(own <= TOLERANCE, smallest.min(axis=1, keepdims=True), own)
    sets: BoolArray = probabilities - own >= -TOLERANCE
    if uniforms is not None:
        excess = (np.take_along_axis(mass, last, axis=1) - threshold) / own
        np.put_along_axis(sets, last, excess - uniforms <= TOLERANCE, axis=1)
    return sets
