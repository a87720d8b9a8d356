"""The page of those who watch, the same as JSON and for Prometheus, and what an alarm changes."""

import json
import re

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="needs the extra app")

from vlmcal.review.web.charts import line

NAEVUS = "lesion-007"


def tell(desk, wrong):
    """Outcomes of all cases of the review: right answers of the model, or others."""
    cases = list(desk.review.cases())
    for case in cases:
        label = (
            case.predicted if not wrong else next(n for n in case.classes if n != case.predicted)
        )
        desk.review.append(
            "import", case.id, "outcome", {"label": label, "date": "", "source": "made"}
        )


def test_without_outcomes_it_says_so(desk):
    pages = desk.of(NAEVUS, "lesion-014").at()
    page = pages.get("/watch")
    assert "no outcome yet" in page
    assert json.loads(pages.get("/watch.json"))["alarm"] == ""
    assert "# TYPE" in pages.get("/metrics")


def test_outcomes_are_shown_to_people_and_machines(desk):
    pages = desk.of(*(f"lesion-{n}" for n in ("007", "014", "021", "030"))).at()
    tell(desk, wrong=False)
    page = pages.get("/watch")
    assert "no alarm after 4 outcomes" in page.lower()
    assert re.search(
        r'<svg class="chart"[^>]*aria-label="Evidence against calibration after each of 4', page
    )
    plain = json.loads(pages.get("/watch.json"))
    assert (plain["all rows"]["outcomes"], plain["all rows"]["alarm"]) == (4, None)
    assert isinstance(plain["all rows"]["log_e"], float)
    metrics = pages.get("/metrics")
    assert 'vlmcal_outcomes{part="all rows"} 4' in metrics
    assert re.fullmatch(r"(# .*\n|\w+(\{.*\})? (NaN|[-+.e\d]+)\n)+", metrics)
    bearer = {"authorization": "Bearer r1-with-a-long-token"}  # machines have no cookie
    pages.client.cookies.clear()
    assert pages.client.get("/metrics", headers=bearer).text == metrics


def test_an_alarm_hides_the_numbers_and_gives_a_reason(desk, monkeypatch):
    pages = desk.of(NAEVUS, mode="assisted").at()
    assert "83 %" in pages.get("/case", item=NAEVUS)
    told = "all rows: alarm at outcome 10 of 40: confidences are too high"
    monkeypatch.setattr(desk.review, "alarms", lambda: {None: told})
    page = pages.get("/case", item=NAEVUS)
    assert "Drift alarm" in page
    assert 'role="alert"' in page
    assert "83 %" not in page
    assert "of 100 answers" not in page
    assert "A drift alarm is on" in page
    assert "no number is shown" in page.lower()


@pytest.mark.parametrize("n", [0, 1, 5, 10_000])
def test_charts_of_any_length(n):
    values = np.sin(np.arange(n))
    drawn = line(values, 1.3, ticks=[(0.0, "1")], across="outcomes", words='"quoted" & <b>')
    assert "nan" not in drawn
    assert "<b>" not in drawn
    assert len(drawn) < 6000
