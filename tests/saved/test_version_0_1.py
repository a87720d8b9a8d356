"""What version 0.1 kept beside fitted methods: a store, rows, label sets, answers, a review."""

import json
import shutil
from pathlib import Path

import pytest

from vlmcal.backbones import load_backbone
from vlmcal.calibrators.base import Calibrator
from vlmcal.conformal.base import ConformalPredictor
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.rows import elicitor_rows
from vlmcal.experiment.saved import load_learner
from vlmcal.experiment.status import store_status
from vlmcal.experiment.store import Store
from vlmcal.findings.per_label import PerLabel
from vlmcal.io.prediction_sets import load_prediction_sets
from vlmcal.io.predictions import load_predictions
from vlmcal.io.run_predictions import run_predictions
from vlmcal.review.database import Review

FOLDER = Path(__file__).parent / "version_0_1"
COOP = "aaa0da621ca536a4"
STATED = [0.9, 0.6, 0.75, 0.8]


def test_a_store():
    store = Store(FOLDER / "store")
    (plan,) = store_status(store).plans
    assert [cell.state for cell in plan.cells] == ["done", "done"]
    assert store.runs() == ["212f44c646ddb400", COOP]
    assert store.history(COOP)[0]["loss"] > 0
    rows = run_predictions(store.folder(COOP), None)
    assert rows.class_names == tuple(store.status(COOP)["provenance"]["class_names"]["base"])
    assert rows.probabilities()[0, 0] == pytest.approx(0.9999979844401348, abs=1e-12)
    assert len(run_predictions(store.folder(COOP), "calibration")) == 16


def test_a_learner():
    learner = load_learner(FOLDER / "store" / "runs" / COOP / "learner", load_backbone("pocket"))
    assert (learner.name, learner.classes.class_names[0]) == ("coop", "plain red circle")


def test_rows_and_label_sets():
    rows = load_predictions(FOLDER / "rows.safetensors")
    assert rows.class_names == ("benign", "malignant")
    assert rows.probabilities()[1].tolist() == pytest.approx([0.386404365368, 0.613595634632])
    sets = load_prediction_sets(FOLDER / "sets.safetensors")
    assert (sets.alpha, sets.sets.sum(axis=1).tolist()) == (0.3, [1, 1, 1, 1, 0, 1, 1, 1, 1, 1])


@pytest.mark.filterwarnings("ignore:.*exactly the scores")
def test_fitted_methods():
    rows = load_predictions(FOLDER / "new_rows.csv", scores="probs", labels="diagnosis")
    calibrator = Calibrator.load(FOLDER / "temperature.json")
    first = calibrator.transform(rows).probabilities()[0, 0]
    assert first == pytest.approx(0.9970628105605636, abs=1e-12)
    sets = ConformalPredictor.load(FOLDER / "lac.json").predict(rows)
    assert sets.sets.tolist() == load_prediction_sets(FOLDER / "sets.safetensors").sets.tolist()
    assert PerLabel.load(FOLDER / "findings.json").calibrator == "platt"


def test_answers():
    questions, answers = AnswerFolder(FOLDER / "answers").load()
    assert elicitor_rows(questions, answers, "stated").parsed.confidence.tolist() == STATED
    questions, answers = AnswerFolder(FOLDER / "asked").load()
    assert [question.question for question in questions][2] == "Is it green?"
    assert [answer.reading.status for answer in answers] == ["answered", "answered", "unparsed"]
    kept = (FOLDER / "asked" / "responses.jsonl").read_text().splitlines()
    assert len([json.loads(line) for line in kept]) >= 3


def test_a_review(tmp_path):
    review = Review.open(shutil.copy(FOLDER / "review.sqlite", tmp_path / "review.sqlite"))
    found = review.verify()
    assert (found.broken, found.notes) == ("", ())
    assert len(review.cases()) == 10
