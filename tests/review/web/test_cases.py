"""The flow of a case over plain forms: answer, reveal, decision, undo; and what stands in the page when."""

import re

import pytest

pytest.importorskip("fastapi", reason="needs the extra app")

NAEVUS = "lesion-007"


def test_the_model_is_absent_until_the_reader_has_answered(desk):
    pages = desk.of(NAEVUS).at()
    page = pages.get("/case", item=NAEVUS)
    # The time and the random token of the form may contain any digits.
    steady, dropped = re.subn(r'<input type="hidden" name="(at|form)"[^>]*>', "", page)
    assert dropped >= 2
    for secret in (
        "83 %",
        "almost certain",
        "likely",
        'id="model"',
        "of 100 answers",
        "97",
        "cannot be ruled out",
    ):
        assert secret not in steady
    assert page.count("benign naevus") == 1  # its button alone
    address = pages.send(page, "/answer", choice="c1", sure="2")
    assert "said=answered" in address
    page = pages.get(address)
    for shown in (
        "83 %",
        "Likely",
        "of 100 answers like this, about",
        "Keep mine: melanoma",
        "Take the model&#39;s",
    ):
        assert shown in page, shown
    events = desk.review.events(NAEVUS)
    assert [e.event for e in events] == ["open", "answer", "reveal"]
    assert (events[1].value, events[1].confidence, events[1].shown) == ("melanoma", 2, None)
    assert events[2].shown["p"] == 0.83
    assert desk.review.verify().whole


def test_an_override_needs_a_reason_and_keeps_what_was_typed(desk):
    pages = desk.of(NAEVUS, "lesion-014").at()
    pages.send(pages.get("/case", item=NAEVUS), "/answer", choice="c1")
    page = pages.get("/case", item=NAEVUS)
    assert re.search(r'value="mine"[^>]* data-reason', page)
    assert not re.search(r'value="model"[^>]* data-reason', page)
    again = pages.send(page, "/final", 422, choice="mine")
    assert "Nothing was saved" in again
    assert "a reason is needed" in again
    assert re.search(r'value="mine"[^>]* checked', again)
    address = pages.send(again, "/final", choice="mine", reason="image quality", note="glare")
    assert "item=lesion-014" in address
    assert "said=decided" in address
    final = desk.review.events(NAEVUS)[-1]
    assert (final.value, final.reason) == ("melanoma", {"code": "image quality", "text": "glare"})
    assert final.seconds is not None
    assert 0 <= final.seconds < 60


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ({"choice": "model"}, "benign naevus"),
        ({"choice": "unsure"}, None),
        ({"choice": "change", "pick": "2", "reason": "other"}, "<b>keratosis</b>"),
        ({"choice": "change", "text": "scar", "reason": "other"}, {"text": "scar"}),
        ({"choice": "change", "text": "Vascular Lesion", "note": "seen before"}, "vascular lesion"),
    ],
)
def test_every_way_to_decide(desk, sent, value):
    pages = desk.of(NAEVUS).at()
    pages.send(pages.get("/case", item=NAEVUS), "/answer", choice="c1")
    address = pages.send(pages.get("/case", item=NAEVUS), "/final", **sent)
    assert address == f"/?said=last&last={NAEVUS}"
    assert desk.review.events(NAEVUS)[-1].value == value
    assert "No more cases wait for you" in pages.get(address)


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"choice": "c9"},
        {"choice": "model"},
        {"choice": "other0"},
        {"choice": "text"},
        {"choice": "change"},
    ],
)
def test_nothing_is_saved_of_an_answer_that_says_nothing(desk, sent):
    pages = desk.of(NAEVUS).at()
    page = pages.send(pages.get("/case", item=NAEVUS), "/answer", 422, **sent)
    assert "Nothing was saved" in page
    assert 'id="model"' not in page
    assert [e.event for e in desk.review.events(NAEVUS)] == ["open"]


def test_undo_takes_the_decision_back_and_keeps_the_history(desk):
    pages = desk.of(NAEVUS, "lesion-014").at()
    pages.send(pages.get("/case", item=NAEVUS), "/answer", choice="c0")
    page = pages.get("/case", item=NAEVUS)
    assert "Keep mine, which is also the model&#39;s: benign naevus" in page
    assert 'value="model"' not in page
    address = pages.send(page, "/final", choice="mine")
    onward = pages.get(address)  # on the next case, one key from taking it back
    assert f"Take back your decision on {NAEVUS}" in onward
    address = pages.send(onward, "/undo")
    page = pages.get(address)
    assert "the log keeps" in page.lower()
    assert 'action="/final"' in page
    assert 'action="/undo"' not in page  # the answer stays once the model was seen
    assert [e.event for e in desk.review.events(NAEVUS)] == [
        "open",
        "answer",
        "reveal",
        "final",
        "undo",
    ]
    assert "took back entry 4" in page
    again = {"form": re.search('name="form" value="(.*?)"', onward)[1], "item": NAEVUS}
    assert pages.client.post("/undo", data=again).status_code == 409


def test_a_blind_case_never_shows_the_model(desk):
    pages = desk.of(NAEVUS, mode="blind").at()
    page = pages.get("/case", item=NAEVUS)
    assert "blind" in page
    assert "blind reading" in pages.get("/")
    seen = (
        page + pages.get(pages.send(page, "/answer", choice="c1")) + pages.get("/case", item=NAEVUS)
    )
    assert 'id="model"' not in seen
    assert "83 %" not in seen
    events = desk.review.events(NAEVUS)
    assert [e.event for e in events] == ["open", "answer", "final"]
    assert all(e.shown is None for e in events)
    page = pages.get(pages.send(pages.get("/case", item=NAEVUS), "/undo"))
    assert 'id="model"' not in page
    assert "Take the model" not in page
    assert "Keep mine: melanoma" in page
    pages.send(page, "/final", choice="change", pick="0")
    assert desk.review.events(NAEVUS)[-1].value == "benign naevus"


