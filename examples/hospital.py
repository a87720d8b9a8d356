"""Does what is said about a hospital's 300 questions hold? Answers of which the truth is known.

Run:  python examples/hospital.py

Questions of four kinds, three to an image, with a confidence in words ("90 %"): some kinds are answered far
worse than stated, one is rare, and many confidences are equal. Each simulation draws 300 answers, asks
`vlmcal.posthoc.decide` for advice as `vlmcal vqa evaluate` does, and compares it with the true chance of
every answer to be right.
"""

import argparse
import warnings

import numpy as np
from scipy.special import expit, logit

from vlmcal.calibrators import Platt
from vlmcal.conformal import Abstain
from vlmcal.posthoc import decide
from vlmcal.types.confidences import Confidences

# Of each kind: share of the questions, slope and intercept of the log-odds of being right in the stated.
KINDS = {
    "closed": (0.50, 0.9, 1.2),
    "open": (0.30, 0.6, -0.9),
    "number": (0.15, 0.4, -1.8),
    "modality": (0.05, 0.8, 1.2),
}
STATED = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0]
SHARES = [0.02, 0.05, 0.08, 0.2, 0.15, 0.25, 0.15, 0.1]
TARGET = 0.1


def hospital(seed: int, n: int) -> tuple[Confidences, np.ndarray]:
    """Answers, and the true chance of each to be right."""
    generator = np.random.default_rng(seed)
    kinds = generator.choice(list(KINDS), n, p=[share for share, _, _ in KINDS.values()])
    stated = generator.choice(STATED, n, p=SHARES)
    slope, intercept = (np.array([KINDS[kind][j] for kind in kinds]) for j in (1, 2))
    chance = expit(slope * logit(np.minimum(stated, 0.98)) + intercept)
    rows = Confidences(
        confidence=stated,
        correct=generator.random(n) < chance,
        ids=[f"question {i}" for i in range(n)],
        groups=[f"image {i // 3}" for i in range(n)],
        kinds=kinds,
    )
    return rows, chance


def check_cards(simulations: int, n: int) -> None:
    """Interval, similar answers and threshold of 300 questions against the truth."""
    covered, contradictions, relied, violations, none = [], 0, [], 0, 0
    for seed in range(simulations):
        rows, chance = hospital(seed, n)
        advice = decide(rows, Platt(), target_risk=TARGET, resamples=40, seed=seed)
        covered.append(np.mean((advice.low <= chance) & (chance <= advice.high)))
        contradictions += sum(
            not e.low <= p <= e.high
            for e, p in zip(advice.similar, advice.rows.confidence, strict=True)
        )
        relied.append(advice.accepted.mean())
        none += not advice.accepted.any()
        if advice.accepted.any():
            violations += 1 - chance[advice.accepted].mean() > TARGET
    print(f"{simulations} simulations of {n} questions, 95 % intervals, target {TARGET:.0%} wrong")
    print(f"rows whose interval holds the truth   {np.mean(covered):.1%}")
    print(f"probabilities outside their like      {contradictions}")
    print(
        f"answers relied on                     {np.mean(relied):.1%} (nothing in {none} simulations)"
    )
    print(f"simulations above the target          {violations / simulations:.1%} (promised: 10 %)")


def check_reliance(simulations: int) -> None:
    """How much can be relied on with more questions, where 83 % could be with the truth known."""
    for n in (153, 300, 600, 1200):
        shares, violations = [], 0
        for seed in range(simulations):
            generator = np.random.default_rng(seed)
            confidence = generator.random(n)
            right = generator.random(n) >= 0.24 * (1 - confidence)
            rows = Confidences(confidence=confidence, correct=right)
            threshold = Abstain().fit_confidences(rows, TARGET).threshold_
            shares.append(max(0.0, 1 - threshold))
            violations += np.isfinite(threshold) and 0.12 * (1 - threshold) > TARGET
        print(
            f"{n:5} independent answers: relied on {np.mean(shares):.0%}, above the target in "
            f"{violations / simulations:.0%}"
        )


def main() -> None:
    """Print both checks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=20)
    parser.add_argument("--questions", type=int, default=300)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    check_cards(given.simulations, given.questions)
    check_reliance(5 * given.simulations)


if __name__ == "__main__":
    main()
