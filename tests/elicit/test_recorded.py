"""Recorded answers of real models: published numbers, and numbers worked out here without the package."""

import csv
import importlib
import os
import re
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from vlmcal.elicit.imported import Columns, import_answers
from vlmcal.elicit.rows import elicitor_rows
from vlmcal.fitted import UnsuitedRowsError
from vlmcal.metrics.auroc import auroc
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.posthoc.answers import measure_answers, repair_answers
from vlmcal.types.confidences import Confidences
from vlmcal.types.question import Question, QuestionSet

HERE = Path(__file__).parent / "recorded"
SCRIPTS = Path(__file__).parents[2] / "scripts"
WORDS = {"1": "Yes.", "0": "no", "": ""}
# ECE (10 bins) and AUROC of the agreement, worked out by other code on the same answers; that code
# could read one answer of Llama more.
AGREEMENT = {
    "gpt-4o": (0.075, 0.731),
    "gemini-2.5-pro": (0.105, 0.718),
    "llama3.2-vision:11b": (0.092, 0.810),
    "llava:13b": (0.095, 0.819),
    "qwen2.5vl:7b": (0.051, 0.733),
}


@pytest.fixture(scope="module")
def scripts():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        yield importlib.import_module


@pytest.fixture(scope="module")
def recorded(scripts):
    return scripts("recorded_answers")


def table(name):
    with (HERE / name).open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def sample(recorded):
    """Questions, answers and links of the sample, and its table."""
    rows = table("radiology_sample.csv")
    models = list(rows[0])[4:]
    questions, answers, links = [], [], defaultdict(list)
    for row in rows:
        question = Question(
            id=row["question"],
            question="(not recorded)",
            answer_type="yes_no",
            gold=("yes" if row["gold"] == "1" else "no",),
            group=f"image {row['image']}",
        )
        questions.append(question)
        answers += recorded.read_together(question, {m: WORDS[row[m]] for m in models})
        links[row["link"]].append(question.id)
    linked = [ids for ids in links.values() if len(ids) > 1]
    return QuestionSet(name="sample", questions=tuple(questions)), answers, linked, rows, models


def by_hand(rows, models, model):
    """Agreement and verdict of the questions that the model answered, as fractions."""
    found = {}
    for row in rows:
        said = [row[m] for m in models if row[m]]
        if row[model]:
            share = Fraction(said.count(row[model]), len(said))
            found[row["question"]] = (share, row[model] == row["gold"])
    return found


def gap(cases):
    """ECE with one bin for each value."""
    bins = defaultdict(list)
    for share, right in cases:
        bins[share].append(right)
    return float(sum(abs(sum(v) - len(v) * s) for s, v in bins.items()) / len(cases))


def test_agreement_of_the_sample(sample):
    questions, answers, _, rows, models = sample
    for model in models:
        expected = by_hand(rows, models, model)
        found = elicitor_rows(questions, answers, model)
        assert found.parsed.ids.tolist() == list(expected)
        np.testing.assert_allclose(
            found.parsed.confidence, [float(s) for s, _ in expected.values()]
        )
        assert found.parsed.correct.tolist() == [right for _, right in expected.values()]
        assert found.states.answers["empty"] == sum(not row[model] for row in rows)
        # 60 bins: halves, thirds, quarters and fifths all have a bin of their own.
        error = ece(found.parsed.confidence, found.parsed.correct, bins=60)
        assert error == pytest.approx(gap(expected.values()), abs=1e-9)


def test_missing_answers_claim_nothing(sample):
    questions, answers, _, rows, _ = sample
    gemini = "gemini-2.5-pro"
    missing = sum(not row[gemini] for row in rows)
    (measured,) = measure_answers(
        questions, answers, [gemini], metrics=["accuracy", "top_label_brier"], resamples=0
    )
    right = sum(row[gemini] == row["gold"] for row in rows)
    assert missing > 0
    assert measured.parsed["accuracy"].value == pytest.approx(right / (len(rows) - missing))
    assert measured.everything["accuracy"].value == pytest.approx(right / len(rows))
    # A confidence of 0 in an answer that counts as wrong has the Brier score 0.
    share = (len(rows) - missing) / len(rows)
    assert measured.everything["top_label_brier"].value == pytest.approx(
        share * measured.parsed["top_label_brier"].value
    )


def test_questions_that_all_answered(sample, recorded):
    _, answers, _, rows, models = sample
    common = recorded.answered_by_all(answers)
    assert {a.question for a in common} == {
        r["question"] for r in rows if all(r[m] for m in models)
    }
    assert len(common) == 5 * len({a.question for a in common})


