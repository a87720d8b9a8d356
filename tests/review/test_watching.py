"""Alarms that hold at any time, drift, and the page and endpoint of what is watched."""

import io
import json
import re

import numpy as np
import pytest

from cli.conftest import refused, vlmcal  # noqa: F401
from review.review_cases import CLASSES, review
from vlmcal.errors import DataError, SpecError
from vlmcal.posthoc.drift import cusum, shift
from vlmcal.posthoc.monitoring import _grid, _log_ratios, watch, watch_coverage
from vlmcal.review import Policy
from vlmcal.review.outcomes import record_outcomes
from vlmcal.review.prometheus import prometheus
from vlmcal.review.watch_page import watch_page
from vlmcal.review.watched_review import watch_review
from vlmcal.review.watching import Stream, watch_stream
from vlmcal.types.confidences import Confidences


def rows(n, gap=0.0, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.55, 0.98, n)
    return Confidences(confidence=p, correct=rng.random(n) < p - gap)


def test_a_thousand_calibrated_streams_of_two_thousand_raise_few_false_alarms():
    """All streams at once, step by step; one of them as the product does it."""
    rng, streams, steps = np.random.default_rng(7), 1000, 2000
    place = np.round(100 * rng.beta(4, 1.5, (streams, steps))).astype(int)  # of few distinct values
    right = (rng.random((streams, steps)) < place / 100).astype(int)
    grid = np.arange(101) / 100
    factors = np.stack(
        [np.exp(_log_ratios(grid, np.full(101, y), _grid())).T for y in (False, True)], axis=1
    )
    wealth = np.ones((streams, factors.shape[-1]))
    most = np.zeros(streams)
    for t in range(steps):
        wealth *= factors[place[:, t], right[:, t]]
        most = np.maximum(most, wealth.mean(axis=1))
    assert (most >= 20).sum() <= 50
    one = watch(Confidences(confidence=place[3] / 100, correct=right[3]))
    assert np.exp(one.log_e.max()) == pytest.approx(most[3])
    assert np.exp(one.log_e[-1]) == pytest.approx(wealth[3].mean())


def test_label_sets_that_cover_as_promised_or_more_raise_few_false_alarms():
    rng = np.random.default_rng(8)
    for rate in (0.9, 0.97):
        false = sum(
            watch_coverage(rng.random(500) < rate, 0.9).alarm is not None for _ in range(300)
        )
        assert false <= 15
    missed = watch_coverage(rng.random(500) < 0.75, 0.9)
    assert missed.alarm is not None
    assert "label sets hold the truth less often than promised" in missed.sentence()
    with pytest.raises(SpecError, match="between 0 and 1"):
        watch_coverage(np.ones(3, dtype=bool), 1.0)


def test_a_rate_that_changed_is_noticed_and_one_that_did_not_rarely():
    rng = np.random.default_rng(9)
    up = cusum(np.r_[rng.random(300) < 0.2, rng.random(300) < 0.5], 0.2)
    assert up.way == "up"
    assert 300 < up.alarm < 400
    down = cusum(np.r_[rng.random(300) < 0.3, rng.random(300) < 0.1], 0.3)
    assert down.way == "down"
    assert down.alarm > 300
    quiet = sum(cusum(rng.random(200) < 0.2, 0.2).alarm is not None for _ in range(200))
    assert quiet <= 20
    # the closed form is the recursion
    happened, s, sums = rng.random(50) < 0.4, 0.0, []
    for x in happened:
        s = max(0.0, s + (np.log(1 / 3 / 0.2) if x else np.log(2 / 3 / 0.8)))
        sums.append(s)
    assert np.allclose(cusum(happened, 0.2).up, sums)
    with pytest.raises(DataError, match="rate in"):
        cusum([True], 0.0)


def test_confidences_that_shifted_are_told():
    rng = np.random.default_rng(10)
    assert "no clear shift" in shift(rng.beta(5, 2, 500), rng.beta(5, 2, 200)).sentence()
    moved = shift(rng.beta(5, 2, 500), rng.beta(2, 2, 200))
    assert moved.sentence().startswith("confidences have shifted")
    with pytest.raises(DataError, match="finite"):
        shift([], [0.5])


def test_windows_cover_the_stream_and_parts_are_watched_apart():
    stream = rows(450, 0.1)
    site = np.where(np.arange(450) % 3 == 0, "a", "b")
    accepted = stream.confidence > 0.8
    found = watch_stream(
        Stream(
            stream,
            strata={"site": site},
            confidences=stream.confidence,
            deferred=~accepted,
            accepted=accepted,
        )
    )
    assert [(w.first, w.last) for w in found.windows] == [(1, 200), (201, 450)]
    assert sum(w.n for w in found.parts.values()) == 450
    first = found.windows[0]
    assert first.gap.value == pytest.approx(first.confidence - first.accuracy.value)
    assert first.gap.low < first.gap.value < first.gap.high
    wrong = ~stream.correct[:200][accepted[:200]]
    assert first.risk.value == pytest.approx(wrong.mean())
    assert set(found.alarms) == {"all rows", "site = a", "site = b"}
    assert found.suggestion.startswith("suggested: log-odds = ")
    with pytest.raises(SpecError, match="need the times"):
        watch_stream(Stream(stream), every="week")


