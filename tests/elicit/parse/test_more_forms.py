"""Replies with a confidence in brackets, choices among statements, and refusals in other languages."""

import pytest

from vlmcal.elicit.elicitors.verbalized import Verbalized
from vlmcal.elicit.parse.answers import parse_answer
from vlmcal.elicit.parse.numbers import parse_confidence
from vlmcal.types.chat import Response
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


@pytest.mark.parametrize(
    ("text", "scale", "confidence"),
    [
        ("Confidence: 9.2 x 10^1", "percent", 0.92),
        ("Confidence: 8.5 × 10⁻¹", "unit", 0.85),
        ("Confidence: 7 de 10", "percent", 0.7),
        ("Confidence: 85 on a scale of 0 to 100", "percent", 0.85),
        ("Confidence: 85% (on a scale of 0-100)", "percent", 0.85),
        ("Confidence: 8 auf einer Skala von 1 bis 10", "percent", 0.8),
        ("Confidence: <85>", "percent", 0.85),
        ("Confidence: 约85%", "percent", 0.85),
        ("\\boxed{85}", "percent", 0.85),
        ("3 cm, confidence 85%", "percent", 0.85),
        ("3 cm, and 85% sure", "percent", 0.85),
        ("Nein (85 %)", "percent", 0.85),
        ("Ja, ich bin zu 80 % sicher.", "percent", 0.8),
        ("Sí. Estoy seguro al 90 %.", "percent", 0.9),
        ("Answer: B, 80-90% confident", "percent", None),
        ("left lung, between 70 and 80% sure", "percent", None),
    ],
)
def test_numbers_on_scales_in_powers_and_beside_words(text, scale, confidence):
    assert parse_confidence(text, scale) == confidence


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        (POLAR, '{"response": {"answer": "yes", "confidence": 85}}', "yes"),
        (POLAR, "No (85 % sicher)", "no"),
        (CHOICE, "Final Answer: The final answer is $\\boxed{B}$", "pneumothorax"),
        (CHOICE, "B because the lung edge is visible.", "pneumothorax"),
        (CHOICE, "B. At first I thought A, but the lung edge is visible.", "pneumothorax"),
        (CHOICE, "A: no. B: yes. C: no.", "pneumothorax"),
        (CHOICE, "A is wrong, B is right, C is wrong", "pneumothorax"),
        (CHOICE, "A: no.", None),
        (CHOICE, "A: yes. B: yes. C: no.", None),
        (CHOICE, "Unlike A, B is correct.", "pneumothorax"),
        (
            CHOICE,
            "**B. Pneumothorax**\n\n**Explanation:**\n- A. Effusion: no meniscus.\n",
            "pneumothorax",
        ),
        (CHOICE, "B\n\nExplanation: A or C would show fluid.", "pneumothorax"),
        (CHOICE, "Answer: B\n\nOn second thought, A.", None),
        (CHOICE, "答案是 B，因为 A 会显示积液。", "pneumothorax"),
        (CHOICE, "Die Antwort ist B, weil A Flüssigkeit zeigen würde.", "pneumothorax"),
        (CHOICE, "应选择B", "pneumothorax"),
        (CHOICE, "The answer is B? No, C.", None),
        (CHOICE, "Option A shows fluid, so A is out. B it is.", None),
        (CHOICE, "Answer: C\n\nThe correct answer is not A or B.", "cardiomegaly"),
        (CHOICE, "Antwort: B, nicht A.", "pneumothorax"),
        (CHOICE, "<reflection>A?</reflection>B", "pneumothorax"),
        (CHOICE, "B. I am not a doctor, so please consult one.", "pneumothorax"),
        (OPEN, "left lung, 80-90% confident", "left lung"),
        (OPEN, "无法确定。", None),
        (OPEN, "Kann nicht beurteilt werden.", None),
        (OPEN, "No se puede determinar.", None),
    ],
)
def test_answers_among_judged_options_and_explanations(question, text, answer):
    parsed = parse_answer(text, question)
    assert parsed.answer == answer
    assert answer is not None or parsed.status == "unparsed"


@pytest.mark.parametrize("question", [POLAR, CHOICE, OPEN])
@pytest.mark.parametrize(
    "text",
    [
        "Ich bin nicht in der Lage, medizinische Bilder zu interpretieren.",
        "Ich darf keine medizinischen Ratschläge geben.",
        "No estoy en condiciones de interpretar imágenes médicas.",
        "No me es posible ofrecer un diagnóstico.",
        "Il m'est impossible de fournir un diagnostic.",
        "我是一个AI助手，不能进行医学诊断。",
        "I must respectfully decline to answer.",
    ],
)
def test_more_refusals(question, text):
    assert parse_answer(text, question).status == "refused"


def test_a_concession_before_an_answer_is_no_refusal():
    text = "While I cannot provide a diagnosis, the image is most consistent with B. pneumothorax."
    assert parse_answer(text, CHOICE).status != "refused"
    assert parse_answer(text + " I cannot help with that.", CHOICE).status == "refused"


def test_an_answer_that_is_a_number_is_no_confidence():
    many = Question(id="6", question="How many?", answer_type="choice", options=("1", "2", "3"))
    reading = Verbalized().read(Response(text="2"), many)
    assert (reading.answer, reading.confidence) == ("2", None)
    assert Verbalized().read(Response(text="Answer: 2\nConfidence: 2%"), many).confidence == 0.02