def test_a_model_that_contradicts_itself(sample, recorded):
    _, answers, linked, rows, _ = sample
    model = "llava:13b"
    said = {row["question"]: row[model] for row in rows}
    own = [a for a in answers if a.elicitor == model]
    found = recorded.with_inconsistency(own, linked)
    scores = {a.question: a.reading.signals["hallucination"] for a in found}
    assert set(scores) == {q for ids in linked for q in ids}
    assert 0 < sum(scores.values()) < len(scores)
    for a, b in (ids for ids in linked if len(ids) == 2):
        assert scores[a] == scores[b] == (said[a] != said[b])


def test_calibrators_keep_the_images_of_the_sample_together(sample):
    questions, answers, _, _, models = sample
    rows = elicitor_rows(questions, answers, models[0]).parsed
    names = ["platt", "fusion"]
    found = {r.name: r for r in repair_answers(rows, names, metrics=["top_label_nll"], resamples=0)}
    with pytest.raises(UnsuitedRowsError, match="hallucination"):
        repair_answers(rows, ["hac_platt"], resamples=0)
    images = dict(zip(rows.ids.tolist(), rows.groups.tolist(), strict=True))
    fused = found["fusion"].rows
    assert fused.provenance["steps"][-1]["groups"]
    # Rows of one image are calibrated by one fit: equal agreement gives an equal probability.
    seen = {}
    for i, value in enumerate(rows.confidence.tolist()):
        key = (images[rows.ids[i]], value)
        assert seen.setdefault(key, found["platt"].rows.confidence[i]) == pytest.approx(
            found["platt"].rows.confidence[i]
        )
    loss = {name: r.evaluation["top_label_nll"].value for name, r in found.items()}
    assert loss["platt"] < loss["none"]


@pytest.mark.parametrize("model", AGREEMENT)
def test_agreement_of_five_models(model):
    rows = [
        (int(r["agreeing"]), int(r["questions"]), int(r["right"]))
        for r in table("agreement_counts.csv")
        if r["model"] == model
    ]
    assert sum(n for _, n, _ in rows) == 1076
    confidence = np.repeat([k / 5 for k, _, _ in rows], [n for _, n, _ in rows])
    correct = np.concatenate([np.arange(n) < right for _, n, right in rows])
    by_counts = float(sum(abs(right - Fraction(n * k, 5)) for k, n, right in rows) / 1076)
    assert ece(confidence, correct, bins=10) == pytest.approx(by_counts, abs=1e-9)
    error, area = AGREEMENT[model]
    assert by_counts == pytest.approx(error, abs=0.0015)
    assert auroc(confidence, correct) == pytest.approx(area, abs=0.0015)


def test_published_accuracy_and_ece_of_stated_confidence():
    columns = Columns(
        answer=None,
        gold=None,
        correct="correct",
        confidence=("stated_confidence",),
        scale="unit",
        rest={"id": "question_id"},
    )
    questions, answers = import_answers(HERE / "stated_gpt4o_sat.csv", columns)
    rows = elicitor_rows(questions, answers, "stated_confidence").parsed
    assert len(rows) == 173
    assert rows.correct.mean() == pytest.approx(0.930635838150289, abs=1e-12)
    assert rows.confidence.mean() == pytest.approx(0.7939306358381503, abs=1e-12)
    assert ece(rows.confidence, rows.correct, bins=10) == pytest.approx(
        0.14826589595375722, abs=1e-9
    )


def test_published_numbers_of_a_model_with_missing_confidences(recorded):
    model = "Qwen-2.5-72b"
    path = HERE / "board_qwen2.5_72b.csv"
    questions, answers = import_answers(path, recorded.board_columns(model))
    cells = Counter(row[f"{model}_confidence"] for row in table(path.name))
    assert (cells["cell_empty"], cells["no_confidence"]) == (28, 2)
    (measured,) = measure_answers(
        questions, answers, metrics=["accuracy", "auroc", "top_label_brier"], resamples=0
    )
    assert measured.rows.states.confidences == {"given": 270, "missing": 30}
    assert measured.parsed["accuracy"].value == pytest.approx(0.6148148148148148, abs=1e-12)
    assert measured.parsed["auroc"].value == pytest.approx(0.5492354031510658, abs=1e-12)
    assert measured.parsed["top_label_brier"].value == pytest.approx(0.3263333333333333, abs=1e-12)
    # Over all rows a missing confidence is 0, so an answer that was right costs 1.
    missing = [row for row in table(path.name) if not row[f"{model}_confidence"].isdigit()]
    right = sum(row[f"{model}_correctness"] == "1" for row in missing)
    everything = (270 * 0.3263333333333333 + right) / 300
    assert measured.everything["top_label_brier"].value == pytest.approx(everything, abs=1e-12)