def test_assisted_shows_the_model_at_once(desk):
    pages = desk.of(NAEVUS, mode="assisted").at()
    page = pages.get("/case", item=NAEVUS)
    assert 'id="model"' in page
    assert 'action="/answer"' not in page
    assert desk.review.events(NAEVUS)[0].shown["p"] == 0.83
    pages.send(page, "/final", choice="model")


def test_sets_are_worded_by_what_they_hold(desk):
    pages = desk.of("lesion-014", "lesion-021", "lesion-030", mode="assisted").at()
    two, empty, full = (pages.get("/case", item=f"lesion-{n}") for n in ("014", "021", "030"))
    assert "More than one class is possible: the set holds 2" in two
    assert "critical" in two
    assert "No class fits well enough: the set is empty" in empty
    assert "Nothing can be ruled out: the set holds all 4 classes" in full
    assert "<b>keratosis" not in two + empty + full
    assert "&lt;b&gt;keratosis" in full


def test_names_and_answers_are_escaped_and_odd_ids_found(desk):
    pages = desk.of(mode="assisted").at()
    items = [row.case.id for row in desk.review.page("r1", "all")]
    shown = [
        pages.get("/"),
        pages.get("/", show="all"),
        *(pages.get("/case", item=i) for i in items),
    ]
    everything = "".join(shown)
    assert "<script>alert" not in everything
    assert "<img src=x" not in everything
    assert "https://" not in everything
    assert set(re.findall(r"http://[^\"'< ]*", everything)) <= {"http://www.w3.org/2000/svg"}
    assert "/case?item=a/b%3Fc%3Dd%26e" in everything
    assert not re.search(r"<(script|style)[^>]*>[^<]|<[^>]*\s(on\w+|style)=", everything)


def test_cases_without_a_usable_image_can_be_decided(desk, tmp_path):
    pages = desk.of("a/b?c=d&e", "<script>alert(1)</script>").at()
    absent = pages.get("/case", item="a/b?c=d&e")
    assert "the image file is missing" in absent
    outside = pages.get("/case", item="<script>alert(1)</script>")
    assert "outside the folders of the source" in outside
    assert str(tmp_path) not in outside
    pages.get("/image", 404, item="<script>alert(1)</script>")
    pages.send(absent, "/answer", choice="unsure")


def test_images_and_windows(desk):
    pages = desk.of("series-1", "many-1").at()
    page = pages.get("/case", item="series-1")
    assert "Frame, 0 to 2" in page
    assert "the whole range is shown" in page
    source = re.search(r'<img src="(.*?)"', page)[1].replace("&amp;", "&")
    assert "frame=1" in source
    assert "window=whole" in source
    answer = pages.client.get(source)
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")
    set_one = pages.get("/case", item="series-1", level="1000", width="200", frame="2", n="0")
    assert "level=1000" in set_one
    assert "frame=2" in set_one
    other = pages.client.get(
        "/image", params={"item": "series-1", "level": "1000", "width": "200", "frame": "2"}
    )
    assert other.content != answer.content
    for wrong in (
        {"n": "1"},
        {"level": "a", "width": "1"},
        {"level": "1", "width": "-1"},
        {"plane": "x"},
    ):
        pages.get("/image", 404, item="series-1", **wrong)
    assert "expected LOW..HIGH" in pages.get("/case", item="series-1", level="nan", width="nan")
    assert pages.get("/case", item="many-1").count('class="view"') == 2


def test_many_classes_are_searched_and_questions_answered_in_words(desk):
    pages = desk.of("many-1", "asked-1").at()
    page = pages.get("/case", item="many-1")
    assert page.count("<option") == 300
    assert 'type="search"' in page
    wrong = pages.send(page, "/answer", 422, choice="text", text="finding 7")
    assert "no class" in wrong
    assert "did you mean" in wrong
    pages.send(wrong, "/answer", choice="text", text="Finding 007")
    assert desk.review.events("many-1")[1].value == "finding 007"
    page = pages.get("/case", item="asked-1")
    assert "Confidence: 95" not in page
    page = pages.get(pages.send(page, "/answer", choice="text", text="yes"))
    assert "Confidence: 95" in page
    assert "0.95" in page
    pages.send(page, "/final", choice="change", text="yes, a small one", reason="other findings")
    assert desk.review.events("asked-1")[-1].value == {"text": "yes, a small one"}


def test_readers_who_disagree_are_adjudicated_by_a_reviewer(desk):
    desk.of(NAEVUS, readers=2)
    for code, choice in (("r1", "c0"), ("r2", "c1")):
        pages = desk.at(code)
        assert "Reader" not in pages.get("/case", item=NAEVUS)
        pages.send(pages.get("/case", item=NAEVUS), "/answer", choice=choice)
        pages.send(pages.get("/case", item=NAEVUS), "/final", choice="mine", reason="other")
    desk.at("r1").get("/adjudicate", 403)
    judge = desk.at("v1")
    assert NAEVUS in judge.get("/adjudicate")
    page = judge.get("/case", item=NAEVUS)
    assert "Reader 1 and the model: benign naevus" in page  # once, with its key
    assert "Take the model" not in page
    assert "Reader 2: melanoma" in page
    assert 'id="model"' in page
    address = judge.send(page, "/final", choice="other1", reason="clinical context")
    assert address.startswith("/adjudicate?said=adjudicated")
    assert desk.review.events(NAEVUS)[-1].arm == "adjudication"
    assert "No case on which readers disagree" in judge.get(address)
