"""Verdicts on answers in sentences, and on answers that are there already."""

import json

import pytest

from vlmcal.elicit import ask, bring, judge
from vlmcal.elicit.judges.base import find_judge, judge_answer
from vlmcal.elicit.judging import corrected_accuracy
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.errors import DataError
from vlmcal.types.question import Question


@pytest.mark.parametrize(
    ("gold", "answer", "right"),
    [
        ("right", "The lesion is on the right side.", True),
        ("right", "The lesion is on the left side.", False),
        ("right", "It may be left or right.", False),
        ("right", "It is not on the right, but on the left.", False),
        ("right", "The right and the left lung.", False),
        ("pleural effusion", "There is a small pleural effusion at the base.", True),
        ("pleural effusion", "There is no pleural effusion.", False),
        ("pleural effusion", "A pleural effusion is absent.", False),
        ("pleural effusion", "Pleural effusion can be ruled out.", False),
        ("pleural effusion", "Pneumonia rather than pleural effusion.", False),
        ("pleural effusion", "Pneumonia or pleural effusion.", False),
        ("pleural effusion", "Effusion, pneumonia, pleural effusion, mass, nodule.", False),
        ("lung", "The lungs are clear.", False),
        ("2", "There are two nodules.", True),
        ("2", "A nodule of 2 by 3 cm.", False),
        ("axial", "This is an axial CT image.", True),
        ("normal", "The heart is abnormal.", False),
        ("no effusion", "There is no effusion.", True),
        ("MRI", "The image is a chest X-ray, not an MRI.", False),
        ("", "Anything", False),
    ],
)
def test_an_accepted_answer_inside_a_sentence(gold, answer, right):
    question = Question(id="1", question="?", gold=(gold or "-",))
    assert judge_answer(question, answer, "contained").correct is right


def test_the_longest_answer_is_an_option():
    question = Question(id="1", question="?", gold=("lung",))
    long = "The picture that was taken shows parts of the lung"
    assert judge_answer(question, long, "contained").correct
    assert not judge_answer(question, long, "contained(max_words=5)").correct
    assert find_judge("contained(max_words=5)").name == "contained(5)"


def sentences(tmp_path, n=24):
    rows = [
        f"{i},The lesion is on the {'right' if i % 3 else 'left'} side.,right" for i in range(n)
    ]
    (tmp_path / "t.csv").write_text("id,answer,gold\n" + "\n".join(rows) + "\n")
    return bring(tmp_path / "t.csv", folder=tmp_path / "a")


def test_a_folder_is_judged_anew_without_asking_again(tmp_path):
    before = sentences(tmp_path)
    assert not any(a.correct for a in before.answers)
    assert any("vqa judge" in note for note in before.notes)
    after, corrected = judge(tmp_path / "a")
    assert sum(bool(a.correct) for a in after.answers) == 16
    assert (after.answers[0].judge, corrected, after.notes) == ("contained", [], ())
    assert json.loads((tmp_path / "a" / "run.json").read_text())["judge"] == "contained"


def test_replies_of_a_judge_model_are_kept(tmp_path):
    sentences(tmp_path)
    asked = []

    def answer(request):
        asked.append(request)
        return "yes" if "right side" in request.messages[0].text else "no"

    for _ in range(2):
        after, _ = judge(tmp_path / "a", ScriptedModel(answer))
        assert sum(bool(a.correct) for a in after.answers) == 16
        assert after.answers[0].judge == "model:scripted"
    assert len(asked) == 2  # two different answers, each judged once


def test_a_model_may_judge_on_import(tmp_path):
    (tmp_path / "t.csv").write_text("id,answer,gold\n1,the lungs,lung\n2,Yes,yes\n")
    found = bring(tmp_path / "t.csv", judge=ScriptedModel(lambda request: "yes"))
    assert [(a.correct, a.judge) for a in found.answers] == [
        (True, "model:scripted"),
        (True, "exact"),
    ]


def test_accuracy_is_corrected_by_labels(tmp_path):
    sentences(tmp_path)
    # The judge "contained" finds 16 of 24; a person says that two of six more are right.
    labels = [f"{i},{'true' if i % 3 or i == 0 else 'false'}" for i in range(9)]
    (tmp_path / "l.csv").write_text("id,correct\n" + "\n".join(labels) + "\n")
    _, (found,) = judge(tmp_path / "a", labels=tmp_path / "l.csv")
    assert (found.judged, found.labelled) == (pytest.approx(2 / 3), 9)
    assert found.agreement == pytest.approx(8 / 9)
    assert found.accuracy == pytest.approx(2 / 3 + 1 / 9)
    assert found.low < found.accuracy < found.high <= 1
    (tmp_path / "l.csv").write_text("id,correct\nx,true\n")
    with pytest.raises(DataError, match="no two labels fit"):
        judge(tmp_path / "a", labels=tmp_path / "l.csv")


def test_corrected_accuracy_covers_the_truth():
    import random

    draw = random.Random(0)
    covered = 0
    for _ in range(200):
        truth = [draw.random() < 0.7 for _ in range(400)]
        judged = [t if draw.random() < 0.8 else not t for t in truth]
        sample = draw.sample(range(400), 60)
        found = corrected_accuracy(judged, [(judged[i], truth[i]) for i in sample])
        covered += found.low <= 0.7 <= found.high
    assert covered >= 180


def test_asking_and_judging_by_a_bare_rule():
    where = Question(id="1", question="Where?", gold=("left lung",))
    said = ScriptedModel(lambda request: "Answer: It lies in the left lung. Confidence: 90")
    asked = ask([where], model=said, judge="contained")
    assert [(a.correct, a.judge, a.reading.confidence) for a in asked.answers] == [
        (True, "contained", 0.9)
    ]
