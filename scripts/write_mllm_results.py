"""Measure and repair recorded confidences of multimodal and text models and write the result page.

Run:  OMP_NUM_THREADS=1 python scripts/write_mllm_results.py --material DIR [--output FILE]

DIR holds the public files named in the page; they are not part of this project.
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

import recorded_answers as recorded
import vlmcal
from recorded_answers import TOKEN, WORDS
from recorded_radiology import radiology_parts
from recorded_repairs import METRICS, NEAR, Repairs, in_short, mean_table, means, repaired, value
from vlmcal.calibrators.base import CalibrationWarning
from vlmcal.data.rows import read_rows
from vlmcal.data.vqa.fields import text
from vlmcal.elicit.rows import elicitor_rows
from vlmcal.hashing import digest_file
from vlmcal.io.atomic import atomic_write
from vlmcal.metrics import evaluate
from vlmcal.posthoc.answers import UNCALIBRATED
from vlmcal.report.cells import Cell, Column
from vlmcal.report.tables import Table
from vlmcal.types.confidences import Confidences
from write_metrics_results import stated_confidence
from write_posthoc_results import BENCH, MMBENCH

FEW_GIVEN = 0.9
SOURCES = (
    (recorded.RADIOLOGY, "lsi-ufcg/radiology-vqa-mllms", "none stated; VQA-RAD itself CC0 1.0"),
    (recorded.STATED, "NoamMichael/Comparing-Confidence-in-LLMs", "MIT"),
    (recorded.BOARD, "narimannr2x/confidence_scoring", "Apache-2.0"),
    (MMBENCH, BENCH, "MIT"),
)

PAGE = """# Recorded answers of multimodal models: confidences before and after calibration

Written by `OMP_NUM_THREADS=1 python scripts/write_mllm_results.py --material DIR` (vlmcal {version}) from
public recordings of real models; the files themselves are not part of this project.

In short:

- **VQA-RAD**, 5 multimodal models: the published counts and accuracies come out exactly when only bare words
  count, as the origin seems to do; our parser reads up to 114 answers more. Agreement of the models as
  confidence: {radiology_short}; mean AUROC {fusion_before:.1f} % before, {fusion_after:.1f} % after `fusion`.
- **Stated confidence of 11 LLMs**, {stated_cells} cells: {stated_total} of 55 published accuracies and
  {stated_right} of 55 ECEs reproduced; {stated_short}.
- **Board questions, {board_models} LLMs**: reproduced to 1e-9: {board_hits}; {board_short}.
- **MMBench option logits, {option_models} models**: {option_short}.
- **HAC-Platt, HAC-Gate**: no recording holds a hallucination score. A proxy (a model contradicting itself on
  a linked question) lowers the Brier score of HAC-Platt by more than 0.1 points for {proxy_helped} of 5
  models.

How everything here is made, unless a table says otherwise:

- Cross-fitting in 5 folds (seed 0); whole groups stay in one fold, so nothing is fitted on a row, or on
  another row of its group, that it is measured on. Calibrators run with their defaults; "none" is no
  calibration.
- ECE: 15 equal-width bins (lo, hi], 0 in the first; values within 1e-6 of an edge belong to it. Brier and
  NLL are of the confidence as a forecast of being right, NLL clipped at 1e-12: an answer that is wrong at
  confidence 1 costs 27.6 nats. AUROC is pooled over the folds, so a rising map, too, may move it a little: a
  fold with few right answers gets the map of folds with many.
- Brackets: 95 %. ECE by moment selection over groups drawn with replacement (see
  [intervals](intervals.md)), the others by a bootstrap of groups.
- "Parsed" rows have an answer, a verdict and a confidence. In "all" rows a question without an answer
  counts as wrong, and a row without a confidence has the confidence 0.
- `hac_platt` and `hac_gate` need a hallucination score and `fusion` needs signals; they stand only where
  there are some.
- Bold marks the best value of a column; differences inside the intervals mean nothing.

{sources}

## VQA-RAD: what five multimodal models answered

{questions:,} questions with a yes/no gold answer of {images} images (the other closed ones have no list of
options). Parser: the project's for yes/no; judge: exact.

{reading}

"Only the word": answers that are nothing but yes or no with a full stop. Every
number that the origin gives is the one of this column, so it seems to count these. Ours reads more:

- GPT-4o, Qwen: no difference, every readable answer is the bare word. LLaVA: one answer is a sentence
  behind the word.
- Gemini: one "No." with an explanation behind it; all that is missing are empty responses.
- Llama 3.2: 114 answers such as "\\*\\*Answer:\\*\\* No" or "\\*\\*Yes\\*\\*". A reading of the first word
  alone, without fields, has 1,101 answers, 60.22 % right. Same text, three accuracies.

### Agreement of the models as confidence

No model was asked for a confidence. Confidence = share of the readable answers to the question that are the
same, the own included. On the {shared_n:,} questions that all five answered (10 bins, no calibration):

{agreement}

