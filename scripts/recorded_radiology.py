"""What the recorded answers to VQA-RAD say: readings, agreement, paraphrases, repairs."""

from dataclasses import replace
from pathlib import Path

import numpy as np

import recorded_answers as recorded
from recorded_answers import Radiology
from recorded_repairs import (
    METRICS,
    in_short,
    means,
    n_groups,
    repair_table,
    repaired,
    value,
)
from vlmcal.elicit.rows import HALLUCINATION, elicitor_labels, elicitor_rows
from vlmcal.metrics import evaluate
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.posthoc.answers import UNCALIBRATED, measure_answers
from vlmcal.report.cells import Cell, Column
from vlmcal.report.display import metric_column
from vlmcal.report.tables import Table
from vlmcal.types.confidences import Confidences

RESAMPLES = 1000
WORTH = 0.001
# Number of answers and share of right ones in the results of the origin, where it gives them.
PUBLISHED: dict[str, tuple[int | None, float]] = {
    "gpt-4o": (None, 0.7102),
    "gemini-2.5-pro": (1092, 0.7564),
    "qwen2.5vl:7b": (None, 0.7100),
    "llama3.2-vision:11b": (1073, 0.6048),
}


def reading_table(data: Radiology) -> str:
    """How many answers were read, and what the origin reports."""
    columns = [Column("model", align="left")]
    columns += [Column(t) for t in ("refused", "unparsed", "empty", "read")]
    columns += [
        Column("right", percent=True, digits=2),
        Column("only the word"),
        Column("right", percent=True, digits=2),
        Column("published n"),
        Column("published right", percent=True, digits=2),
    ]
    rows: list[list[Cell]] = []
    for model in elicitor_labels(data.answers):
        states = elicitor_rows(data.questions, data.answers, model).states
        n, right = data.bare[model]
        lost = (states.answers[s] for s in ("refused", "unparsed", "empty"))
        rows.append([model, *lost, states.judged, states.right / states.judged, n, right / n])
        rows[-1] += PUBLISHED.get(model, (None, None))
    return Table(columns=columns, rows=rows).to_markdown()


def agreement_table(data: Radiology) -> tuple[str, int]:
    """Agreement as confidence on the questions that all models answered; majority vote last."""
    common = recorded.answered_by_all(data.answers)
    columns = [Column("model", align="left"), Column("rows"), Column("accuracy", percent=True)]
    columns += [Column("mean agreement", percent=True), Column("ECE, 10 bins", percent=True)]
    columns += [metric_column("auroc", better=False)]
    parts = [
        (model, [a for a in common if a.elicitor == model]) for model in elicitor_labels(common)
    ]
    best = {a.question: a for a in sorted(common, key=lambda a: a.reading.confidence or 0.0)}
    rows: list[list[Cell]] = []
    for label, answers in [*parts, ("majority vote", list(best.values()))]:
        confidence = np.array([a.reading.confidence for a in answers], dtype=np.float64)
        correct = np.array([a.correct for a in answers])
        area = evaluate(
            Confidences(confidence=confidence, correct=correct), ["auroc"], intervals=False
        )
        error = ece(confidence, correct, bins=10)
        rows.append([label, len(answers), float(correct.mean()), float(confidence.mean()), error])
        rows[-1].append(area["auroc"].value)
    return Table(columns=columns, rows=rows).to_markdown(), len(best)


def coverage_table(data: Radiology) -> str:
    """Agreement over parsed rows and over all rows, with intervals."""
    columns = [Column("model", align="left")]
    columns += [
        c
        for part in ("parsed", "all")
        for c in (
            Column(f"{part} rows"),
            *(Column(f"{t}, {part}", percent=True) for t in ("ECE", "Brier", "AUROC")),
        )
    ]
    rows: list[list[Cell]] = []
    for one in measure_answers(data.questions, data.answers, metrics=METRICS, resamples=RESAMPLES):
        line: list[Cell] = [one.rows.elicitor]
        for part in (one.parsed, one.everything):
            assert part is not None
            line += [part.n, part["ece"], part["top_label_brier"].value, part["auroc"].value]
        rows.append(line)
    return Table(columns=columns, rows=rows).to_markdown()


