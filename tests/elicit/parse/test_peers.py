"""Defects seen in published parsers of answers, each as one test, and rules that a table cannot show."""

import pytest

from vlmcal.elicit.parse.answers import parse_answer
from vlmcal.elicit.parse.fields import find_fields, read_fields
from vlmcal.elicit.parse.guesses import parse_guesses
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.parse.numbers import parse_confidence
from vlmcal.elicit.parse.options import parse_option
from vlmcal.elicit.parse.phrases import PHRASES, parse_phrase
from vlmcal.elicit.parse.plain import bare
from vlmcal.elicit.parse.yes_no import parse_yes_no
from vlmcal.types.question import Question

YES_NO = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
SIDE = Question(id="2", question="Side?", answer_type="choice", options=("left", "right", "both"))
OPEN = Question(id="3", question="What is shown?")


@pytest.mark.parametrize(
    "text", ["normal", "nodule", "Nodular opacity", "None", "noticeable", "North"]
)
def test_a_word_that_begins_with_no_is_not_no(text):
    assert parse_yes_no(text) is None


def test_one_percent_is_a_hundredth_and_not_certainty():
    assert parse_confidence("1%", "unit") == parse_confidence("1%", "percent") == 0.01
    assert parse_confidence("1", "unit") == 1.0


def test_any_float_in_the_text_is_no_confidence():
    assert parse_confidence("The lesion measures 0.9", "unit") is None
    assert parse_confidence("Answer: 0.9 cm", "unit") is None


def test_what_cannot_be_read_is_none_and_not_one_half():
    assert parse_confidence("quite high", "percent") is None


def test_a_failure_message_does_not_become_an_answer():
    assert parse_answer("", OPEN) == ("empty", None, "the response is empty")
    assert parse_answer("I'm sorry, but I can't assist.", OPEN).status == "refused"


def test_the_article_is_not_option_a():
    assert parse_option("A chest X-ray shows both lungs", ("one", "two")) is None


def test_notes_say_why_nothing_was_read():
    assert "different answers: 'CT', 'MRI'" in parse_answer("Answer: CT\nAnswer: MRI", OPEN).note
    assert "cannot be determined" in parse_answer("This cannot be determined.", YES_NO).note
    assert "'perhaps'" in parse_answer("perhaps", YES_NO).note
    assert "options" in parse_answer("left or right", SIDE).note


def test_fields_in_every_form():
    for text in (
        "Answer: CT\nConfidence: 80",
        "**Answer**: CT\n**Confidence**: 80",
        "- Answer: CT\n- Confidence: 80",
        "Answer: CT; Confidence: 80",
        "Answer - CT\nConfidence - 80",
        "ANSWER = CT | CONFIDENCE = 80",
        "## Answer\nCT\n\n## Confidence\n80",
        'Sure!\n```json\n{\n  "answer": "CT",\n  "confidence": 80\n}\n```',
        '{"Answer": "CT", "Confidence": "80"}',
        "<answer>CT</answer>\n<confidence>80</confidence>",
        "The answer is CT. My confidence is 80.",
        "Answer: CT, and my confidence is 80.",
    ):
        assert read_fields(text, ["answer", "confidence"]) == {
            "answer": "CT",
            "confidence": "80",
        }, text


def test_of_two_values_only_a_final_one_wins():
    assert read_fields("Answer: CT\nAnswer: **ct**.", ["answer"]) == {"answer": "ct"}
    assert read_fields("Answer: CT\nAnswer: MRI", ["answer"]) == {}
    assert read_fields("Answer: CT\nFinal answer: MRI", ["answer"]) == {"answer": "MRI"}
    assert read_fields("Final answer: CT\nFinal answer: MRI", ["answer"]) == {}
    assert len(find_fields("Answer: CT\nAnswer: MRI", ["answer"])["answer"]) == 2


def test_names_of_fields_may_have_several_words():
    for text in ("MY_FIELD: x", "My field: x", "<my-field>x</my-field>", '{"my field": "x"}'):
        assert read_fields(text, ["my field"]) == {"my field": "x"}


def test_phrases_fall_from_surest_to_least_sure_and_each_reads_as_itself():
    assert list(PHRASES.values()) == sorted(PHRASES.values(), reverse=True)
    assert len(PHRASES) == 12
    for phrase, value in PHRASES.items():
        assert parse_phrase(phrase) == parse_phrase(f"Confidence: {phrase.lower()}.") == value


GUESSES = [("left", 0.7), ("right", 0.2)]


