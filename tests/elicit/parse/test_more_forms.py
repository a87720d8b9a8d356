"""Replies with a confidence in brackets, choices among statements, and refusals in other languages."""

import pytest

from vlmcal.elicit.parse.answers import parse_answer
from vlmcal.elicit.parse.numbers import parse_confidence
from vlmcal.types.question import Question

POLAR = Question(id="1", question="Is there a fracture?", answer_type="yes_no")
CHOICE = Question(
    id="2",
    question="Which?",
    answer_type="choice",
    options=("effusion", "pneumothorax", "cardiomegaly"),
)
OPEN = Question(id="3", question="Where?")


@pytest.mark.parametrize(
    ("question", "text", "scale", "answer", "confidence"),
    [
        (CHOICE, "B (confidence: 4/5)", "percent", "pneumothorax", 0.8),
        (CHOICE, "B [confidence 0.9]", "unit", "pneumothorax", 0.9),
        (CHOICE, "[B] {90%}", "percent", "pneumothorax", 0.9),
        (CHOICE, "B, 85%", "percent", "pneumothorax", 0.85),
        (CHOICE, "It's B.", "percent", "pneumothorax", None),
        (CHOICE, "La bonne réponse est B.", "percent", "pneumothorax", None),
        (POLAR, "No (0.8)", "unit", "no", 0.8),
        (POLAR, "No {confidence: 0.8}", "unit", "no", 0.8),
        (POLAR, "[Yes] [90]", "percent", "yes", 0.9),
        (POLAR, "Yes, 85%", "percent", "yes", 0.85),
        (POLAR, "Yes, 85% of the lung is clear", "percent", "yes", None),
        (POLAR, "答：有", "percent", "yes", None),
    ],
)
def test_answers_with_a_confidence_behind_them(question, text, scale, answer, confidence):
    assert parse_answer(text, question).answer == answer
    assert parse_confidence(text, scale) == confidence


def test_options_that_are_numbers_are_not_confidences():
    shares = Question(id="4", question="?", answer_type="choice", options=("about (50%)", "(80%)"))
    assert parse_answer("B. (80%)", shares).answer == "(80%)"


@pytest.mark.parametrize("question", [POLAR, CHOICE, OPEN])
@pytest.mark.parametrize(
    "text",
    [
        "Entschuldigung, das kann ich nicht beantworten.",
        "Désolé, je ne suis pas en mesure d'analyser des images médicales.",
        "No puedo proporcionar un diagnóstico médico.",
        "Lo siento, no puedo analizar imágenes médicas.",
    ],
)
def test_refusals_in_other_languages(question, text):
    assert parse_answer(text, question).status == "refused"


@pytest.mark.parametrize(
    "text",
    ["No, pero consulte a un médico.", "Nein, aber ich bin kein Arzt.", "No. No hay fractura."],
)
def test_answers_beside_advice_are_no_refusals(text):
    assert parse_answer(text, POLAR).answer == "no"
