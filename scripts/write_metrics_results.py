"""Recompute published calibration numbers from recorded outputs of real models.

    python scripts/write_metrics_results.py --material DIR [--output docs/results/metrics.md]

DIR holds the public files named in the page (they are not part of this project): ``mllm_outputs``,
``stated_confidence`` and ``classifier_probs``.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from vlmcal.metrics import evaluate
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.maximum_calibration_error import mce
from vlmcal.types.predictions import Predictions, from_probabilities

SETS = {
    "boolq_valid": "BoolQ", "halu_eval_qa": "HaluEval", "lsat_ar_test": "LSAT",
    "sat_en": "SAT", "sciq_test": "SciQ",
}  # fmt: skip


PAGE = """# Published numbers, recomputed from recorded outputs

Written by `scripts/write_metrics_results.py` from public recordings; the files themselves are not part
of this project.

## Option logits of 26 multimodal LLMs on MMBench

Recorded by EnSec-AI/VLM-Uncertainty-Bench (MIT): 1,176 questions, most of them asked with several orders
of the six options, 4,377 rows. Our 15-bin ECE equals the published one to four decimals for {same_ece} of
{models} models, our MCE for {same_mce}. The published accuracies were computed on one half of the rows,
so they differ a little.

{logits}

## Stated confidence of 11 LLMs on five question sets

Recorded by NoamMichael/Comparing-Confidence-in-LLMs (MIT), 72,185 rows; questions that all models
answered. {right} of {total} published ECEs agree to 1e-9 (10 bins). Ours snaps a stated 0.7 to the edge
that it means; the published code compares floating-point edges without snapping, which moves the rows
below. These confidences lie on bin edges almost entirely, so the column `[lo, hi)` shows what the other
edge rule would give.

{stated}

## Two CIFAR networks

Softmax outputs from EFS-OpenSource/calibration-framework (Apache-2.0), 10,000 test images each; 95 %
intervals.

{classifiers}
"""


def option_logits(folder: Path) -> tuple[list[str], dict[str, int]]:
    """ECE-15 and MCE of the option logits of 26 multimodal LLMs against the published tables."""
    with np.load(folder / "mmbench_option_logits_26mllm.npz", allow_pickle=False) as data:
        models, logits, answers = data["models"], data["logits"], data["answer"]
    if answers.dtype.kind in "US":
        answers = np.array([ord(a) - ord("A") for a in answers.tolist()])
    published = {
        name: pd.read_csv(folder / f"vlm_uncertainty_bench_table_{name}.csv").set_index(
            "model_name"
        )
        for name in ("ece", "mce", "acc")
    }
    lines = [
        "| model | ECE, 15 bins | published | MCE | published | accuracy | published |",
        "|---|---|---|---|---|---|---|",
    ]
    hits = {"ece": 0, "mce": 0, "models": 0}
    for model, values in zip(models.tolist(), logits, strict=True):
        top = Predictions(logits=values, labels=answers).top_label()
        row = {
            "ece": ece(top.confidence, top.correct, bins=15, resolution=top.resolution),
            "mce": mce(top.confidence, top.correct, bins=15, resolution=top.resolution),
            "acc": float(top.correct.mean()),
        }
        known = {
            n: float(t.loc[model, "mmbench"]) for n, t in published.items() if model in t.index
        }
        hits["models"] += bool(known)
        for name in ("ece", "mce"):
            hits[name] += name in known and abs(row[name] - known[name]) < 5e-5
        shown = [
            f"{row[n]:.4f} | {known[n]:.4f}" if n in known else f"{row[n]:.4f} | -" for n in row
        ]
        lines.append(f"| {model} | {' | '.join(shown)} |")
    return lines, hits


def stated_confidence(folder: Path) -> tuple[list[str], int, int]:
    """The 55 published ECEs of stated confidence, 10 right-closed bins."""
    rows = pd.read_csv(folder / "llm_confidence_correct_72k.csv.gz")
    published = pd.read_csv(folder / "table1_info_published.csv")
    rows["correct"] = rows["correct"].astype(str).str.upper() == "TRUE"
    found = []
    for qset, part in rows.groupby("qset"):
        models = part["llm"].nunique()
        counts = part.groupby("question_id")["llm"].nunique()
        common = part[part["question_id"].isin(counts[counts == models].index)]
        for llm, own in common.groupby("llm"):
            confidence, correct = own["stated_confidence"].to_numpy(), own["correct"].to_numpy()
            found.append(
                (
                    qset, llm, len(own), correct.mean(),
                    ece(confidence, correct, bins=10),
                    ece(confidence, correct, bins=10, edges="left"),
                )
            )  # fmt: skip
    accuracy = published["accuracy"].to_numpy()
    target = published["ece"].to_numpy()
    right, total = 0, 0
    worst = [
        "| set | model | n | ours (snapped edges) | `[lo, hi)` | published |",
        "|---|---|---|---|---|---|",
    ]
    for qset, llm, n, own_accuracy, value, left in found:
        match = np.flatnonzero(
            (np.abs(accuracy - own_accuracy) < 1e-12) & (published["num_tot"].to_numpy() == n)
        )
        if not match.size:
            continue
        total += 1
        near = match[np.abs(target[match] - value).argmin()]
        if abs(target[near] - value) < 1e-9:
            right += 1
        else:
            worst.append(
                f"| {SETS.get(qset, qset)} | {llm} | {n} | {value:.5f} | {left:.5f} | {target[near]:.5f} |"
            )
    return worst, right, total


def classifiers(folder: Path) -> list[str]:
    """The default preset on the recorded probabilities of two CIFAR networks."""
    names = ("accuracy", "ece", "ace", "mce", "classwise_ece", "brier", "nll")
    lines = ["| network | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as data:
            keys = {k: data[k] for k in data.files}
        scores = next(v for v in keys.values() if v.ndim == 2)
        labels = next(v for v in keys.values() if v.ndim == 1 and len(v) == len(scores))
        result = evaluate(
            from_probabilities(scores, labels, renormalise=True), list(names), resamples=200
        )
        lines.append(
            f"| {path.stem} | " + " | ".join(str(result.estimates[n]) for n in names) + " |"
        )
    return lines


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--material", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=Path("docs/results/metrics.md"))
    options = parser.parse_args()
    logits, hits = option_logits(options.material / "mllm_outputs")
    stated, right, total = stated_confidence(options.material / "stated_confidence")
    text = PAGE.format(
        models=hits["models"],
        same_ece=hits["ece"],
        same_mce=hits["mce"],
        logits="\n".join(logits),
        right=right,
        total=total,
        stated="\n".join(stated),
        classifiers="\n".join(classifiers(options.material / "classifier_probs")),
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text, encoding="utf-8")
    print(f"{options.output}: {hits}, stated {right}/{total}")


if __name__ == "__main__":
    main()