Over parsed and over all rows, 15 bins, intervals over images:

{coverage}

### Paraphrases

VQA-RAD links questions. Among all yes/no questions {all} pairs are linked, {all_same} of them with the same
gold answer. Among those that all five models answered there are {shared} ({shared_same}), and {twos}
({twos_same}) if only links with exactly two such questions count. Right if same: share of right answers
where both questions of a pair got the same answer (if they got different ones, one of the two is right).
First over the {all_same} pairs as far as the model answered both, last over the {twos_same}.

{paraphrases}

### Calibrators on agreement, cross-fitted by image

Parsed rows. `fusion` reads, beside the agreement, which of the other models gave the same answer. A rising
map of agreement alone cannot rank better; pooled over folds it ranks a little worse. An agreement of
exactly 1 ({sure:.0f} % of the rows) is read as 0.9, half-way to the next value, by all that are fitted on
log-odds.

{repairs}

## Stated confidence of 11 LLMs

{stated_cells} cells (5 question sets x 11 models), on the questions that all 11 models answered, stated
between 0 and 1, none missing. All {stated_total} published accuracies are reproduced, and
{stated_right} of 55 published ECEs (10 bins) to 1e-9; [metrics](metrics.md) shows the rest and why.
Cross-fitted by question (each is one row of a cell).

Mean over the cells, and in how many a score fell or rose:

{stated_means}

By set, means over 11 models. LSAT has 87 questions, and a calibrated model shows an ECE of several percent
there:

{stated_sets}

### Stated against token confidence

The models for which the probability of the chosen answer's token was recorded. Neither is calibrated;
"fused" is `fusion` of the stated confidence with the token's probability, cross-fitted by question. Of the
9,245 recorded probabilities 82 % are above 0.99, so what tells right from wrong is in their log-odds, which
`fusion` reads.

{tokens}

## Gastroenterology board questions, {board_models} LLMs

300 questions, stated confidence 0 to 10, verdicts given. {board_missing_n:,} of the {board_models} x 300
confidences are not there ({board_missing}); {board_full} models have all. The origin leaves such rows out,
model by model; it does not list three models with few confidences, and gives only the Brier score of
Qwen-Qwq-32b. On the same rows we reproduce, to 1e-9: {board_hits}.

Models that miss more than 10 %, uncalibrated, over parsed and over all rows:

{board_lines}

Mean over the {board_models} models, parsed rows, cross-fitted by question (each is one row of a model):

{board_parsed}

The same over all rows (a missing confidence is 0):

{board_all}

## MMBench: option logits of {option_models} multimodal models

{option_rows:,} rows of {option_questions:,} questions: each was asked with its options rotated
({option_sizes}); row ids that agree modulo a million are one question, and so one group. Confidence:
largest softmax probability of the six options. The published ECEs and MCEs, all reproduced, are in
[metrics](metrics.md), calibrators of whole probability vectors in [posthoc](posthoc.md).

Mean over the models:

{option_means}

## HAC-Platt and HAC-Gate: a proxy only

