"""Every kind of source gives cases; nothing outside its folder is shown."""

import json

import numpy as np
import pytest

from vlmcal.elicit.answers import Answer
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.errors import DataError, SpecError
from vlmcal.io.predictions import save_predictions
from vlmcal.review import Policy, Review, read_source
from vlmcal.review.sources import image_file
from vlmcal.review.verdicts import review_rows
from vlmcal.types.predictions import Predictions
from vlmcal.types.question import Question, QuestionSet
from vlmcal.types.reading import Reading


def run_folder(root):
    rng = np.random.default_rng(0)
    names = ("calibration", "test_base", "test_new")
    for name, n in zip(names, (200, 20, 10), strict=True):
        logits = 2 * rng.normal(size=(n, 3))
        rows = Predictions(
            logits=logits,
            labels=(logits / 2 + rng.gumbel(size=(n, 3))).argmax(axis=1),
            ids=[f"{name} {i}" for i in range(n)],
            class_names=("a", "b", "c"),
            split="calibration" if name == "calibration" else "test",
        )
        path = root / "predictions" / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_predictions(rows, path)
    status = {"id": "1234", "label": "a run", "sets": list(names)}
    (root / "status.json").write_text(json.dumps(status))
    return root


def test_a_run_brings_its_own_held_out_rows(tmp_path):
    run = run_folder(tmp_path / "run")
    policy = Policy(ood="energy", target_risk=0.3)
    source = read_source(run, policy, calibrator="temperature", conformal="lac", alpha=0.2)
    assert len(source.cases) == 20
    assert source.model_id == "a run (1234)"
    assert source.calibrator_id.startswith("temperature (")
    assert source.evidence.n
    assert source.thresholds.ood is not None
    assert source.alpha == 0.2
    case = source.cases[0]
    assert case.confidence == pytest.approx(max(case.p))
    assert case.raw["confidence"] > case.confidence  # it was too sure
    assert read_source(run, part="new").cases[0].id == "test_new 0"
    assert read_source(run, policy).fingerprint == read_source(run, policy).fingerprint
    with pytest.raises(DataError, match="valid: base, new"):
        read_source(run, part="old")


def answers_folder(root, n=60):
    rng = np.random.default_rng(1)
    picture = root.parent / "pictures" / "1.png"
    picture.parent.mkdir()
    picture.write_bytes(b"x")
    questions, answers = [], []
    for i in range(n):
        told = ("yes", "no")[i % 2]
        questions.append(
            Question(
                id=f"q{i}",
                question="Is it?",
                images=(str(picture),),
                answer_type="yes_no",
                gold=(told,) if i < n - 5 else (),
                group=f"g{i}",
            )
        )
        stated = float(rng.choice([0.7, 0.8, 0.9]))
        right = bool(rng.random() < stated - 0.1) if i < n - 5 else None
        reading = Reading(
            answer=told, status="answered", confidence=stated, confidence_status="given"
        )
        answers.append(Answer(f"q{i}", "verbalized", reading, right, "exact" if i < n - 5 else ""))
    place = AnswerFolder(root)
    root.mkdir()
    place.rewrite(QuestionSet(name="q", questions=tuple(questions)), answers, {"model": "m"})
    return root


def test_answers_are_calibrated_on_those_with_a_verdict(tmp_path):
    source = read_source(answers_folder(tmp_path / "answers"), Policy(threshold=0.5))
    assert len(source.cases) == 60
    assert source.model_id == "m, asked by verbalized"
    assert source.calibrator_id.startswith("platt (")
    case = source.cases[-1]
    assert (case.classes, case.image, case.reference) == (("yes", "no"), ("1.png",), None)
    assert case.confidence is not None
    assert case.raw["confidence"] in (0.7, 0.8, 0.9)
    review = Review.create(tmp_path / "r.sqlite", source, Policy(threshold=0.5, blind_share=0.0))
    review.act("r1", case.id, "answer", "no")
    review.act("r1", case.id, "reveal")
    review.act("r1", case.id, "final", case.predicted)
    rows = review_rows(review).data
    assert (rows.confidence.tolist(), rows.correct.tolist()) == ([case.confidence], [True])
    with pytest.raises(SpecError, match="no scores of classes"):
        read_source(tmp_path / "answers", conformal="lac")


def test_nothing_outside_the_folder_is_an_image(tmp_path):
    root = tmp_path / "images"
    root.mkdir()
    (root / "a.png").write_bytes(b"x")
    (tmp_path / "secret.png").write_bytes(b"x")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    assert image_file(root, "a.png") == (root / "a.png").resolve()
    for name in ("../secret.png", str(tmp_path / "secret.png"), "link.png", "b.png", "", "a\0.png"):
        assert image_file(root, name) is None, name
