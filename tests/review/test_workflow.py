"""What a reader may see and do next, and that nothing is lost or changed."""

import json
import sqlite3

import pytest

from review.review_cases import CLASSES, evidence, made, review
from vlmcal.errors import DataError, SpecError, StoreError
from vlmcal.review import Evidence, Policy, Review
from vlmcal.review.case import Case
from vlmcal.review.log import verify
from vlmcal.review.policy import set_words
from vlmcal.review.workflow import panel, verdict

WHY = {"code": "image quality", "text": ""}


def other(case):
    return next(name for name in CLASSES if name != case.predicted)


def test_the_reader_answers_before_the_model_is_shown(tmp_path):
    made = review(tmp_path)
    case = made.page("r1")[0].case
    assert made.state(case.id, "r1").next == ("answer",)
    with pytest.raises(SpecError, match=r'"final" cannot be done now; next is answer'):
        made.act("r1", case.id, "final", case.predicted)
    with pytest.raises(SpecError, match="cannot be done now"):
        made.act("r1", case.id, "reveal")
    answer = made.act("r1", case.id, "answer", other(case), confidence=2, seconds=3.5)
    assert answer.shown is None
    assert not made.state(case.id, "r1").show_model
    shown = made.act("r1", case.id, "reveal").shown
    assert shown == {
        "p": case.confidence,
        "lo": case.low,
        "hi": case.high,
        "set": None,
        "reasons": list(case.reasons),
    }
    assert made.state(case.id, "r1").undo is None  # the answer stays
    with pytest.raises(SpecError, match="a reason is needed"):
        made.act("r1", case.id, "final", other(case))
    final = made.act("r1", case.id, "final", case.predicted)
    assert made.state(case.id, "r1").final == final
    assert made.counts("r1").done == 1
    assert made.state(case.id, "r2").next == ()  # one reader is enough


def test_undo_is_an_entry_and_keeps_what_was_there(tmp_path):
    made = review(tmp_path)
    case = made.page("r1")[0].case
    made.act("r1", case.id, "answer", None)
    made.act("r1", case.id, "reveal")
    final = made.act("r1", case.id, "final", other(case), reason=WHY)
    undo = made.act("r1", case.id, "undo")
    assert undo.value == final.seq
    assert made.state(case.id, "r1").final is None
    assert [e.event for e in made.events(case.id)] == ["answer", "reveal", "final", "undo"]
    with pytest.raises(SpecError, match="nothing to take back"):
        made.act("r1", case.id, "undo")
    made.act("r1", case.id, "final", None)
    assert verdict(made.events(case.id), made.policy).settled
    assert made.verify().whole


def test_blind_cases_never_show_the_model_and_their_share_is_the_policys(tmp_path):
    made = review(tmp_path, 4, Policy(mode="blind"))
    case = made.page("r1")[0].case
    made.act("r1", case.id, "answer", other(case))
    assert made.state(case.id, "r1").next == ("final",)
    final = made.act("r1", case.id, "final", other(case))  # an override nobody sees needs no reason
    assert final.shown is None
    arms = [Policy(blind_share=0.1).arm(str(i), "r1") for i in range(4000)]
    assert 0.08 < arms.count("blind") / 4000 < 0.12
    assert arms == [Policy(blind_share=0.1).arm(str(i), "r1") for i in range(4000)]
    assert arms != [Policy(blind_share=0.1, seed=1).arm(str(i), "r1") for i in range(4000)]


