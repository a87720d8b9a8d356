"""What comes of a review: outcomes, measures, agreement, exports, and rows to calibrate on."""

import csv
import json

import numpy as np
import pytest

from review.review_cases import CLASSES, review
from vlmcal.errors import DataError
from vlmcal.review import Policy
from vlmcal.review.agreement import agreements, cohen_kappa, fleiss_kappa
from vlmcal.review.export import decisions, export, log_lines, observations
from vlmcal.review.log import verify
from vlmcal.review.measures import measure
from vlmcal.review.outcomes import record_outcomes
from vlmcal.review.verdicts import review_rows
from vlmcal.review.workflow import NO_DEVICE

WHY = {"code": "other findings", "text": "seen before by Dr. Doe"}


def decide(made, item, answer, final, reader="r1", seconds=10.0):
    """A whole reading, whatever the arm."""
    standing = made.state(item, reader)
    made.act(reader, item, "open")
    if standing.next == ("answer",):
        made.act(reader, item, "answer", answer)
    if made.state(item, reader).next == ("reveal",):
        made.act(reader, item, "reveal")
    made.act(reader, item, "final", final, reason=WHY, seconds=seconds)


def table(path, rows):
    path.write_text("id,label,date\n" + "".join(f"{i},{label},2026-01-02\n" for i, label in rows))
    return path


def other(case, *besides):
    return next(n for n in CLASSES if n not in (case.predicted, *besides))


@pytest.fixture
def decided(tmp_path):
    """Twelve cases; the model is wrong in the first six, and the reader gives in twice there."""
    made = review(tmp_path, 12)
    cases = [row.case for row in made.page("r1", "all")]
    truth = {}
    for i, case in enumerate(cases):
        truth[case.id] = other(case) if i < 6 else case.predicted
        final = case.predicted if i < 2 else truth[case.id]
        decide(made, case.id, truth[case.id], final, seconds=10.0 + i)
    record_outcomes(made, table(tmp_path / "truth.csv", truth.items()), source="biopsy")
    return made, cases, truth


def test_giving_in_to_a_wrong_model_is_automation_bias(decided):
    made, _, _ = decided
    found = measure(made)
    assert (found.automation_bias.value, found.automation_bias.n) == (pytest.approx(2 / 6), 6)
    assert (found.overrides.value, found.overrides.n) == (pytest.approx(4 / 12), 12)
    assert (found.right_overrides.value, found.right_overrides.n) == (1.0, 4)
    assert found.arms["reader-first"].accuracy.value == pytest.approx(10 / 12)
    assert found.arms["reader-first"].seconds.value == pytest.approx(15.5)
    assert found.before_after[:2] == (2, 0)
    assert found.verified["all cases"] == (12, 12)
    assert found.automation_bias.low < 1 / 3 < found.automation_bias.high
    json.dumps(found.to_dict())


def test_arms_are_compared_on_the_cases_that_both_read(tmp_path):
    made = review(tmp_path, 40, Policy(blind_share=0.5, readers=2, critical=("malignant",)))
    rng = np.random.default_rng(0)
    truth = {}
    for case in made.cases():
        truth[case.id] = CLASSES[rng.integers(3)]
        for reader in ("r1", "r2"):
            blind = made.state(case.id, reader).arm == "blind"
            right = rng.random() < (0.6 if blind else 0.95)
            value = truth[case.id] if right else next(n for n in CLASSES if n != truth[case.id])
            decide(made, case.id, value, value, reader)
    record_outcomes(made, table(tmp_path / "truth.csv", truth.items()))
    found = measure(made)
    assert found.arms["blind"].n + found.arms["reader-first"].n == 80
    assert found.gain.low < found.gain.value < found.gain.high
    assert found.gain.value == pytest.approx(
        found.arms["reader-first"].accuracy.value - found.arms["blind"].accuracy.value
    )
    assert found.across.only_second > found.across.only_first
    assert 0.3 < found.arms["blind"].sensitivity["malignant"].value < 0.9