def test_weeks_are_those_of_the_outcomes():
    times = np.array(["2026-01-05"] * 10 + ["2026-01-11"] * 5 + ["2026-01-12T08:00:00+00:00"] * 6)
    found = watch_stream(Stream(rows(21), times=times), every="week")
    assert [w.n for w in found.windows] == [15, 6]


def outcomes(made, path, rate):
    """Outcomes in which the model is right in a share ``rate`` of the cases."""
    rng = np.random.default_rng(3)
    lines = []
    for case in made.cases():
        wrong = next(name for name in CLASSES if name != case.predicted)
        lines.append(f"{case.id},{case.predicted if rng.random() < rate else wrong}\n")
    path.write_text("id,label\n" + "".join(lines))
    return path


def test_an_alarm_hides_the_numbers_and_is_a_reason(tmp_path):
    made = review(tmp_path, 60)
    name = made.page("r1", "all")[0].case.id
    assert made.alarm() == ""
    assert made.panel(name).confidence is not None
    record_outcomes(made, outcomes(made, tmp_path / "o.csv", 0.1))
    assert "confidences are too high" in made.alarm()
    hidden = made.panel(name)
    assert hidden.confidence is None
    assert hidden.reasons[-1] == "r7"
    assert hidden.sentences[-1] == "a drift alarm is on"
    made.act("r1", name, "answer", "benign")
    shown = made.act("r1", name, "reveal").shown
    assert (shown["p"], shown["reasons"][-1]) == (None, "r7")


def test_an_alarm_at_one_site_hides_its_numbers_only(tmp_path):
    made = review(tmp_path, 120, sites=("a", "b"))
    rng, lines = np.random.default_rng(4), []
    for case in made.cases():
        right = rng.random() < (0.05 if case.site == "b" else case.confidence)
        other = next(name for name in CLASSES if name != case.predicted)
        lines.append(f"{case.id},{case.predicted if right else other}\n")
    (tmp_path / "o.csv").write_text("id,label\n" + "".join(lines))
    record_outcomes(made, tmp_path / "o.csv")
    assert watch_review(made).alarms["all rows"].alarm is not None  # because of that site alone
    assert list(made.alarms()) == ["b"]
    assert made.alarm("a") == ""
    assert made.alarm("b").startswith("site = b: alarm at outcome")
    shown = {case.site: made.panel(case.id) for case in made.cases()}
    assert shown["a"].confidence is not None
    assert shown["b"].confidence is None
    assert shown["b"].reasons[-1] == "r7"
    assert "r7" not in shown["a"].reasons
    assert made.alarm() == made.alarm("b")
    # where all of them are wrong, it is everywhere
    record_outcomes(made, outcomes(made, tmp_path / "p.csv", 0.05))
    assert None in made.alarms()
    assert made.alarm("a")


def test_outcomes_of_some_speak_for_all_by_their_weights(tmp_path):
    """The deferred ones are looked into six times as often: what is known looks worse than what is true."""
    made = review(tmp_path, 2000, Policy(threshold=0.6, blind_share=0.0))
    rng, lines, right = np.random.default_rng(5), [], []
    for case in made.cases():
        right.append(rng.random() < case.confidence)
        chance = 0.6 if case.reasons else 0.1
        if rng.random() < chance:
            other = next(name for name in CLASSES if name != case.predicted)
            lines.append(f"{case.id},{case.predicted if right[-1] else other},{chance}\n")
    (tmp_path / "o.csv").write_text("id,label,probability\n" + "".join(lines))
    record_outcomes(made, tmp_path / "o.csv")
    assert made.standing.cases()[lines[0].split(",")[0]].outcome.probability in (0.6, 0.1)
    found = watch_review(made)
    whole = found.weighted
    naive = np.mean([w.accuracy.value for w in found.windows])
    assert naive < np.mean(right) - 0.05
    assert whole.accuracy.low < np.mean(right) < whole.accuracy.high
    assert abs(whole.accuracy.value - np.mean(right)) < abs(naive - np.mean(right))
    assert whole.gap.low < 0 < whole.gap.high
    assert whole.effective < len(lines)
    # without the column, the same from the shares that are known
    plain = review(tmp_path / "b", 2000, Policy(threshold=0.6, blind_share=0.0))
    (tmp_path / "p.csv").write_text(
        "id,label\n" + "".join(x.rsplit(",", 1)[0] + "\n" for x in lines)
    )
    record_outcomes(plain, tmp_path / "p.csv")
    assert watch_review(plain).weighted.accuracy.value == pytest.approx(
        whole.accuracy.value, abs=0.02
    )
    (tmp_path / "q.csv").write_text("id,label,probability\ncase 1,benign,0\n")
    with pytest.raises(
        DataError, match=r"data row 1: expected a probability above 0 and up to 1, got '0'"
    ):
        record_outcomes(made, tmp_path / "q.csv")


