"""What a thorough audit finds beyond what stops training."""

import numpy as np
import pytest
from PIL import Image

from vlmcal.data.audit import audit
from vlmcal.data.class_clues import clues
from vlmcal.data.feature_checks import near_features, note_features
from vlmcal.data.label_noise import confident_learning, cross_validated
from vlmcal.data.problems import Findings
from vlmcal.data.question_checks import audit_questions
from vlmcal.report.pages.data_audit import audit_page
from vlmcal.types.dataset import Dataset
from vlmcal.types.question import Question, QuestionSet


def blotches(seed: int, side: int = 48) -> np.ndarray:
    grey = np.random.default_rng(seed).integers(0, 255, (9, 9), dtype=np.uint8)
    return np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BICUBIC))


def dataset(images, labels, splits, **more) -> Dataset:
    names = tuple(f"class {c}" for c in range(max(labels) + 1))
    return Dataset(name="d", images=images, labels=labels, splits=splits, class_names=names, **more)


def kinds(report):
    return {problem.kind: problem for problem in report.problems}


def test_near_copies_are_shown_and_not_called_errors():
    images = np.stack([blotches(1), blotches(2), blotches(1)[:, ::-1], blotches(3)])
    data = dataset(images, [0, 1, 0, 1], ["train", "train", "test", "test"])
    assert "near-duplicate" not in kinds(audit(data))
    found = kinds(audit(data, thorough=True))["near-duplicate"]
    assert found.severity == "warning"
    assert found.rows in (((2, 0),), ((0, 2),))
    assert "1 pairs, 1 turned or mirrored" in found.message


def test_size_colours_and_names_that_tell_the_class(tmp_path):
    files, labels = [], []
    for n in range(40):
        side, mode = ((20, "L"), (22, "RGB"))[n % 2]
        file = tmp_path / f"{('cat', 'dog')[n % 2]}_{n}.png"
        Image.fromarray(blotches(n, side)).convert(mode).save(file)
        files.append(file)
        labels.append(n % 2)
    order = np.random.default_rng(0).permutation(40)
    data = dataset(
        [files[i] for i in order],
        [labels[i] for i in order],
        (["train"] * 20 + ["test"] * 20),
        ids=[files[i].name for i in order],
    )
    report = audit(data, thorough=True)
    said = " ".join(p.message for p in report.warnings if p.kind == "class-clue")
    for what in (
        "size of the image alone tells the class in 100 %",
        "colour mode",
        "form of the file name",
    ):
        assert what in said
    assert "EXIF" not in said
    assert "colour modes of the files: " in " ".join(report.overview)


def test_a_property_that_says_nothing_is_not_named():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    values = {"size": [str(v) for v in rng.integers(0, 4, 300)]}
    assert clues(values, labels, ["a", "b", "c"]) == []
    # one value per image is a name: it tells nothing about the next image
    assert clues({"name": [str(n) for n in range(300)]}, labels, ["a", "b", "c"]) == []


def test_uneven_classes():
    images = np.stack([blotches(n, 8) for n in range(23)])
    data = dataset(images, [0] * 21 + [1, 1], ["train", "test"] * 11 + ["test"])
    message = kinds(audit(data, thorough=True))["imbalance"].message
    assert '"class 0" has 21 images, "class 1" 2' in message


def test_confident_learning_by_hand():
    p = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9], [0.49, 0.51], [0.9, 0.1], [0.2, 0.8]])
    labels = np.array([0, 0, 0, 1, 1, 1])
    # thresholds: mean of 0.8, 0.6, 0.1 = 0.5 and of 0.51, 0.1, 0.8 = 0.47
    found = confident_learning(p, labels)
    assert found.joint.tolist() == [[2, 1], [1, 2]]
    assert found.rows.tolist() == [2, 4]
    assert found.suggested.tolist() == [1, 0]


def test_wrong_labels_are_found_by_features():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 60)
    x = rng.normal(size=(180, 8)) + 4 * np.eye(8)[labels]
    given = labels.copy()
    wrong = [5, 70, 170]
    given[wrong] = (given[wrong] + 1) % 3
    data = dataset(np.zeros((180, 4, 4), np.uint8), given.tolist(), ["train"] * 180)
    findings = Findings("d")
    note_features(data, x, findings)
    found = {p.kind: p for p in findings.problems}["label-doubt"]
    # Confident is who is above the mean of the class: about half of those that are wrong.
    assert found.rows
    assert {rows[0] for rows in found.rows} <= set(wrong)
    p = cross_validated(x, given, np.arange(180).astype(str))
    assert p.sum(axis=1) == pytest.approx(1)


def test_classes_too_small_to_judge_labels_are_said():
    data = dataset(np.zeros((6, 4, 4), np.uint8), [0, 0, 0, 1, 1, 1], ["train"] * 6)
    findings = Findings("d")
    note_features(data, np.random.default_rng(0).normal(size=(6, 3)), findings)
    assert [p.kind for p in findings.problems] == ["labels-not-judged"]


def test_features_of_two_splits():
    x = np.array([[1, 0.0], [0, 1], [1, 0.001], [0.5, 0.5]])
    found = near_features(x, np.array(["train", "train", "test", "val"]))
    assert [(a, b) for a, b, _ in found] == [(2, 0)]


def questions(*rows):
    return QuestionSet(
        name="q",
        questions=tuple(
            Question(id=str(n), question=text, images=(image,), split=split)
            for n, (text, image, split) in enumerate(rows)
        ),
    )


def test_questions_about_the_same_image():
    report = audit_questions(
        questions(("a?", "1.png", "train"), ("b?", "1.png", "test"), ("A? ", "1.png", "test"),
                  ("c?", "2.png", "test"))
    )  # fmt: skip
    found = kinds(report)
    assert "1 of 2 test images are also in train: 1.png" in found["image-across"].message
    assert found["question-across"].items == ("a?",)
    apart = audit_questions(questions(("a?", "1.png", "train"), ("b?", "2.png", "test")))
    assert apart.ok


def test_the_page_shows_what_is_suspected():
    images = np.stack([blotches(1), blotches(2), blotches(1)[:, ::-1], blotches(2)])
    data = dataset(images, [0, 1, 0, 0], ["train", "train", "test", "test"])
    page = audit_page(audit(data, thorough=True), data).to_html()
    assert page.count("<img") >= 2
    assert "Pictures of two splits that look the same" in page
    assert 'alt="Small version of 2, 0"' in page or 'alt="Small version of 0, 2"' in page
    assert len(page) < 200_000
    assert "The same picture with two labels" in page
    empty = audit_page(audit(data), None).to_html()
    assert "<img" not in empty
