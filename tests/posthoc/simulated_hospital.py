"""Answers to a hospital's questions of which the true chance to be right is known."""

import numpy as np
from scipy.special import expit, logit

from vlmcal.types.confidences import Confidences

# Of each kind: share of the questions, and slope and intercept of the log-odds of being right in the stated.
KINDS = {
    "closed": (0.50, 0.7, 0.9),
    "open": (0.30, 0.6, -0.9),
    "number": (0.15, 0.4, -1.8),
    "modality": (0.05, 0.8, 1.2),
}
STATED = np.array([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0])


def hospital(seed, n=300, per_image=3):
    """Rows with ties in the stated confidence, unlike kinds, few rows of one; and the true chances (N,)."""
    generator = np.random.default_rng(seed)
    kinds = generator.choice(list(KINDS), n, p=[share for share, _, _ in KINDS.values()])
    stated = generator.choice(STATED, n, p=[0.02, 0.05, 0.08, 0.2, 0.15, 0.25, 0.15, 0.1])
    log_odds = logit(np.minimum(stated, 0.98))
    slope, intercept = (np.array([KINDS[kind][j] for kind in kinds]) for j in (1, 2))
    chance = expit(slope * log_odds + intercept)
    rows = Confidences(
        confidence=stated,
        correct=generator.random(n) < chance,
        ids=[f"{seed} {i}" for i in range(n)],
        groups=[f"{seed} image {i // per_image}" for i in range(n)],
        kinds=kinds,
    )
    return rows, chance
