"""The edge rule: one answer for stated confidences, whatever they are stored in."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.worlds import binary, slow_bin, slow_ece
from vlmcal.errors import DataError, SpecError
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.kit.bin_sums import exact_sums
from vlmcal.metrics.kit.binned import top_label
from vlmcal.metrics.kit.reliability import reliability_bins
from vlmcal.metrics.published.evaluators import dac_ece, tcpt_ece
from vlmcal.metrics.published.libraries import clipcalib_ece, left_closed_errors, torchmetrics_ece
from vlmcal.types.binning import (
    Binning,
    equal_mass_index,
    on_edge,
    tolerance_for,
    uniform_index,
)

# Stated confidences, every one on an edge of ten or twenty bins, with gaps of alternating sign.
STATED = np.round(np.arange(50, 101, 5) / 100, 2)
ROWS = np.tile(STATED, 40)
GAPS = np.where(np.arange(len(STATED)) % 2 == 0, 0.15, -0.12)
RIGHT = np.concatenate([(part + 0.5) / 40 < np.clip(STATED - GAPS, 0, 1) for part in range(40)])


def stored_forms():
    text = np.array([float(f"{value:.2f}") for value in ROWS])
    return {
        "text": (text, 0.0),
        "float64 by subtraction": (1 - (1 - ROWS), 0.0),
        "float64 by addition": (np.round(ROWS * 20) * 0.05, 0.0),
        "float32": (ROWS.astype(np.float32), 0.0),
        "float32 made float64": (ROWS.astype(np.float32).astype(np.float64), 0.0),
        "float16": (ROWS.astype(np.float16), 0.0),
        "float16 by subtraction": (np.float16(1) - (1 - ROWS).astype(np.float16), 0.0),
        "float16 made float64": (ROWS.astype(np.float16).astype(np.float64), 2.0**-10),
        "bfloat16": (
            (ROWS.astype(np.float32).view(np.uint32) + 0x8000 & 0xFFFF0000).view(np.float32),
            2.0**-7,
        ),
    }


@pytest.mark.parametrize("bins", [10, 20])
@pytest.mark.parametrize("edges", ["right", "left"])
@pytest.mark.parametrize("form", stored_forms())
def test_stated_confidences_fall_into_the_same_bins_in_every_form(form, edges, bins):
    values, resolution = stored_forms()[form]
    cut = Binning(bins, edges=edges)
    sums = top_label(values, RIGHT, binning=cut, resolution=resolution).sums
    wanted = [slow_bin(value, bins, edges) for value in ROWS]
    assert sums.count.tolist() == np.bincount(wanted, minlength=bins).tolist()
    close = 4e-3 if form == "bfloat16" else 4e-4 if "16" in form else 1e-6
    assert ece(values, RIGHT, bins=bins, edges=edges, resolution=resolution) == pytest.approx(
        slow_ece(ROWS, RIGHT, bins, edges), abs=close
    )


def test_other_rules_give_other_answers_on_the_same_rows():
    rules = {
        "ours": ece(ROWS, RIGHT, bins=20),
        "left": ece(ROWS, RIGHT, bins=20, edges="left"),
        "float32 edges": tcpt_ece(ROWS, RIGHT, bins=20),
        "ceil": clipcalib_ece(ROWS, RIGHT, bins=20),
        "digitize": left_closed_errors(ROWS, RIGHT, bins=20).ece,
        "ones dropped": dac_ece(ROWS, RIGHT, bins=20),
        "extra bin for 1": torchmetrics_ece(ROWS, RIGHT, bins=20),
    }
    assert len({round(value, 6) for value in rules.values()}) >= 4, rules


@given(
    st.lists(st.floats(0, 1), min_size=1, max_size=30),
    st.integers(1, 25),
    st.sampled_from(["right", "left"]),
)
def test_index_matches_the_slow_rule(values, bins, edges):
    got = uniform_index(np.array(values), bins, edges)
    # Values exactly at the limit of the tolerance may round either way.
    near_limit = [
        min(abs(abs(v - e / bins) - 1e-6) for e in range(bins + 1)) < 1e-12 for v in values
    ]
    for index, value, skip in zip(got, values, near_limit, strict=True):
        assert skip or index == slow_bin(value, bins, edges)


def test_tolerance_is_stated():
    assert tolerance_for(0.0) == 1e-6
    assert uniform_index(np.array([0.1 + 0.9e-6, 0.1 + 1.1e-6]), 10).tolist() == [0, 1]
    assert on_edge(np.array([0.0, 0.1, 0.15, 1.0]), 10).tolist() == [False, True, False, False]


def test_equal_mass_bins_hold_equal_counts_without_ties():
    confidence, _ = binary(1000)
    counts = np.bincount(equal_mass_index(confidence, 8), minlength=8)
    assert counts.tolist() == [125] * 8


def test_equal_mass_bins_keep_ties_together_and_fewer_rows_than_bins_work():
    values = np.array([0.9] * 7 + [0.2, 0.3, 0.4])
    index = equal_mass_index(values, 5)
    assert len(set(index[:7])) == 1
    assert equal_mass_index(np.array([0.3, 0.8]), 10).tolist() == [2, 7]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=60), st.integers(1, 12))
def test_equal_mass_index_rises_with_confidence(values, bins):
    values = np.array(values)
    index = equal_mass_index(values, bins)
    assert (np.diff(index[np.argsort(values, kind="stable")]) >= 0).all()
    assert index.min() >= 0
    assert index.max() < bins


def test_exact_sums_do_not_depend_on_the_order():
    values = np.random.default_rng(0).random(50_000)
    index = (values * 7).astype(np.int64)
    shuffled = np.random.default_rng(1).permutation(len(values))
    one = exact_sums(values, index, 7)
    assert (one == exact_sums(values[shuffled], index[shuffled], 7)).all()
    assert one == pytest.approx(np.bincount(index, values), abs=1e-8)


def test_reliability_bins_by_hand():
    table = reliability_bins([0.55, 0.6, 0.95, 0.91], [0, 1, 1, 1], bins=10)
    assert table.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    assert table.accuracy[[5, 9]].tolist() == [0.5, 1.0]
    assert table.confidence[5] == pytest.approx(0.575)
    assert np.isnan(table.low[0])
    assert table.band_low[9] == 0.5  # one of two wrong is still likely at 0.93
    assert (table.low[[5, 9]] <= table.accuracy[[5, 9]]).all()


def test_band_holds_a_calibrated_model_about_as_often_as_it_says():
    inside = []
    for seed in range(40):
        table = reliability_bins(*binary(2000, seed), bins=10)
        full = table.count > 30
        inside.append(
            ((table.accuracy >= table.band_low) & (table.accuracy <= table.band_high))[full]
        )
    assert np.concatenate(inside).mean() > 0.94


@pytest.mark.parametrize("strategy", ["uniform", "quantile"])
def test_reliability_edges_cover_the_unit_interval(strategy):
    table = reliability_bins(*binary(300), bins=7, strategy=strategy)
    assert table.lower[0] == 0
    assert table.upper[-1] == 1
    assert table.lower[1:] == pytest.approx(table.upper[:-1])
    assert table.count.sum() == 300


@pytest.mark.parametrize("bins", [0, -1, 2.5, True])
def test_bins_must_be_a_count(bins):
    with pytest.raises(SpecError, match="bins"):
        ece([0.5], [1], bins=bins)


def test_unknown_edge_rule_points_to_the_published_metrics():
    with pytest.raises(SpecError, match="tcpt_ece"):
        ece([0.5], [1], edges="seed")


@pytest.mark.parametrize(
    ("confidence", "correct", "message"),
    [
        ([], [], "no rows"),
        ([0.5, np.nan], [1, 0], "NaN"),
        ([0.5, 1.2], [1, 0], r"outside \[0, 1\]"),
        ([80.0, 90.0], [1, 0], "percentages"),
        ([0.5], [1, 0], "correct"),
        ([0.5, 0.6], [1, 2], "0/1"),
        ([0.5, 0.6], ["yes", "no"], "correct"),
        (["0.5", "0.6"], [1, 0], "numbers"),
        ([[0.5, 0.5]], [1], "shape"),
    ],
)
def test_bad_rows_are_refused(confidence, correct, message):
    with pytest.raises(DataError, match=message):
        ece(confidence, correct)
