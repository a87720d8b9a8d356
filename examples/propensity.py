"""What calibrating propensity scores does to an effect that is known: 1.

python examples/propensity.py [REPETITIONS]
"""

import sys
import warnings

from vlmcal.causal import benchmark

SETTINGS = [
    ("platt(smooth=false)", "other-folds"),
    ("isotonic", "full-sample"),
    ("isotonic", "other-folds"),
    ("isotonic", "nested"),
]


def main(repetitions: int = 10, n: int = 2000) -> None:
    """Print bias, error and coverage of the doubly robust estimate, over-confident boosting."""
    warnings.simplefilter("ignore")
    print(f"{'propensity':34} {'bias':>7} {'rmse':>7} {'covers':>7}")
    for name, (bias, rmse, covers) in benchmark(SETTINGS, repetitions=repetitions, n=n).items():
        print(f"{name:34} {bias:+7.3f} {rmse:7.3f} {covers:7.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
