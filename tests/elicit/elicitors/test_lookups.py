"""Token entropy, PMI and option rotation, worked out by hand on recorded replies."""

import math

import pytest

from vlmcal.elicit.base import make_elicitor, play
from vlmcal.types.chat import Alternative, Response, Token
from vlmcal.types.question import Question

YES_NO = Question(id="1", question="Is there an effusion?", answer_type="yes_no", images=("a.png",))
SIDE = Question(
    id="2",
    question="Side?",
    answer_type="choice",
    options=("left", "right", "both"),
    images=("a.png",),
)
OPEN = Question(id="3", question="Which organ?", images=("a.png",))


def token(text, **chances):
    top = tuple(Alternative(name, math.log(p)) for name, p in chances.items())
    return Token(text, math.log(chances[text.strip()]), top)


def said(*tokens):
    return Response(text="".join(t.text for t in tokens), tokens=tokens)


def told(name, question, replies, **options):
    asked = []

    def answer(request):
        asked.append(request)
        return replies[len(asked) - 1]

    return play(make_elicitor(name, options).plan(question), answer), asked


def test_token_entropy_is_the_mean_over_the_answers_tokens_alone():
    reply = said(
        token("left", left=0.5, right=0.5), token(" lung", lung=1.0), token("</s>", **{"</s>": 0.1})
    )
    reading, asked = told("token_entropy", OPEN, [reply])
    assert (reading.answer, len(asked)) == ("left lung", 1)
    assert reading.signals["token_entropy"] == pytest.approx(math.log(2) / 2)
    assert reading.confidence == pytest.approx(2**-0.5)
    worst, _ = told("token_entropy", OPEN, [reply], reduce="max")
    assert worst.confidence == pytest.approx(0.5)


def test_what_is_not_listed_counts_as_one_more_word():
    reading, _ = told("token_entropy", YES_NO, [said(token("Yes", Yes=0.5, No=0.25))])
    assert reading.signals["token_entropy"] == pytest.approx(1.5 * math.log(2))


def test_pmi_divides_out_what_is_said_without_the_image():
    seen = said(token("B", A=0.3, B=0.5, C=0.2))
    unseen = said(token("B", A=0.1, B=0.8, C=0.1))
    reading, asked = told("pmi", SIDE, [seen, unseen])
    assert [image.edit for r in asked for image in r.messages[-1].images] == ["", "blank"]
    # lifts: left 3, right 5 / 8, both 2
    assert reading.answer == "right"
    assert reading.confidence == pytest.approx(0.625 / 5.625)
    assert reading.signals["pmi"] == pytest.approx(math.log(0.625))


def test_pmi_is_a_bound_where_the_blank_image_does_not_list_the_answer():
    seen, unseen = said(token("Yes", Yes=0.9, No=0.1)), said(token("No", No=0.96, Maybe=0.04))
    reading, _ = told("pmi", YES_NO, [seen, unseen])
    assert reading.signals["pmi"] == pytest.approx(math.log(0.9 / 0.04))


@pytest.mark.parametrize(
    "blank", [Response(text=""), Response(text="Yes"), said(token("Hm", Hm=0.9))]
)
def test_pmi_says_what_is_missing(blank):
    reading, _ = told("pmi", YES_NO, [said(token("Yes", Yes=0.9, No=0.1)), blank])
    assert (reading.answer, reading.confidence) == ("yes", None)
    assert "with a blank image" in reading.note


@pytest.mark.parametrize(
    ("letters", "share", "circular", "same_letter"),
    [
        # left stands at A, then at C, then at B
        ("ACB", 1.0, 1.0, 1 / 3),
        ("AAA", 1 / 3, 0.0, 1.0),
        ("AC?", 1.0, 0.0, 1 / 2),
    ],
)
def test_rotation_follows_the_option_and_not_the_letter(letters, share, circular, same_letter):
    replies = [Response(text="" if each == "?" else each) for each in letters]
    reading, asked = told("option_rotation", SIDE, replies)
    assert reading.answer == "left"
    assert reading.confidence == pytest.approx(share)
    assert reading.signals["circular"] == circular
    assert reading.signals["same_letter"] == pytest.approx(same_letter)
    assert "A. right\nB. both\nC. left" in asked[1].messages[-1].text


def test_what_does_not_apply_is_skipped():
    for name, question in [("pmi", OPEN), ("option_rotation", YES_NO), ("option_rotation", OPEN)]:
        assert make_elicitor(name).skips(question)
    nothing_read, _ = told("option_rotation", SIDE, [Response(text="A"), *[Response(text="")] * 2])
    assert (nothing_read.answer, nothing_read.confidence) == ("left", None)
