"""What the verbs of ``vlmcal vqa`` do, as calls on a folder of answers."""

import csv

import numpy as np
import pytest

from vlmcal.calibrators import Platt
from vlmcal.elicit import Columns, ask, bring, judge
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.errors import DataError, SpecError, SplitError
from vlmcal.posthoc import (
    apply_to_answers,
    calibrate_answers,
    compare_answers,
    evaluate_answers,
)
from vlmcal.posthoc.similar import agreed
from vlmcal.report import answers_report
from vlmcal.types import Question

FAST = {"resamples": 0, "target_risk": 0.4}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Answers to 160 questions about 80 images with two confidences, and to 30 others without verdicts."""
    root = tmp_path_factory.mktemp("answers")
    generator = np.random.default_rng(0)
    for name, n, gold in (("past", 160, "yes"), ("new", 30, "")):
        rows = []
        for i in range(n):
            stated, other = generator.uniform(0.5, 1, 2)
            answer = "yes" if generator.random() < stated - 0.2 else "no"
            rows.append([f"{name}{i // 2}.png", answer, gold, f"{stated:.3f}", f"{other:.3f}"])
        with (root / f"{name}.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["image", "answer", "gold", "stated", "other"], *rows])
        columns = Columns(confidence=("stated", "other"), scale="unit")
        bring(root / f"{name}.csv", columns, folder=root / name)
    return root


def test_a_study_is_measured_and_advised(folders):
    study = evaluate_answers(folders / "past", ["other", "stated"], **FAST)
    assert study.labels == ["other", "stated"]
    assert len(study.lines) == 160
    numbers = study.to_dict()
    assert numbers["stated"]["asked"] == 160
    title, head, first, second = repr(study).splitlines()
    assert title == "AnswerStudy: 160 questions"
    assert head.split() == ["elicitor", "asked", "judged", "right", "ece"]
    assert first.split()[:3] == ["other", "160", "160"]
    ece = study.measured[1].parsed["ece"].value
    assert second.split()[-1] == f"{ece:.4f}"
    assert "<td>stated</td>" in study._repr_html_()
    assert len(numbers["other"]["questions"]) == 160
    with pytest.raises(DataError, match='did you mean "stated"'):
        evaluate_answers(folders / "past", ["states"])
    with pytest.raises(SpecError, match="answer_type, kind"):
        evaluate_answers(folders / "past", by="image")


def test_a_folder_beside_itself_shows_no_change(folders):
    found = compare_answers(folders / "past", folders / "past", elicitor="stated", resamples=0)
    title, head, first, *_ = repr(found).splitlines()
    assert title == "FolderComparison: 160 questions in both, 160 usable"
    assert head.split() == ["quantity", "old", "new", "change"]
    name, old, new, change = first.split()[:4]
    assert (name, old, float(change)) == ("accuracy", new, 0.0)


def test_calibrators_by_name_or_built_and_several_elicitors(folders, tmp_path):
    names = ["platt", "histogram(bins=5)"]
    found = calibrate_answers(folders / "past", names, ["stated", "other"], **FAST)
    assert [each.elicitor for each in found] == ["stated", "other"]
    assert [row.name for row in found[0].repaired] == ["none", *names]
    assert [list(each.lines) for each in found] == [[], []]
    (one,) = calibrate_answers(folders / "past", Platt(), metrics="ece", **FAST)
    before, after = (row.evaluation["ece"].value for row in one.repaired)
    assert after < before / 2
    title, head, none, _ = repr(one).splitlines()
    assert title == 'CalibratedAnswers: elicitor "stated", 2 calibrators'
    assert (head.split(), none.split()) == (["calibrator", "ece"], ["none", f"{before:.4f}"])
    one.save(tmp_path / "lines.csv")
    lines = list(csv.DictReader((tmp_path / "lines.csv").open()))
    probability = [float(line["probability"]) for line in lines]
    # The map's, drawn to the interval of the similar answers where these contradict it.
    shown = agreed(one.repaired[1].rows.confidence, one.decided.decisions.similar)[0]
    np.testing.assert_allclose(probability, shown, atol=1e-6)


def test_new_answers_need_no_verdict_and_other_images(folders):
    found = apply_to_answers(folders / "past", folders / "new", "platt", "stated", **FAST)
    assert list(found.repaired) == []
    assert "30 answers have no verdict" in found.notes[0]
    assert len(found.lines) == 30
    with pytest.raises(SplitError, match="80 images"):
        apply_to_answers(folders / "past", folders / "past", "platt")
    with pytest.raises(DataError, match="hallucination"):
        calibrate_answers(folders / "past", "hac_platt")


def test_asking_judging_and_evaluating_follow_each_other(tmp_path):
    asked = [Question(id=f"{i}", question="Is it large?", gold=("large",)) for i in range(12)]
    reply = ScriptedModel(lambda request: "Answer: quite large. Confidence: 80%")
    ask(asked, model=reply, folder=tmp_path / "a", judge="exact")
    judged, _ = judge(tmp_path / "a", "contained")
    assert all(answer.correct for answer in judged.answers)
    study = evaluate_answers(tmp_path / "a", metrics="accuracy", folds=2, resamples=0)
    assert study.measured[0].parsed["accuracy"].value == 1.0
    page = answers_report(study).write(tmp_path / "page.html").read_text()
    assert "isotonic" in page  # all calibrators, without asking for them