They combine a stated confidence with a hallucination score. No recording here holds such a score, and the
sets with a stated confidence hold verdicts but no answers, so none can be made for them. On VQA-RAD one
can: **proxy** h = share of the linked questions (by the data set's link, without a look at gold answers)
that the model answered otherwise; the confidence is the agreement of the models. Parsed rows with a linked
question that the model answered, 5 folds by image. This tests the calibrators on real inconsistency; it is
not the score of the paper. HAC-Platt is linear in the confidence, so it is compared with itself at h = 0, not
with `platt`.

{proxy}
"""


def stated_parts(folder: Path) -> dict[str, object]:
    """Everything the page says about stated confidence of the text models."""
    _, right, total = stated_confidence(folder / "stated_confidence")
    by_set: list[list[Cell]] = []
    tokens: list[list[Cell]] = []
    cells: list[Repairs] = []
    for name, models in recorded.stated_cells(folder).items():
        here = []
        for cell in models:
            rows = elicitor_rows(cell.questions, cell.answers, WORDS).parsed
            assert rows is not None
            here.append(repaired(rows))
            token = elicitor_rows(cell.questions, cell.answers, TOKEN).parsed
            if token is not None:
                tokens.append([cell.model, name, len(rows), len(token)])
                tokens[-1] += _beside(here[-1], token)
        cells += here
        found = means(here)
        by_set.append([name, len(models), len(models[0].questions)])
        by_set[-1] += [
            found[n][m] for m in METRICS[:2] for n in (UNCALIBRATED, "platt", "isotonic")
        ]
    names = ("none", "platt", "isotonic")
    columns = [Column("set", align="left"), Column("models"), Column("questions")]
    columns += [Column(f"{t}: {n}", percent=True) for t in ("ECE", "Brier") for n in names]
    beside = [Column("model", align="left"), Column("set", align="left")]
    beside += [Column("stated rows"), Column("token rows")]
    kinds = ("stated", "token", "fused")
    beside += [Column(f"{t}: {k}", percent=True) for t in ("ECE", "AUROC") for k in kinds]
    found = means(cells)
    return {
        "stated_right": right,
        "stated_total": total,
        "stated_cells": len(cells),
        "stated_means": mean_table(found),
        "stated_short": in_short(found),
        "stated_sets": Table(columns=columns, rows=by_set).to_markdown(),
        "tokens": Table(columns=beside, rows=tokens).to_markdown(),
    }


def _beside(stated: Repairs, token: Confidences) -> Iterable[float]:
    own = {one.name: one for one in stated}
    there = evaluate(token, list(METRICS), intervals=False)
    for metric in ("ece", "auroc"):
        yield value(own[UNCALIBRATED], metric)
        yield there[metric].value
        yield value(own["fusion"], metric)


def board_parts(folder: Path) -> dict[str, object]:
    """Everything the page says about the board questions."""
    published = pd.read_csv(folder / "stated_confidence/gastro_model_performance_published.csv")
    published = published.set_index("Model")
    hits, known = Counter[str](), Counter[str]()
    lines: list[list[Cell]] = []
    parsed, everything = [], []
    full = 0
    for questions, answers, model in recorded.board_cells(folder):
        rows = elicitor_rows(questions, answers, f"{model}_confidence")
        assert rows.parsed is not None
        assert rows.everything is not None
        parsed.append(repaired(rows.parsed))
        everything.append(repaired(rows.everything))
        own = {
            "Accuracy": float(rows.parsed.correct.mean()),
            "ROC_AUC": value(parsed[-1][0], "auroc"),
            "Brier Score": value(parsed[-1][0], "top_label_brier"),
        }
        for name, ours in own.items():
            if model in published.index and not np.isnan(published.loc[model, name]):
                known[name] += 1
                hits[name] += abs(published.loc[model, name] - ours) < NEAR
        given = len(rows.parsed) / len(rows.everything)
        full += given == 1
        if given < FEW_GIVEN:
            lines.append([model, 1 - given, float(rows.parsed.correct.mean())])
            lines[-1].append(float(rows.everything.correct.mean()))
            for metric in ("top_label_brier", "auroc"):
                lines[-1] += [value(part[-1][0], metric) for part in (parsed, everything)]
    columns = [Column("model", align="left"), Column("missing", percent=True)]
    titles = ("accuracy", "Brier", "AUROC")
    columns += [Column(f"{t}, {p}", percent=True) for t in titles for p in ("parsed", "all")]
    lines.sort(key=lambda line: -float(line[1]))  # type: ignore[arg-type]
    cells = Counter(
        text(cell) or "blank"
        for row in read_rows(folder / recorded.BOARD)
        for name, cell in row.cells.items()
        if name.endswith("_confidence") and not text(cell).replace(".", "").isdigit()
    )
    found = means(parsed)
    return {
        "board_models": len(parsed),
        "board_hits": ", ".join(f"{hits[n]} of {known[n]} ({n})" for n in known),
        "board_missing": ", ".join(f"{n:,} {name}" for name, n in cells.most_common()),
        "board_missing_n": sum(cells.values()),
        "board_full": full,
        "board_lines": Table(columns=columns, rows=lines).to_markdown(),
        "board_parsed": mean_table(found),
        "board_short": in_short(found),
        "board_all": mean_table(means(everything)),
    }


def option_parts(folder: Path) -> dict[str, object]:
    """Everything the page says about MMBench."""
    cells, sizes = [], Counter[int]()
    for _, rows in recorded.option_rows(folder):
        sizes = Counter(Counter(rows.groups.tolist() if rows.groups is not None else []).values())
        cells.append(repaired(rows))
    found = means(cells)
    return {
        "option_models": len(cells),
        "option_rows": sum(size * n for size, n in sizes.items()),
        "option_questions": sum(sizes.values()),
        "option_sizes": ", ".join(f"{n} with {size} rows" for size, n in sorted(sizes.items())),
        "option_means": mean_table(found),
        "option_short": in_short(found),
    }


def sources(folder: Path) -> str:
    """Files with origin, licence and checksum."""
    columns = [Column(t, align="left") for t in ("file", "repository", "licence", "SHA-256")]
    rows = [[f, *about, f"{digest_file(folder / f)[:16]}…"] for f, *about in SOURCES]
    return Table(columns=columns, rows=rows).to_markdown()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--material", type=Path, required=True, help="folder with the recordings")
    parser.add_argument("--output", type=Path, default=Path("docs/results/mllm.md"))
    options = parser.parse_args()
    warnings.simplefilter("ignore", CalibrationWarning)
    parts: dict[str, object] = {"version": vlmcal.__version__}
    for part in (radiology_parts, stated_parts, board_parts, option_parts):
        parts |= part(options.material)
        print(f"{part.__name__}: done", flush=True)
    atomic_write(options.output, PAGE.format(sources=sources(options.material), **parts))
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
