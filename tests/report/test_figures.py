import numpy as np
import pytest

from vlmcal.metrics import reliability_bins
from vlmcal.metrics.smooth_ece import SmoothCurve
from vlmcal.report.figures.grid import (
    class_reliability,
    classwise_reliability,
    reliability_grid,
    weighted_gap,
)
from vlmcal.report.figures.histogram import confidence_histogram
from vlmcal.report.figures.overlay import base_new_overlay, before_after
from vlmcal.report.figures.proximity import proximity_reliability
from vlmcal.report.figures.reliability import bin_verdicts, describe_bins, reliability_diagram
from vlmcal.report.figures.risk import MAX_POINTS, risk_coverage
from vlmcal.report.figures.smooth import smooth_reliability
from vlmcal.report.figures.style import short_count
from vlmcal.report.figures.svg import to_svg
from vlmcal.types.estimate import Estimate


def points(axes, marker):
    lines = [line for line in axes.lines if line.get_marker() == marker]
    return np.concatenate([np.empty((0, 2)), *(line.get_xydata() for line in lines)])


# Two bins of ten: 10 rows at 0.95 of which 5 are right, 10 rows at 0.15 of which 9 are right.
CONFIDENCE = np.repeat([0.95, 0.15], 10)
CORRECT = np.concatenate([np.arange(10) < 5, np.arange(10) < 9])


def test_reliability_marks_over_and_under_confident_bins_where_they_are():
    bins = reliability_bins(CONFIDENCE, CORRECT, bins=10)
    upper, lower = reliability_diagram(bins).axes
    np.testing.assert_allclose(points(upper, "v"), [[0.95, 0.5]])
    np.testing.assert_allclose(points(upper, "^"), [[0.15, 0.9]])
    assert points(upper, "o").size == 0
    assert [text.get_text() for text in lower.texts] == ["10", "10"]
    heights = [patch.get_height() for patch in lower.patches]
    assert heights == [0, 10, 0, 0, 0, 0, 0, 0, 0, 10]
    assert describe_bins(bins).endswith("1 over-confident, 1 under-confident, 0 within chance.")


def test_reliability_draws_the_interval_of_each_bin():
    bins = reliability_bins(CONFIDENCE, CORRECT, bins=10)
    upper = reliability_diagram(bins).axes[0]
    ends = [
        path.vertices[:, 1]
        for collection in upper.collections
        for path in collection.get_paths()
        if len(path.vertices) == 2 and path.vertices[0, 0] == path.vertices[1, 0]
    ]
    # Wilson interval of 5 of 10 by hand: (0.5 + z²/20) / (1 + z²/10) ± ..., z = 1.959964.
    np.testing.assert_allclose(ends[-1], [0.2366, 0.7634], atol=1e-4)


def test_a_calibrated_model_stays_within_chance_in_most_bins(make_confidences):
    rows = make_confidences(n=5000, power=1.0)
    verdicts = bin_verdicts(reliability_bins(rows.confidence, rows.correct))
    assert verdicts.count("within chance") >= 13


def test_the_ece_is_written_with_interval_and_floor():
    bins = reliability_bins(CONFIDENCE, CORRECT)
    ece = Estimate(0.6, 0.4, 0.75, n=20, floor=0.081)
    title = reliability_diagram(bins, ece=ece, title="CoOp").axes[0].get_title(loc="left")
    assert title == "CoOp\nECE 60.0 % [40.0, 75.0]\ncalibrated model of this size: 8.1 %"


def test_histogram_halves_each_sum_to_one_and_point_apart():
    confidence = np.array([0.91, 0.92, 0.61, 0.99])
    axes = confidence_histogram(confidence, np.array([True, True, False, True]), bins=10).axes[0]
    heights = np.array([patch.get_height() for patch in axes.patches if not patch.get_hatch()])
    filled, outlined = heights[:10], heights[10:20]
    assert filled.tolist() == outlined.tolist() == [0] * 9 + [1]
    hatched = np.array([patch.get_height() for patch in axes.patches if patch.get_hatch()])
    assert hatched.sum() == pytest.approx(-1.0)
    assert np.flatnonzero(hatched).tolist() == [6]
    assert [text.get_text() for text in axes.texts] == [
        "right: 3 rows, mean confidence 0.94",
        "wrong: 1 row, mean confidence 0.61",
    ]


def test_histogram_says_when_nothing_is_wrong():
    axes = confidence_histogram(np.array([0.9]), np.array([True])).axes[0]
    assert axes.texts[1].get_text() == "wrong: no rows"


def test_risk_coverage_ends_at_the_error_rate_and_is_thinned():
    generator = np.random.default_rng(0)
    confidence = generator.random(20_000)
    correct = generator.random(20_000) < confidence
    axes = risk_coverage(confidence, correct).axes[0]
    model = axes.lines[0].get_xydata()
    assert len(model) <= MAX_POINTS
    np.testing.assert_allclose(model[-1], [1.0, 1 - correct.mean()])
    # E[1 - c | c > t] = (1 - t) / 2 for uniform confidence: half the rows have error 1/4 of all.
    half = model[np.argmin(np.abs(model[:, 0] - 0.5)), 1]
    assert half == pytest.approx(0.25, abs=0.02)


def test_smooth_curve_is_broken_where_rows_are_few():
    grid = np.linspace(0, 1, 101)
    density = np.where(grid > 0.5, 1.0, np.where(grid > 0.2, 0.1, 0.001))
    axes = smooth_reliability(SmoothCurve(grid, grid, density, 0.1), rows=500).axes[0]
    solid = axes.lines[1].get_ydata()
    assert np.isnan(solid[grid <= 0.5]).all()
    assert not np.isnan(solid[grid > 0.5]).any()
    dotted = axes.lines[2].get_ydata()
    assert grid[~np.isnan(dotted)].tolist() == grid[(grid > 0.2) & (grid <= 0.5)].tolist()


