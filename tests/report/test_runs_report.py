from collections.abc import Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from vlmcal.errors import DataError
from vlmcal.metrics import Evaluation, evaluate, reliability_bins
from vlmcal.report.cells import Spread
from vlmcal.report.pages.run_pictures import pooled_bins, runs_figure
from vlmcal.report.pages.run_rows import RunRow, as_run_rows
from vlmcal.report.pages.runs import runs_report, runs_table
from vlmcal.types.estimate import Estimate
from vlmcal.types.predictions import Predictions


@dataclass(frozen=True)
class Row:
    """The shape in which an experiment yields its results."""

    cell: Mapping[str, Any]
    set: str
    calibrator: str
    evaluation: Evaluation | None
    predictions: Predictions | None
    reason: str = ""


def result(method, classes, accuracy, ece, seed=None, calibrator="none", **more):
    metrics = {"accuracy": accuracy, "ece": Estimate(ece, ece - 0.02, ece + 0.02, n=90)}
    return {
        **{"method": method, "classes": classes, "seed": seed, "calibrator": calibrator},
        **{"metrics": metrics, **more},
    }


GRID = [
    result("zero_shot", "base", 0.60, 0.10),
    result("zero_shot", "new", 0.62, 0.11),
    result("coop", "base", 0.90, 0.05, seed=1),
    result("coop", "base", 0.94, 0.07, seed=2),
    result("coop", "new", 0.50, 0.30, seed=1),
    result("coop", "new", 0.60, 0.34, seed=2),
    result("coop", "new", 0.50, 0.21, seed=1, calibrator="temperature"),
    result("coop", "new", 0.60, 0.23, seed=2, calibrator="temperature"),
]


def test_means_and_spreads_by_hand():
    table = runs_table(GRID)
    assert [c.group + " " + c.title for c in table.columns[1:]] == [
        "accuracy base",
        "accuracy new",
        "accuracy H",
        "ECE base",
        "ECE new",
    ]
    zero, coop, scaled = table.rows
    assert [row[0] for row in table.rows] == ["zero_shot", "coop", "coop + temperature"]
    assert zero[1] == Estimate(0.60)
    assert zero[4] == Estimate(0.10, pytest.approx(0.08), pytest.approx(0.12), n=90)
    assert zero[3] == pytest.approx(2 * 0.6 * 0.62 / 1.22)
    assert isinstance(coop[1], Spread)
    assert coop[1].mean == pytest.approx(0.92)
    assert coop[1].std == pytest.approx(0.0282842712)
    assert (coop[1].low, coop[1].n) == (None, 2)
    # Harmonic mean per seed, then averaged: (0.642857 + 0.732468) / 2.
    assert coop[3].mean == pytest.approx(0.687662, abs=1e-6)
    assert coop[5].mean == pytest.approx(0.32)
    assert (coop[5].low, coop[5].high) == (pytest.approx(0.30), pytest.approx(0.34))
    assert scaled[1] is None
    assert scaled[3] is None


def test_the_text_says_how_many_seeds():
    text = runs_table(GRID).to_text()
    assert "Mean ± standard deviation over 2 seeds." in text
    assert "Values without ± do not depend on a seed." in text
    assert "92.0 ± 2.8*" in text
    one = [row for row in GRID if row["seed"] == 1]
    assert "One seed only" in runs_table(one).to_text()


def test_names_show_only_what_differs():
    rows = [result("coop", "all", 0.5, 0.1, seed=1, objective=o, shots=s, backbone="pocket")
            for o in ("ce", ["ce", {"name": "tcpt", "weight": 2}]) for s in (1, 16)]  # fmt: skip
    assert [row[0] for row in runs_table(rows).rows] == [
        "coop, ce, 1 shot",
        "coop, ce, 16 shots",
        "coop, ce + tcpt, 1 shot",
        "coop, ce + tcpt, 16 shots",
    ]


