"""Pages on calibrators and label sets: the numbers of the inputs, the choice, the reasons."""

import numpy as np
import pytest

from vlmcal.metrics import Evaluation, evaluate
from vlmcal.posthoc.compare import Comparison, ComparisonRow
from vlmcal.posthoc.label_sets import METRICS, SetRow
from vlmcal.report.pages.label_sets import sets_report, size_table
from vlmcal.report.pages.posthoc import INFINITE, comparison_report, comparison_table
from vlmcal.types.estimate import Estimate
from vlmcal.types.prediction_sets import PredictionSets


def measured(ece, nll):
    return Evaluation(
        {
            "accuracy": Estimate(0.75),
            "ece": Estimate(ece, 0.01, 0.3, n=90, floor=0.02),
            "nll": Estimate(nll),
            "brier": Estimate(0.4),
        },
        {},
        n=90,
    )


INFINITE_LOSS = {"notes": "<few> rows", "evaluation": measured(0.03, 9), "changed": 0.1}
ROWS = (
    ComparisonRow("platt", 0.51, evaluation=measured(0.04, 0.55)),
    ComparisonRow("none", 0.6, evaluation=measured(0.2, 0.5)),
    ComparisonRow("isotonic", float("inf"), **INFINITE_LOSS),
    ComparisonRow("sals", notes="needs <zero_shot_logits>"),
)


def test_the_choice_is_marked_and_no_test_number_is():
    text = comparison_table(Comparison(ROWS, "nll", 4)).to_text(200)
    lines = text.splitlines()
    assert lines[0].split()[:2] == ["calibrator", "4-fold"]
    assert lines[2].split()[:4] == ["platt", "(chosen)", "0.5100", "–"]
    assert "4.00 [1.00, 30.00]" in lines[2]
    assert lines[3].startswith("none ")
    assert INFINITE in lines[4]
    assert "keeps the loss finite" in text
    assert "*" not in text
    assert "sals" not in text


def test_comparison_page(page, make_predictions):
    before = make_predictions()
    html = comparison_report(Comparison(ROWS, "nll", 5), before, before).to_html()
    shown = page(html)
    assert "&lt;zero_shot_logits&gt;" in html
    assert [t for t in shown.text_of("h2") if t == "Left out"]
    assert shown.tags["svg"] == 1
    assert "0.5100" in html
    assert "uncalibrated 0.6000" in html


def test_no_better_than_nothing_is_said(make_predictions):
    before = make_predictions()
    report = comparison_report(Comparison(ROWS[1:2], "nll", 5), before, before)
    assert report.summary[0].startswith("No calibrator did better")


def sets_of(hit, size, alpha=0.1):
    n, k = len(hit), 12
    sets = np.zeros((n, k), dtype=bool)
    for row, (inside, count) in enumerate(zip(hit, size, strict=True)):
        sets[row, 1 : count + (not inside)] = True
        sets[row, 0] = inside
    return PredictionSets(sets=sets, labels=np.zeros(n, int), alpha=alpha)


def outcome(sets, name="lac", guarantee="marginal"):
    return SetRow(name, guarantee, evaluate(sets, METRICS, resamples=200), sets)


def test_size_table_counts_by_hand():
    sets = sets_of([True] * 30 + [False] * 10 + [True] * 20, [1] * 40 + [5] * 20)
    rows = size_table(sets).rows
    assert [row[:2] for row in rows] == [["0 to 1", 40], ["4 to 10", 20]]
    assert [row[2].value for row in rows] == pytest.approx([0.75, 1.0])


def test_low_coverage_is_the_headline_where_coverage_is_promised(page):
    low = sets_of([True] * 60 + [False] * 40, [1] * 100)
    fine = sets_of([True] * 91 + [False] * 9, [1] * 100)
    report = sets_report([outcome(low, "aps"), outcome(fine)], 0.1)
    assert "below the target by more than chance: aps." in report.summary[0]
    page(report.to_html())
    risk = sets_report([outcome(low, "risk_control", "risk")], 0.1)
    assert risk.summary[0].startswith("Target coverage")
    left = SetRow("lata", notes="needs image_features")
    assert "needs image_features" in sets_report([outcome(fine), left], 0.1).to_html()