def test_readers_who_disagree_are_adjudicated_by_another(tmp_path):
    made = review(tmp_path, 3, Policy(mode="assisted", blind_share=0.0, readers=2))
    case = made.page("r1")[0].case
    made.act("r1", case.id, "final", case.predicted)
    assert made.page("r3", "adjudicate") == []
    made.act("r2", case.id, "final", other(case), reason=WHY)
    assert made.state(case.id, "r1").others == ()
    judge = made.state(case.id, "r3")
    assert (judge.arm, judge.next, len(judge.others)) == ("adjudication", ("final",), 2)
    assert [row.case.id for row in made.page("r3", "adjudicate")] == [case.id]
    assert made.counts("r3").adjudicate == 1
    made.act("r3", case.id, "final", other(case), reason=WHY)
    told = verdict(made.events(case.id), made.policy)
    assert (told.status, told.value) == ("adjudicated", other(case))
    assert made.page("r4", "adjudicate") == []


def test_a_changed_byte_is_found(tmp_path):
    made = review(tmp_path)
    for row in made.page("r1", limit=3):
        made.act("r1", row.case.id, "open")
        made.act("r1", row.case.id, "answer", "benign")
    lines = [event.to_json() for event in made.events()]
    assert verify(lines).whole
    count, last = made.last()
    assert (count, last) == (6, verify(lines).last)
    for place in range(6):
        bent = [*lines]
        bent[place] = bent[place].replace('"r1"', '"r2"')
        assert verify(bent).place == place + 1
    forged = json.loads(lines[2]) | {"user_code": "r2"}
    assert "does not give its hash" in verify([*lines[:2], json.dumps(forged), *lines[3:]]).broken
    gap = verify([*lines[:2], *lines[3:]])
    assert gap.place == 4
    assert gap.notes == ("entries 3 to 3 are missing",)
    assert verify(lines[:4]).whole  # the tail that was cut off is shown by the count alone
    # behind the back of the triggers
    with sqlite3.connect(made.path) as raw:
        raw.execute("DROP TRIGGER events_UPDATE")
        raw.execute("UPDATE events SET entry = replace(entry, 'benign', 'normal') WHERE seq = 2")
    assert made.verify().place == 2


def test_a_clock_that_went_backwards_is_told(tmp_path, monkeypatch):
    made = review(tmp_path)
    case = made.page("r1")[0].case.id
    made.act("r1", case, "open")
    monkeypatch.setattr("vlmcal.review.database.now", lambda: "2001-01-01T00:00:00.000000+00:00")
    made.act("r1", case, "answer", "benign")
    found = made.verify()
    assert found.whole
    assert "the clock went backwards" in found.notes[0]


@pytest.mark.parametrize("table", ["events", "cases", "meta"])
def test_nothing_is_ever_changed_or_taken_out(tmp_path, table):
    made = review(tmp_path)
    made.act("r1", made.page("r1")[0].case.id, "open")
    with sqlite3.connect(made.path) as raw:
        column = raw.execute(f"SELECT * FROM {table}").description[1][0]
        for query in (f"UPDATE {table} SET {column} = 'x'", f"DELETE FROM {table}"):
            with pytest.raises(sqlite3.IntegrityError, match="ever changed"):
                raw.execute(query)


def test_numbers_are_hidden_where_their_check_failed():
    case = Case(
        id="1",
        classes=("a", "b"),
        p=(0.9, 0.1),
        predicted="a",
        confidence=0.9,
        raw={"confidence": 1},
    )
    seen = panel(case, evidence())
    assert seen.confidence == 0.9
    assert seen.word == "likely"
    assert seen.frequency.startswith("of 100 answers like this, about ")
    for local in (Evidence(), Evidence(passed=False, why="too high")):
        hidden = panel(case, local)
        assert (hidden.confidence, hidden.classes, hidden.raw) == (None, (), {})
        assert hidden.hidden.startswith("no number is shown: ")
    alarmed = panel(case, evidence(), alarm="alarm at outcome 40")
    assert (alarmed.confidence, alarmed.reasons) == (None, ("r7",))


def test_an_empty_set_and_one_of_all_classes_are_worded_differently():
    words = {
        size: set_words(Case(id="1", classes=CLASSES, set=CLASSES[:size])) for size in range(4)
    }
    assert len(set(words.values())) == 4
    assert "empty" in words[0]
    assert "all 3" in words[3]