def test_the_same_result_twice_is_refused():
    with pytest.raises(DataError, match=r"two results for coop .* seed 1"):
        runs_table([GRID[2], GRID[2]])
    with pytest.raises(DataError, match='needs the key "method"'):
        runs_table([{"seed": 1}])
    with pytest.raises(DataError, match="at least one result"):
        runs_table([])


def test_the_summary_follows_from_the_numbers():
    lines = runs_report(GRID, title="t").summary
    assert lines[0] == "Lowest ECE on new classes: zero_shot, 11.0 % (highest: coop, 32.0 %)."
    assert lines[1] == "Highest accuracy on new classes: zero_shot, 62.0 % (lowest: coop, 55.0 %)."
    assert lines[2] == (
        "Temperature lowers the ECE on new classes in 1 of 1 methods (mean change −10.0 points)."
    )


def test_a_lead_within_chance_is_called_one():
    rows = [result("a", "new", 0.5, 0.10), result("b", "new", 0.5, 0.11)]
    assert "no further away than chance allows" in runs_report(rows, title="t").summary[0]


@pytest.fixture
def experiment(make_predictions):
    """Rows of a zero-shot run and two seeds of CoOp, as an experiment yields them."""
    rows = []
    for method, seeds in (("zero_shot", (None,)), ("coop", (1, 2))):
        for seed in seeds:
            for classes in ("base", "new"):
                data = make_predictions(
                    n=150,
                    scale=4.0 if classes == "new" else 1.0,
                    seed=seed or 0,
                    class_names=tuple(f"<b>{i}</b>" for i in range(5)),
                    provenance={"run": f"{method}{seed}", "dataset": "digits", "seed": seed},
                )
                cell = {
                    "data": {"name": "digits", "protocol": "base-to-new"},
                    "backbone": "pocket",
                    "method": {"name": method},
                    "objective": None if seed is None else "ce + tcpt",
                    "shots": None if seed is None else 16,
                    "seed": seed,
                    "train": None,
                }
                done = evaluate(data, ["accuracy", "ece", "nll"], resamples=20)
                rows.append(Row(cell, classes, "none", done, data))
    rows.append(Row(rows[-1].cell, "new", "dac", None, None, reason="needs text features"))
    return rows


def test_results_of_an_experiment_become_a_page(experiment, page, tmp_path):
    report = runs_report(experiment, title="Digits", command="vlmcal run a.yaml", summary="Why.")
    read = page(report.write(tmp_path / "r.html").read_text(encoding="utf-8"))
    assert [s.heading for s in report.sections] == [
        "Results",
        "Reliability diagrams",
        "Base against new classes",
    ]
    strips = report.sections[1].strips
    assert [strip.label for strip in strips] == ["zero_shot", "coop, ce + tcpt"]
    assert [p.caption for p in strips[1].pictures] == [
        "base classes (300 rows)",
        "new classes (300 rows)",
    ]
    assert read.tags["svg"] == 4 + 2
    assert "Why." in read.text_of("p")
    assert any(
        "dac to coop, ce + tcpt on new classes, seed 2: needs text" in n
        for n in report.sections[0].notes
    )
    assert report.provenance["runs"] == ["zero_shotNone", "coop1", "coop2"]
    assert report.provenance["dataset"] == "digits"
    assert report.provenance["seeds"] == [1, 2]
    assert set(report.definitions) == {"accuracy", "ECE", "NLL", "H"}


def test_equal_results_give_equal_pages(experiment):
    assert (
        runs_report(experiment, title="t").to_html() == runs_report(experiment, title="t").to_html()
    )


def test_rows_keep_what_the_cell_says(experiment):
    row = as_run_rows(experiment)[-2]
    assert (row.method, row.objective, row.seed) == ("coop", "ce + tcpt", 2)
    assert row.axes["shots"] == "16"
    assert row.confidences is not None
    assert row.confidences.correct.mean() == pytest.approx(row.estimates["accuracy"].value)


