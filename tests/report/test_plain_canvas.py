import re

import numpy as np
import pytest

from vlmcal.metrics import reliability_bins
from vlmcal.metrics.smooth_ece import SmoothCurve
from vlmcal.report.figures.grid import class_reliability
from vlmcal.report.figures.histogram import confidence_histogram
from vlmcal.report.figures.overlay import base_new_overlay, before_after
from vlmcal.report.figures.plain import PlainFigure
from vlmcal.report.figures.plain_axes import nice_ticks
from vlmcal.report.figures.reliability import reliability_diagram
from vlmcal.report.figures.risk import risk_coverage
from vlmcal.report.figures.smooth import smooth_reliability
from vlmcal.report.figures.style import plain_canvas
from vlmcal.report.figures.svg import to_svg
from vlmcal.types.estimate import Estimate

RNG = np.random.default_rng(0)
CONFIDENCE = RNG.random(2000)
CORRECT = RNG.random(2000) < CONFIDENCE**2
BINS = reliability_bins(CONFIDENCE, CORRECT, bins=10)
FEW_BINS = reliability_bins(CONFIDENCE[:60], CORRECT[:60], bins=10)
GRID = np.linspace(0, 1, 101)
CURVE = SmoothCurve(GRID, GRID**2, np.where(GRID > 0.4, 1.0, 0.1), 0.05)
DRAWINGS = {
    "reliability": lambda: reliability_diagram(BINS, ece=Estimate(0.2, 0.1, 0.3, floor=0.01)),
    "smooth": lambda: smooth_reliability(CURVE, rows=900),
    "histogram": lambda: confidence_histogram(CONFIDENCE, CORRECT),
    "risk": lambda: risk_coverage(CONFIDENCE, CORRECT, subtitle="AURC 3 %"),
    "few rows": lambda: risk_coverage(CONFIDENCE[:20], CORRECT[:20]),
    "two groups": lambda: base_new_overlay(BINS, FEW_BINS, eces=(Estimate(0.1), None)),
    "class": lambda: class_reliability("a <b>", BINS),
    "before and after": lambda: before_after(
        BINS, BINS, names=("before", "after platt"), eces=(Estimate(0.2, 0.1, 0.3), None)
    ),
    "rare class": lambda: class_reliability("", BINS, rare=True),
}


def svg(draw, *, plain):
    if plain:
        with plain_canvas():
            figure = draw()
        assert isinstance(figure, PlainFigure)
    else:
        figure = draw()
    return to_svg(figure, title="T", desc="D", uid="f1")


def words(text):
    return sorted(re.findall(r"<text[^>]*>([^<]*)</text>", text))


@pytest.mark.parametrize("name", DRAWINGS)
def test_both_canvases_say_the_same(name):
    plain, matplotlib = (svg(DRAWINGS[name], plain=p) for p in (True, False))
    numbers = re.compile(r"-?[\d.]+k?( %)?")
    named = [[w for w in words(text) if not numbers.fullmatch(w)] for text in (plain, matplotlib)]
    assert named[0] == named[1]
    boxes = [re.search(r'viewBox="([^"]+)"', text)[1] for text in (plain, matplotlib)]
    assert boxes[0] == boxes[1]
    assert "nan" not in plain.lower()
    assert "{uid}" not in plain


@pytest.mark.parametrize("rare", [False, True])
def test_points_of_a_class_lie_where_matplotlib_puts_them(rare):
    drawn = [svg(lambda: class_reliability("", BINS, rare=rare), plain=p) for p in (True, False)]
    plain = re.findall(r"M([\d.]+) ([\d.]+)m(?:0|-2) ", drawn[0])
    theirs = re.findall(r'<use [^>]*x="([\d.]+)" y="([\d.]+)"', drawn[1])
    assert len(plain) == len(theirs) == (BINS.count > 0).sum()
    np.testing.assert_allclose(
        sorted(np.array(plain, float).tolist()), sorted(np.array(theirs, float).tolist()), atol=0.02
    )


def test_ticks_at_every_size():
    for low, high in ((0, 1), (0, 7), (-0.4, 0.4), (0, 123456.0), (0, 1e-3)):
        ticks = nice_ticks(low, high, 5)
        assert 2 <= len(ticks) <= 6
        assert low <= ticks[0] < ticks[-1] <= high
    assert "-0" not in map(str, nice_ticks(-1, 1, 4))
    assert nice_ticks(3.0, 3.0, 4) == [3.0]