@pytest.mark.parametrize(
    "text",
    [
        "G1: A\nP1: 0.7\nG2: B\nP2: 0.2",
        "G1: left P1: 0.7 G2: right P2: 0.2",
        "**G1:** A\n**P1:** 70%\n\n**G2:** B\n**P2:** 20%",
        "Guess 1: left\nProbability 1: 0.7\nGuess 2: right\nProbability 2: 0.2",
        "Here are my guesses:\n1. left - 70%\n2. right - 20%",
        "1) A (0.7)\n2) B (0.2)",
        "- left: 0.7\n- right: 0.2",
        "1. left: 70% \n2. right: 20%\nThese need not sum to one.",
        '[{"answer": "A", "probability": 0.7}, {"answer": "B", "probability": 0.2}]',
        '{"guesses": [{"guess": "left", "confidence": 0.7}, {"guess": "right", "confidence": 0.2}]}',
        '{"G1": "left", "P1": 0.7, "G2": "right", "P2": 0.2}',
        "G1: A\nP1: 0.7\nG2: B\nP2: 0.2\nG3:",
        "G1: A\nP1: 0.7\nG2: B\nP2: 0.2\nG3: both",
    ],
)
def test_guesses_in_every_form(text):
    assert parse_guesses(text, SIDE, "unit") == GUESSES


@pytest.mark.parametrize(
    "text",
    [
        "",
        "left",
        "G1: A\nP1: high\nG2: B\nP2: 0.2",
        "G1: perhaps\nP1: 0.7\nG2: B\nP2: 0.2",
        "G1: A\nG2: B\nP2: 0.2",
        "G1: A\nP1: 0.7\nG2: left\nP2: 0.2",
        "G1: A\nP1: 0.7\nG1: B\nP1: 0.2",
        "G1: A\nP1: 1.7",
        "1. left - 70-80%\n2. right - 20%",
        "1. left - 70 - 80%\n2. right - 20%",
        "1. left - high\n2. right - 20%",
        "1. left\n2. right - 20%",
    ],
)
def test_guesses_that_leave_a_doubt_are_none(text):
    assert parse_guesses(text, SIDE, "unit") == []


def test_raw_probabilities_are_not_normalised():
    assert parse_guesses("G1: yes\nP1: 90\nG2: no\nP2: 80", YES_NO, "percent") == [
        ("yes", 0.9),
        ("no", 0.8),
    ]
    assert parse_guesses("1. pleural effusion - 60%\n2. T2-weighted MRI - 5%", OPEN, "percent") == [
        ("pleural effusion", 0.6),
        ("T2-weighted MRI", 0.05),
    ]
    assert parse_guesses("1. Grade 3, mild - 60%\n2. T2 (axial): 5%", OPEN, "percent") == [
        ("Grade 3, mild", 0.6),
        ("T2 (axial)", 0.05),
    ]


@pytest.mark.parametrize(
    ("text", "question", "status", "answer", "confidence"),
    [
        ("Answer: left lung\nConfidence: 8", OPEN, "answered", "left lung", None),
        ("Answer: left lung\nConfidence: 85\n", OPEN, "answered", "left lung", 0.85),
        ("Answer: left", OPEN, "cut", None, None),
        ("left lung Confiden", OPEN, "cut", None, None),
        ("The image shows a chest film with", OPEN, "cut", None, None),
        ("No", YES_NO, "cut", None, None),
        ("No, there is no", YES_NO, "answered", "no", None),
        ("B. right, because the shad", SIDE, "answered", "right", None),
        ("", YES_NO, "cut", None, None),
        ("I'm sorry, but I can't assist with that, as I", OPEN, "refused", None, None),
        ("G1: B\nP1: 8", SIDE, "cut", None, None),
    ],
)
def test_what_touches_the_cut_is_not_read(text, question, status, answer, confidence):
    assert parse_answer(text, question, cut=True)[:2] == (status, answer)
    assert parse_confidence(text, "percent", cut=True) == confidence


def test_of_guesses_that_were_cut_the_last_number_is_not_read():
    text = "G1: A\nP1: 70%\nG2: B\nP2: 2"
    assert parse_guesses(text, SIDE, "percent") == [("left", 0.7), ("right", 0.02)]
    assert parse_guesses(text, SIDE, "percent", cut=True) == [("left", 0.7)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Left Lung.", "left lung"),
        ("two", "2"),
        ("1,000 ml", "1000 ml"),
        ("3.5cm", "3.5cm"),
        ("50%", "50%"),
        ("-3", "-3"),
        ("X-ray", "x ray"),
        ("isn't", "isnt"),
        ("isn’t", "isnt"),
        ("a", "a"),
        ("None", "none"),
        ("ＣＴ　scan", "ct scan"),
        ("Straße", "strasse"),
        ("  ", ""),
        ("lung/heart", "lung heart"),
        ("1/2", "1/2"),
    ],
)
def test_normalise(text, expected):
    assert normalise(text) == expected


def test_bare_keeps_brackets_in_pairs():
    assert bare("**T2 (axial)**") == "T2 (axial)"
    assert bare("CT (") == "CT"
    assert bare("CT }") == "CT"
    assert bare("((left) lung)") == "((left) lung)"