def test_kappa_is_that_of_the_libraries(tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    first = rng.choice(["a", "b", "c"], 200, p=[0.6, 0.3, 0.1])
    second = np.where(rng.random(200) < 0.7, first, rng.choice(["a", "b", "c"], 200))
    found = cohen_kappa(first, second)
    assert found.value == pytest.approx(metrics.cohen_kappa_score(first, second), abs=1e-12)
    assert found.low < found.value < found.high
    # Fleiss 1971, as tabulated for 10 cases, 14 raters, 5 categories
    counts = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    rows = [[str(c) for c, n in enumerate(row) for _ in range(n)] for row in counts]
    assert fleiss_kappa(np.array(rows).T.tolist()).value == pytest.approx(0.210, abs=5e-4)
    assert np.isnan(cohen_kappa(["a"] * 5, ["a"] * 5).value)


def test_readers_of_the_same_cases_are_compared(tmp_path):
    made = review(tmp_path, 8, Policy(mode="assisted", blind_share=0.0, readers=3))
    for i, case in enumerate(made.cases()):
        for reader in ("r1", "r2", "r3"):
            bent = other(case) if reader == "r3" and i < 4 else case.predicted
            decide(made, case.id, None, bent, reader)
    found = {each.readers: each for each in agreements(made)}
    assert found["r1", "r2"].kappa.value == 1.0
    assert found["r1", "r3"].observed == 0.5
    assert found["r1", "r2", "r3"].method == "Fleiss"
    assert found["r1", "r2", "r3"].kappa.n == 8
    assert "r1 and r2: Cohen's kappa 1.00" in found["r1", "r2"].sentence()


def test_outcomes_are_joined_all_or_none_and_only_once(decided, tmp_path):
    made, cases, _ = decided
    before = made.last()[0]
    again = record_outcomes(made, tmp_path / "truth.csv")
    assert (again.new, again.changed, again.known) == (0, 0, 12)
    assert made.last()[0] == before
    first = cases[0].id
    changed = table(tmp_path / "b.csv", [(first, cases[0].predicted), ("nobody", "benign")])
    found = record_outcomes(made, changed)
    assert (found.changed, found.unknown) == (1, 1)
    assert len([e for e in made.events(first) if e.event == "outcome"]) == 2  # both stay
    bad = table(tmp_path / "c.csv", [(cases[1].id, "benign"), (cases[2].id, "benin")])
    with pytest.raises(DataError, match=r'data row 2: no class "benin"; did you mean "benign"'):
        record_outcomes(made, bad)
    with pytest.raises(DataError, match="two different outcomes"):
        record_outcomes(made, table(tmp_path / "d.csv", [(first, "benign"), (first, "normal")]))
    with pytest.raises(DataError, match="no row is about a case"):
        record_outcomes(made, table(tmp_path / "e.csv", [("nobody", "benign")]))
    assert made.verify().whole


def test_exports_say_what_they_are_and_leave_free_text_out(decided, tmp_path):
    made, cases, _ = decided
    case = cases[-1]
    made.act("r1", case.id, "undo")
    made.act("r1", case.id, "final", {"text": "Mr. Doe's cyst"}, reason=WHY)
    for name in ("a.csv", "a.parquet", "a.jsonl", "a.json"):
        told = export(made, tmp_path / name)
        assert made.last()[1] in told
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(rows) == 12
    assert {row["notice"] for row in rows} == {NO_DEVICE}
    texts = [(tmp_path / name).read_text() for name in ("a.csv", "a.jsonl", "a.json")]
    assert not [t for t in texts if "Doe" in t]
    assert all(NO_DEVICE in t for t in texts)
    assert "Mr. Doe's cyst" in decisions(made, free_text=True)["decision"]
    bundle = observations(made)
    assert len(bundle["entry"]) == 12
    first = bundle["entry"][0]["resource"]
    assert (first["resourceType"], first["status"]) == ("Observation", "final")
    assert first["note"] == [{"text": NO_DEVICE}]


def test_an_exported_log_is_verified_also_its_length(decided):
    made, _, _ = decided
    whole = log_lines(made, free_text=True)
    assert verify(whole) == made.verify()
    hidden = verify(log_lines(made))
    assert hidden.whole
    assert "free text was left out of 12 entries" in hidden.notes[0]
    cut = verify(whole[:-3])
    assert not cut.whole
    assert "the export says that it has" in cut.broken


def test_verdicts_flow_back_as_rows(decided):
    made, cases, truth = decided
    shown, raw = review_rows(made).data, review_rows(made, split="calibration", raw=True).data
    assert [CLASSES[i] for i in shown.labels] == [truth[name] for name in shown.ids]
    assert np.allclose(shown.probabilities(), [case.p for case in cases])
    assert (raw.split, shown.split) == ("calibration", "test")
    assert np.allclose(raw.logits[0], cases[0].raw["scores"])
    by = review_rows(made, by=("deferred",)).strata["deferred"]
    assert set(by) <= {"yes", "no"}
    with pytest.raises(DataError, match='no column "sight"; did you mean "site"'):
        review_rows(made, by=("sight",))


def test_free_text_makes_the_rows_confidences(tmp_path):
    made = review(tmp_path, 3)
    with pytest.raises(DataError, match="no case has a verdict yet"):
        review_rows(made)
    cases = list(made.cases())
    decide(made, cases[0].id, None, {"text": "a cyst"})
    decide(made, cases[1].id, cases[1].predicted, cases[1].predicted)
    decide(made, cases[2].id, None, None)  # cannot tell is no label
    rows = review_rows(made).data
    assert rows.correct.tolist() == [False, True]
    assert rows.confidence.tolist() == [cases[0].confidence, cases[1].confidence]