def test_means_count_cells_that_fell_and_rose(scripts):
    repairs = scripts("recorded_repairs")
    sure = Confidences(
        confidence=[0.9] * 40, correct=[True] * 20 + [False] * 20, groups=np.arange(40)
    )
    fitting = Confidences(
        confidence=[0.5] * 40, correct=[True] * 20 + [False] * 20, groups=np.arange(40)
    )
    found = repairs.means([repairs.repaired(rows, ["histogram"]) for rows in (sure, fitting)])
    assert list(found) == ["none", "histogram"]
    assert found["none"]["ece"] == pytest.approx((0.4 + 0.0) / 2)
    assert found["none"]["top_label_brier"] == pytest.approx((0.41 + 0.25) / 2)
    assert found["histogram"]["ece lower"] == found["histogram"]["top_label_brier lower"] == 1
    assert found["none"]["ece lower"] == found["none"]["ece higher"] == 0
    assert "| none |" in repairs.mean_table(found)


@pytest.fixture(scope="module")
def material():
    if "VLMCAL_MATERIAL" not in os.environ:
        pytest.skip("set VLMCAL_MATERIAL to the folder that holds medvqa and stated_confidence")
    return Path(os.environ["VLMCAL_MATERIAL"])


def test_published_counts_of_the_whole_radiology_recording(material, recorded):
    data = recorded.radiology(material)
    assert len(data.questions) == 1193
    read = {m: elicitor_rows(data.questions, data.answers, m).states for m in AGREEMENT}
    assert {m: (s.judged, s.right) for m, s in read.items()} == {
        "gpt-4o": (1180, 838),
        "gemini-2.5-pro": (1093, 827),
        "qwen2.5vl:7b": (1193, 847),
        "llava:13b": (1193, 669),
        "llama3.2-vision:11b": (1187, 718),
    }
    # Published: GPT-4o 71.02 %, Qwen 71.00 %, Gemini 1092 and 75.64 %, Llama 1073 and 60.48 %.
    assert {m: (n, round(10000 * r / n)) for m, (n, r) in data.bare.items()} == {
        "gpt-4o": (1180, 7102),
        "gemini-2.5-pro": (1092, 7564),
        "qwen2.5vl:7b": (1193, 7100),
        "llava:13b": (1192, 5604),
        "llama3.2-vision:11b": (1073, 6048),
    }
    gold = {q.id: q.gold for q in data.questions}
    pairs = recorded.pairs(data.linked)
    assert (len(pairs), sum(gold[a] == gold[b] for a, b in pairs)) == (414, 398)
    assert len(recorded.answered_by_all(data.answers)) == 5 * 1076


def test_the_first_word_of_the_whole_radiology_recording(material, recorded):
    from vlmcal.data.rows import read_rows

    verdicts = []
    for row in read_rows(material / recorded.RADIOLOGY):
        gold = row.cells["answer"].strip().lower() if isinstance(row.cells["answer"], str) else ""
        words = row.cells["model_answer"]["llama3.2-vision:11b"]
        first = re.match(r"\W*(yes|no)\b", words, re.IGNORECASE)
        if gold in ("yes", "no") and first:
            verdicts.append(first[1].lower() == gold)
    assert (len(verdicts), sum(verdicts)) == (1101, 663)


def test_published_numbers_of_all_board_models(material, recorded):
    with (material / "stated_confidence/gastro_model_performance_published.csv").open() as stream:
        published = {row["Model"]: row for row in csv.DictReader(stream)}
    names = {"Accuracy": "accuracy", "ROC_AUC": "auroc", "Brier Score": "top_label_brier"}
    found = Counter()
    for questions, answers, model in recorded.board_cells(material):
        assert len(questions) == 300
        (measured,) = measure_answers(questions, answers, metrics=list(names.values()), resamples=0)
        for title, name in names.items():
            if published.get(model, {}).get(title):
                assert measured.parsed[name].value == pytest.approx(
                    float(published[model][title]), abs=1e-9
                )
                found[title] += 1
    assert found == {"Accuracy": 44, "ROC_AUC": 44, "Brier Score": 45}


def test_rotations_of_a_question_are_one_group(material, recorded):
    _, rows = next(recorded.option_rows(material))
    sizes = Counter(Counter(rows.groups.tolist()).values())
    assert (len(rows), sum(sizes.values()), max(sizes)) == (4377, 1176, 4)