def paraphrase_table(data: Radiology) -> tuple[str, dict[str, int]]:
    """Same answer to linked questions with the same gold answer, and what that says about being right."""
    gold = {q.id: q.gold for q in data.questions}
    shared = {a.question for a in recorded.answered_by_all(data.answers)}
    within = [[q for q in ids if q in shared] for ids in data.linked]
    sets = {
        "all": recorded.pairs(data.linked),
        "shared": recorded.pairs(within),
        "twos": recorded.pairs([ids for ids in within if len(ids) == 2]),
    }
    same = {name: [p for p in found if gold[p[0]] == gold[p[1]]] for name, found in sets.items()}
    counts = {name: len(found) for name, found in sets.items()}
    counts |= {f"{name}_same": len(found) for name, found in same.items()}
    columns = [Column("model", align="left"), Column("pairs read")]
    columns += [Column("same answer", percent=True), Column("right if same", percent=True)]
    columns += [Column(f"right if same ({counts['twos_same']} pairs)", percent=True)]
    rows: list[list[Cell]] = []
    for model in elicitor_labels(data.answers):
        own = {a.question: a for a in data.answers if a.elicitor == model and a.reading.answer}
        line: list[Cell] = [model]
        for name in ("all", "twos"):
            read = [p for p in same[name] if p[0] in own and p[1] in own]
            equal = [
                own[a].correct for a, b in read if own[a].reading.answer == own[b].reading.answer
            ]
            line += [len(read), len(equal) / len(read)] if name == "all" else []
            line.append(sum(map(bool, equal)) / len(equal))
        rows.append(line)
    return Table(columns=columns, rows=rows).to_markdown(), counts


def proxy_table(data: Radiology) -> tuple[str, int]:
    """HAC calibrators with the model's own inconsistency as score, and as a control with the score 0."""
    names = ("hac_platt", "hac_gate")
    titles = ["none", *(f"{name}{part}" for name in names for part in (", h = 0", ""))]
    columns = [Column("model", align="left"), Column("rows"), Column("images")]
    columns += [Column(f"{m}: {t}", percent=True) for m in ("Brier", "AUROC") for t in titles]
    rows: list[list[Cell]] = []
    helped = 0
    for model in elicitor_labels(data.answers):
        own = [a for a in data.answers if a.elicitor == model]
        scored = recorded.with_inconsistency(own, data.linked)
        found = elicitor_rows(data.questions, scored, model).parsed
        assert found is not None
        control = replace(found, extras={HALLUCINATION: np.zeros(len(found))})
        none, *with_score = repaired(found, names)
        _, *without = repaired(control, names)
        lines = [none, without[0], with_score[0], without[1], with_score[1]]
        brier, area = ([value(one, m) for one in lines] for m in ("top_label_brier", "auroc"))
        helped += brier[2] < brier[1] - WORTH
        rows.append([model, len(found), n_groups(found), *brier, *area])
    return Table(columns=columns, rows=rows).to_markdown(), helped


def radiology_parts(folder: Path) -> dict[str, object]:
    """Everything the page says about VQA-RAD."""
    data = recorded.radiology(folder)
    agreement, shared = agreement_table(data)
    paraphrases, counts = paraphrase_table(data)
    proxy, helped = proxy_table(data)
    tables, cells = [], []
    for model in elicitor_labels(data.answers):
        rows = elicitor_rows(data.questions, data.answers, model).parsed
        assert rows is not None
        cells.append(repaired(rows, resamples=RESAMPLES))
        table = repair_table(cells[-1]).to_markdown()
        tables += [f"**{model}**, {len(rows):,} rows, {n_groups(rows)} images:", "", table, ""]
    found = means(cells)
    share = np.mean([a.reading.confidence == 1 for a in data.answers if a.reading.answer])
    return counts | {
        "sure": 100 * float(share),
        "questions": len(data.questions),
        "images": len({q.group for q in data.questions}),
        "reading": reading_table(data),
        "agreement": agreement,
        "shared_n": shared,
        "coverage": coverage_table(data),
        "paraphrases": paraphrases,
        "repairs": "\n".join(tables),
        "radiology_short": in_short(found),
        "fusion_before": 100 * found[UNCALIBRATED]["auroc"],
        "fusion_after": 100 * found["fusion"]["auroc"],
        "proxy": proxy,
        "proxy_helped": helped,
    }
