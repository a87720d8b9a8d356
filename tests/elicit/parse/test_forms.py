"""Forms of replies that models use: tables, boxes, other languages, bounds, second thoughts."""

import pytest

from vlmcal.elicit.parse.answers import parse_answer
from vlmcal.elicit.parse.numbers import parse_confidence
from vlmcal.elicit.parse.refusal import is_refusal
from vlmcal.types.question import Question

YES_NO = Question(id="1", question="Is there a fracture?", answer_type="yes_no")
ORGANS = ("liver", "spleen", "left kidney")
CHOICE = Question(id="2", question="Which organ?", answer_type="choice", options=ORGANS)
OPEN = Question(id="3", question="Where?")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("$B$", "spleen"),
        ("B (not A)", "spleen"),
        ("答案：B。", "spleen"),
        ("La respuesta es la B", "spleen"),
        ("Opción B", "spleen"),
        ("Ｂ．", "spleen"),
        ("(b)", "spleen"),
        ("| Answer | Confidence |\n|---|---|\n| B | 85 |", "spleen"),
        ("\\(\\boxed{\\textbf{B}}\\)", "spleen"),
        ("B\n\nWait, actually A.", None),
        ("B. Hmm, no, C.", None),
        ("Not B.", None),
        ("A. liver\nB. spleen\nC. left kidney", None),
        ("| A | B |\n|---|---|\n| liver | spleen |", None),
    ],
)
def test_options(text, option):
    assert parse_answer(text, CHOICE).answer == option


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: no Confidence: 80", "no"),
        ("Answer: yes Confidence: 80", "yes"),
        ("Antwort: Nein\nKonfidenz: 80 %", "no"),
        ("Réponse : oui\nConfiance : 80 %", "yes"),
        ("No se puede determinar.", None),
        ("没有明显异常", None),
    ],
)
def test_yes_and_no(text, answer):
    assert parse_answer(text, YES_NO).answer == answer


def test_rows_of_a_table_are_labels():
    assert parse_answer("| Answer | left lung |\n| Confidence | 85 |", OPEN).answer == "left lung"
    assert parse_confidence("| Answer | left lung |\n| Confidence | 85 |", "percent") == 0.85
    assert parse_confidence("| Answer | Confidence |\n|---|---|\n| B | 85 |", "percent") == 0.85
    two = "| Answer | Confidence |\n|---|---|\n| A | 15 |\n| B | 85 |"
    assert parse_confidence(two, "percent") is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Confidence: \\boxed{85}", 0.85),
        ("Answer: \\boxed{B}\nConfidence: $\\boxed{85\\%}$", 0.85),
        ("Confidence: 80...90", None),
        ("Confidence: 85‰", None),
        ("Confidence: 80 or more", None),
        ("Confidence: 80% or higher", None),
        ("Confidence: 80 minimum", None),
        ("Confidence: 80~90%", None),
        ("置信度：80到90", None),
        ("Confidence: 8.5 × 10⁻¹", None),
        ("Confidence: 8.5*10^-1", None),
        ("Confidence: 80", 0.8),
    ],
)
def test_confidences(text, value):
    assert parse_confidence(text, "percent") == value


def test_the_box_behind_a_confidence_is_no_answer():
    assert parse_answer("Answer: spleen\nConfidence: \\boxed{85}", CHOICE).answer == "spleen"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Ich bin kein Arzt und kann keine Diagnose stellen.", True),
        ("Ich bin kein Arzt, aber es sieht nach einer Fraktur aus.", False),
        ("Nein, ich kann keine Fraktur erkennen.", False),
        ("No puedo ver un derrame.", False),
        ("抱歉，是左肺。", False),
    ],
)
def test_refusals(text, refused):
    assert is_refusal(text) is refused
