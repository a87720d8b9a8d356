"""False alarms of the conformal report on exchangeable rows, by simulation: docs/results/conformal.md.

python scripts/write_conformal_results.py                # about ten minutes of one core
python scripts/write_conformal_results.py --draws 40     # a look at it

In every draw the calibration rows and the test rows come from one source, so that each alarm is a false one.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np

from vlmcal.conformal.base import CONFORMAL
from vlmcal.metrics.measured import Evaluation
from vlmcal.posthoc.label_sets import SetRow
from vlmcal.report.pages.label_sets import falls_short
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions

PAGE = Path(__file__).parent.parent / "docs" / "results" / "conformal.md"
# The report of N methods is that of the first N.
METHODS = ("lac", "aps", "raps", "class_conditional", "saps", "margin", "topk", "clustered")
COUNTS = (1, 2, 4, 8)
CLASSES, CALIBRATION, TEST = (3, 10), (50, 200, 1000), (200, 1000)
ALPHA = 0.1


def draw(k: int, n: int, generator: np.random.Generator) -> Predictions:
    """Rows whose labels are drawn from the softmax of their logits, sharpened by the model."""
    z = generator.normal(size=(n, k)) * 1.5
    labels = (z + generator.gumbel(size=z.shape)).argmax(axis=1)
    return Predictions(logits=1.5 * z, labels=labels)


def alarms(k: int, n: int, m: int, generator: np.random.Generator) -> list[float]:
    """Whether the report of the first 1, 2, ... methods warns, and the first class-wise one alone."""
    rows = draw(k, n + m, generator)
    calibration, test = rows.subset(np.arange(n)), rows.subset(np.arange(n, n + m))
    found = {}
    for name in METHODS:
        predictor = CONFORMAL.get(name)()
        sets = predictor.fit(calibration, ALPHA).predict(test)
        share = Estimate(float(sets.covered().mean()))
        found[name] = SetRow(
            name, predictor.guarantee, Evaluation({"coverage": share}, {}, n=m), sets
        )
    together = [
        any(falls_short(found[name], ALPHA, count) for name in METHODS[:count]) for count in COUNTS
    ]
    return [float(x) for x in (*together, falls_short(found["class_conditional"], ALPHA))]


def main() -> None:
    """Simulate every cell and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--page", type=Path, default=PAGE)
    given = parser.parse_args()
    lines, worst = [], 0.0
    for k in CLASSES:
        for n in CALIBRATION:
            for m in TEST:
                generator = np.random.default_rng([k, n, m])
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    shares = np.mean(
                        [alarms(k, n, m, generator) for _ in range(given.draws)], axis=0
                    )
                worst = max(worst, float(shares.max()))
                cells = " | ".join(f"{100 * share:.1f}" for share in shares)
                lines.append(f"| {k} | {n:,} | {m:,} | {cells} |")
                print(lines[-1], flush=True)
    heads = [*(f"{count} method{'s' * (count > 1)}" for count in COUNTS), "class_conditional alone"]
    error = (0.025 * 0.975 / given.draws) ** 0.5
    given.page.write_text(
        f"""# Conformal report: false alarms

Share (%) of reports that say "coverage is below the target by more than chance" where calibration rows and
test rows come from one source and the method keeps its promise, so that each alarm is a false one; alpha =
{ALPHA:g}, {given.draws:,} draws a line (standard error at 2.5 %: {100 * error:.1f} points).
Several methods: any of the first N of {", ".join(METHODS)}.

The alarm takes the lower tail of the exact beta-binomial law of the covered test rows, which counts the draw
of the calibration rows, at 2.5 % divided by the number of methods
(`vlmcal.report.pages.label_sets.falls_short`). At most 2.5 % are meant; the highest share found is
{100 * worst:.1f} %.

| classes | calibration rows | test rows | {" | ".join(heads)} |
|{"---:|" * (3 + len(heads))}
{chr(10).join(lines)}

`python scripts/write_conformal_results.py` writes this page; a short form that fails on the fault is
`tests/conformal/test_guarantees.py` (`-k alarm`).
""",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