def test_strata_without_an_outcome_are_named(tmp_path):
    made = review(tmp_path, 40, Policy(threshold=0.6, blind_share=0.0), sites=("a", "b"))
    for case in made.cases():
        if case.site == "a":
            value = {"label": case.predicted, "date": "", "source": ""}
            made.append("import", case.id, "outcome", value)
    told = watch_review(made).weighted.sentences()
    assert told[-1].startswith("weighted to the other 20 cases: right 100.0 %")
    # deferred, as nothing is known of the site from before
    assert told[:-1] == ["no outcome of deferred cases of b (20 cases): nothing is known of these"]


def test_a_review_is_watched_with_page_numbers_and_gauges(vlmcal, tmp_path):  # noqa: F811
    policy = Policy(blind_share=0.0, target_risk=0.2)
    made = review(tmp_path, 60, policy, site='<script>"7"')
    record_outcomes(made, outcomes(made, tmp_path / "o.csv", 0.6), source="biopsy")
    for row in made.page("r1", limit=5):
        made.act("r1", row.case.id, "answer", "benign")
        made.act("r1", row.case.id, "reveal")
        made.act("r1", row.case.id, "final", row.case.predicted, seconds=4.0)
    page, numbers, text = (tmp_path / name for name in ("w.html", "w.json", "w.prom"))
    done = vlmcal(
        "monitor", made.path, "--html", page, "--json", numbers, "--prometheus", text, "--every", 30
    )
    assert done.code == 0, done.err
    assert "deferred to a person: " in done.out
    html = page.read_text()
    assert not re.findall(r"https?://(?!www\.w3\.org)", html)
    assert "not a diagnostic device" in html
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    told = json.loads(numbers.read_text())
    assert [w["n"] for w in told["windows"]] == [30, 30]
    assert told["measures"]["verified"]["all cases"] == {"known": 60, "cases": 60}
    assert told["all rows"]["outcomes"] == 60
    gauges = text.read_text().splitlines()
    assert 'vlmcal_outcomes{part="site = <script>\\"7\\""} 60' in gauges
    assert "vlmcal_override_rate 0" in gauges
    for line in gauges:
        assert re.fullmatch(
            r"# (HELP|TYPE) vlmcal_\w+ .+|vlmcal_\w+(\{.*\})? (NaN|[-+\d.e]+)", line
        )
    # twice the same bytes
    assert prometheus(watch_review(made, every=30)) == text.read_text()
    one, two = (watch_page(watch_review(made, every=30), title="x").to_html() for _ in range(2))
    assert one == two


def test_a_review_without_outcomes_is_watched_for_drift_alone(vlmcal, tmp_path):  # noqa: F811
    made = review(tmp_path, 30)
    done = vlmcal("monitor", made.path, "--html", tmp_path / "w.html")
    assert done.code == 0, done.err
    assert "no outcome yet" in done.out
    assert "no alarm after 0 outcomes" in done.out


def test_a_stream_is_watched(vlmcal, refused, tmp_path, monkeypatch):  # noqa: F811
    stream = rows(500, 0.15)
    file = tmp_path / "stream.csv"
    cells = zip(stream.confidence.tolist(), stream.correct.astype(int).tolist(), strict=True)
    file.write_text("confidence,correct\n" + "".join(f"{c},{r}\n" for c, r in cells))
    done = vlmcal("monitor", file, "--probs", "--defer-below", 0.7, "--prometheus", "-")
    assert done.out.startswith("# HELP vlmcal_outcomes")
    assert "all rows: alarm at outcome" in done.err
    assert "wrong among those left to the model" in done.err
    typed = io.TextIOWrapper(io.BytesIO(file.read_bytes()))
    monkeypatch.setattr("sys.stdin", typed)
    piped = vlmcal("monitor", "-", "--probs", "--defer-below", 0.7, "--prometheus", "-")
    assert piped.out == done.out
    assert "standard input.csv" in piped.err
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"x,y\n")))
    refused("monitor", "-", "--probs", words=["error: standard input.csv: "])
    refused("monitor", file, "--probs", "--every", "month", words=["--every"])
    refused("monitor", file, "--probs", "--every", "week", words=["need the times"])
    refused("monitor", file, "--probs", "--defer-below", 2, words=["--defer-below"])
    refused("monitor", file, "--probs", "--html", "a.txt", words=["expected a name that ends in"])
    refused("monitor", tmp_path / "none.sqlite", words=["no such review"])