def test_what_cannot_be_said_is_refused(tmp_path):
    made = review(tmp_path)
    case = made.page("r1")[0].case.id
    for value, words in (("malignat", 'did you mean "malignant"'), ({"text": " "}, "not empty")):
        with pytest.raises(SpecError, match=words):
            made.act("r1", case, "answer", value)
    with pytest.raises(SpecError, match="a guess"):
        made.act("r1", case, "answer", "benign", confidence=9)
    with pytest.raises(SpecError, match="reason: expected"):
        made.act("r1", case, "answer", "benign", reason={"code": "because"})
    with pytest.raises(SpecError, match="no name"):
        made.act("Dr. Jane Doe", case, "open")
    with pytest.raises(DataError, match="no case"):
        made.act("r1", "case 99", "open")
    with pytest.raises(SpecError, match='no filter "tood"; did you mean "todo"'):
        made.page("r1", "tood")
    assert made.last()[0] == 0


def test_a_review_is_not_made_over_another_file(tmp_path):
    made_of = made()
    (tmp_path / "a.sqlite").write_text("mine")
    with pytest.raises(StoreError, match="exists"):
        Review.create(tmp_path / "a.sqlite", made_of, Policy())
    with pytest.raises(StoreError, match="another kind of file"):
        Review.open(tmp_path / "a.sqlite")
    with pytest.raises(StoreError, match="no such review"):
        Review.open(tmp_path / "b.sqlite")
    with sqlite3.connect(tmp_path / "c.sqlite") as raw:
        raw.execute("CREATE TABLE t (a)")
    with pytest.raises(StoreError, match="no review, or a damaged one"):
        Review.open(tmp_path / "c.sqlite")


@pytest.mark.parametrize(("n", "bins"), [(29, 1), (59, 1), (60, 2), (100, 3), (299, 5), (900, 10)])
def test_answers_like_this_are_as_alike_as_the_rows_allow(n, bins):
    found = evidence(n)
    assert len(found.n) == bins
    assert bins == 1 or min(found.n) >= 30
    low, high = found.lower[-1], found.upper[-1]
    assert found.near(high).range().endswith(f"of {100 * low:.0f} to {100 * high:.0f} %")


def test_every_disagreement_is_reached_page_by_page(tmp_path):
    """Also where cases on which readers agree stand before it in the queue."""
    made = review(tmp_path, 12, Policy(mode="blind", readers=2))
    items = [row.case.id for row in made.page("r1", "all")]
    for i, item in enumerate(items):
        for reader, value in (("r1", "benign"), ("r2", "benign" if i % 3 else "malignant")):
            made.act(reader, item, "answer", value)
            made.act(reader, item, "final", value)
    apart = items[::3]
    pages = [made.page("r3", "adjudicate", offset, 2) for offset in (0, 2, 4)]
    assert [[row.case.id for row in page] for page in pages] == [apart[:2], apart[2:], []]
    assert made.counts("r3").adjudicate == 4
    assert [made.beside(apart[1], "r3", step, "adjudicate") for step in (-1, 1)] == [
        apart[0],
        apart[2],
    ]
    assert made.beside(apart[-1], "r3", 1, "adjudicate") is None
    assert made.page("r1", "adjudicate") == []  # not one's own
    made.act("r3", apart[0], "final", "normal", reason=WHY)
    assert [row.case.id for row in made.page("r3", "adjudicate")] == apart[1:]
    assert made.standing.cases()[apart[0]].verdict.value == "normal"
    undone = made.act("r3", apart[0], "undo")
    assert undone.value == undone.seq - 1
    assert [row.case.id for row in made.page("r3", "adjudicate")] == apart
    # what another process writes is seen, too, and what is kept is what is read anew
    Review.open(made.path).act("r2", apart[1], "undo")
    assert made.counts("r3").adjudicate == 3
    assert made.standing.cases() == Review.open(made.path).standing.cases()