def test_seeds_that_share_their_rows_do_not_narrow_the_intervals(make_confidences):
    one = make_confidences(n=400)
    alone = reliability_bins(one.confidence, one.correct)
    pooled = pooled_bins([one, one, one])
    assert (pooled.count == 3 * alone.count).all()
    for name in ("accuracy", "confidence", "low", "high"):
        np.testing.assert_allclose(getattr(pooled, name), getattr(alone, name), atol=1e-12)
    full = alone.count > 0
    expected = binom.ppf(0.975, alone.count[full], alone.confidence[full]) / alone.count[full]
    np.testing.assert_allclose(pooled.band_high[full], expected)


def test_seeds_with_rows_of_their_own_are_pooled_in_full(make_confidences):
    from dataclasses import replace

    one, two = make_confidences(n=300, seed=1), make_confidences(n=300, seed=2)
    two = replace(two, ids=[f"other {i}" for i in range(300)])
    pooled = pooled_bins([one, two])
    both = reliability_bins(
        np.concatenate([one.confidence, two.confidence]), np.concatenate([one.correct, two.correct])
    )
    np.testing.assert_allclose(pooled.high, both.high)


def test_one_figure_for_papers_holds_every_cell(experiment):
    figure = runs_figure(experiment, title="Digits")
    assert len(figure.axes) == 2 * 2 * 2
    with pytest.raises(DataError, match="needs confidences"):
        runs_figure([GRID[0]])


def test_the_best_is_marked_only_among_rows_that_can_be_compared():
    rows = [
        {"method": m, "shots": s, "data": "dtd", "metrics": {"accuracy": a}, "objective": "ce"}
        for m, s, a in (("coop", 1, 0.5), ("maple", 1, 0.6), ("coop", 16, 0.8), ("maple", 16, 0.7))
    ]
    table = runs_table(rows, metrics=("accuracy",))
    assert table.best() == {(1, 1), (2, 1)}
    assert "All rows: data dtd." in table.notes


def test_a_row_at_chance_is_never_the_best():
    rows = [
        RunRow(method=m, estimates={"accuracy": Estimate(a)}, chance=0.5)
        for m, a in (("coop", 0.45), ("maple", 0.4))
    ]
    assert runs_table(rows, metrics=("accuracy",)).best() == frozenset()


def test_the_summary_of_a_large_grid_has_five_sentences():
    rows = [
        {
            "method": f"m{i}",
            "calibrator": calibrator,
            "seed": 1,
            "classes": "all",
            "metrics": {"accuracy": 0.5 + i / 100, "ece": (i + j) / 100},
        }
        for i in range(30)
        for j, calibrator in enumerate(("none", "temperature", "platt", "beta", "vector"))
    ]
    lines = runs_report(rows, title="t").summary
    assert len(lines) <= 5
    assert lines[-1] == "3 more calibrators are in the table: platt, beta, vector."
    assert all(len(line) < 300 for line in lines)


def test_objectives_that_differ_in_a_setting_are_told_apart():
    def result(**setting):
        cell = {"method": {"name": "coop"}, "objective": "ce + mdca", "seed": 1}
        terms = [{"name": "ce"}, {"name": "mdca", **setting}]
        return SimpleNamespace(
            cell={**cell, "terms": terms}, set="all", calibrator="none", evaluation=None,
            predictions=None, reason="",
        )  # fmt: skip

    rows = as_run_rows([result(), result(weight=2.0), result(weight=3.0)])
    assert [row.objective for row in rows] == [
        "ce + mdca", "ce + mdca (mdca weight=2.0)", "ce + mdca (mdca weight=3.0)"
    ]  # fmt: skip
    assert [row.objective for row in as_run_rows(rows)] == [row.objective for row in rows]
    assert as_run_rows([result(weight=2.0)])[0].objective == "ce + mdca"
