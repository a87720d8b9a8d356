"""Open answers in other words, by a table of synonyms."""

import json

import pytest

from vlmcal.elicit import ask, judge
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.elicit.synonyms import load_synonyms, with_synonyms
from vlmcal.errors import DataError
from vlmcal.types.chat import Response
from vlmcal.types.question import Question

QUESTIONS = [
    Question(id="1", question="What is seen?", gold=("kidney cyst",)),
    Question(id="2", question="Which modality?", gold=("CXR",)),
    Question(id="3", question="Is it?", answer_type="yes_no", gold=("yes",)),
]


def said(request):
    text = request.messages[-1].text
    answer = "renal cyst" if "seen" in text else "A chest X-ray." if "modality" in text else "no"
    return Response(text=f"Answer: {answer}\nConfidence: 80")


def words(tmp_path, text="term,synonym\nkidney,renal\nchest x-ray,CXR\n"):
    path = tmp_path / "words.csv"
    path.write_text(text)
    return path


def test_a_table_of_synonyms_makes_answers_right(tmp_path):
    asked = ask(QUESTIONS, model=ScriptedModel(said), folder=tmp_path / "a")
    assert [a.correct for a in asked.answers] == [False, False, False]
    made, _ = judge(tmp_path / "a", "normalised", synonyms=words(tmp_path))
    assert [(a.correct, a.judge) for a in made.answers] == [
        (True, "normalised+synonyms"),
        (True, "normalised+synonyms"),
        (False, "exact"),
    ]
    # The questions stay as they were, and judging without the table takes it back.
    assert json.loads((tmp_path / "a" / "run.json").read_text())["judge"] == "normalised+synonyms"
    again, _ = judge(tmp_path / "a", "normalised")
    assert [a.correct for a in again.answers] == [False, False, False]


def test_only_whole_words_are_replaced(tmp_path):
    groups = load_synonyms(words(tmp_path, "term,synonym\nct,computed tomography\n"))
    asked = Question(id="1", question="?", gold=("fracture", "head CT"))
    assert with_synonyms(asked, groups).gold == ("fracture", "head CT", "head computed tomography")


@pytest.mark.parametrize("text", ["term,same\na,b\n", "term,synonym\na,\n"])
def test_a_table_that_is_none_is_refused(tmp_path, text):
    with pytest.raises(DataError):
        load_synonyms(words(tmp_path, text))