def test_classwise_shows_the_worst_classes_first_and_says_so():
    generator = np.random.default_rng(0)
    good = reliability_bins(np.full(100, 0.5), np.arange(100) < 50)
    bad = reliability_bins(np.full(100, 0.5), np.arange(100) < 10)
    panels = [(f"class {i}", good) for i in range(999)]
    panels.insert(int(generator.integers(0, 999)), ("the bad one", bad))
    figure = classwise_reliability(panels, max_panels=4)
    assert len(figure.axes) == 4
    assert figure.axes[0].get_title(loc="left") == "the bad one\ngap 40.0 %, 10 of 100 rows"
    assert "4 of 1000 classes, largest gaps first" in figure.get_suptitle()


def test_rare_classes_get_square_root_axes():
    rare = reliability_bins(np.full(1000, 0.01), np.arange(1000) < 10)
    assert classwise_reliability([("a", rare)]).axes[0].get_xscale() == "function"
    assert class_reliability("a", rare, rare=True).axes[0].get_yscale() == "function"
    assert class_reliability("a", rare).axes[0].get_yscale() == "linear"


def test_weighted_gap_by_hand():
    bins = reliability_bins(CONFIDENCE, CORRECT, bins=10)
    assert weighted_gap(bins) == pytest.approx((0.45 + 0.75) / 2)


def test_grid_leaves_missing_cells_empty():
    bins = reliability_bins(CONFIDENCE, CORRECT)
    cells = {("a", "base"): (bins, None), ("b", "new"): (bins, Estimate(0.1))}
    assert len(reliability_grid(cells, rows=["a", "b"], columns=["base", "new"]).axes) == 4


def test_overlay_and_pairs_carry_both_sets_of_numbers():
    base = reliability_bins(CONFIDENCE, CORRECT, bins=10)
    new = reliability_bins(np.full(30, 0.75), np.arange(30) < 3, bins=10)
    upper = base_new_overlay(base, new, eces=(Estimate(0.1), Estimate(0.65))).axes[0]
    np.testing.assert_allclose(points(upper, "s"), [[0.75, 0.1]])
    assert upper.get_title(loc="left") == "base classes: ECE 10.0 %\nnew classes: ECE 65.0 %"
    pair = before_after(base, new, names=("raw", "scaled"))
    assert [axes.get_title(loc="left") for axes in pair.axes] == ["raw", "scaled", "", ""]


def test_proximity_puts_accuracy_and_confidence_of_a_bin_above_each_other():
    bins = reliability_bins(CONFIDENCE, CORRECT, bins=10)
    upper, lower = proximity_reliability(bins, piece=Estimate(0.103, 0.0, 0.12)).axes
    np.testing.assert_allclose(points(upper, "_"), [[0.5, 0.15], [1.5, 0.95]])
    assert upper.get_title(loc="left") == "PIECE 10.3 % [0.0, 12.0]"
    assert [patch.get_height() for patch in lower.patches] == [10, 10]


@pytest.mark.parametrize(("n", "k"), [(1, 2), (20, 1000), (1_000_000, 2)])
def test_every_size_is_drawn_and_stays_small(make_confidences, n, k):
    rows = make_confidences(n=n, k=k)
    bins = reliability_bins(rows.confidence, rows.correct)
    for figure in (
        reliability_diagram(bins, ece=Estimate(0.1, 0.0, 0.2, floor=0.1)),
        reliability_diagram(bins, compact=True),
        confidence_histogram(rows.confidence, rows.correct),
        risk_coverage(rows.confidence, rows.correct),
        base_new_overlay(bins, bins),
    ):
        assert 2_000 < len(to_svg(figure, title="t", desc="d")) < 25_000


def test_equal_mass_bins_of_a_saturated_model():
    confidence = np.concatenate([np.full(900, 1.0), np.linspace(0.2, 0.99, 100)])
    bins = reliability_bins(confidence, np.ones(1000, dtype=bool), strategy="quantile")
    assert len(to_svg(reliability_diagram(bins), title="t", desc="d")) < 25_000


def test_short_counts_never_show_four_digits():
    assert [short_count(n) for n in (999, 1000, 9_949, 9_950, 999_400, 999_600)] == [
        "999",
        "1k",
        "9.9k",
        "10k",
        "999k",
        "1M",
    ]


def test_overlay_leads_no_line_to_bins_with_few_rows():
    confidence = np.concatenate([np.full(50, 0.95), np.full(50, 0.75), np.full(9, 0.15)])
    bins = reliability_bins(confidence, np.arange(109) % 2 == 0, bins=10)
    lines = [
        line for line in base_new_overlay(bins, bins).axes[0].lines if line.get_marker() == "o"
    ]
    solid, pale = lines
    np.testing.assert_allclose(solid.get_xdata(), [0.75, 0.95])
    np.testing.assert_allclose(pale.get_xdata(), [0.15])
    assert (solid.get_linestyle(), pale.get_linestyle()) == ("-", "None")


def test_overlay_of_twenty_rows_still_names_both_groups(make_confidences):
    rows = make_confidences(n=20)
    bins = reliability_bins(rows.confidence, rows.correct)
    legend = base_new_overlay(bins, bins).legends[0]
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["base classes (20 rows)", "new classes (20 rows)"]
