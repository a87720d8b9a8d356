"""``vlmcal ood`` and ``vlmcal ensemble``: numbers by hand, and what is refused."""

import csv
import json

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score

from vlmcal.backbones import load_backbone
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.posthoc.ood_scores import detection
from vlmcal.types.predictions import Predictions

SETS = "predictions/test_all.safetensors"


def rows(path, n=40, k=3, seed=0, scale=6.0, **extras):
    rng = np.random.default_rng(seed)
    logits = scale * rng.normal(size=(n, k))
    made = Predictions(logits=logits, labels=np.arange(n) % k, split="test", extras=extras)
    save_predictions(made, path)
    return logits


def test_scores_of_unknown_images_by_hand(vlmcal, tmp_path):
    known, unknown = tmp_path / "known.npz", tmp_path / "unknown.npz"
    one, two = rows(known), rows(unknown, n=30, seed=1, scale=3.0)
    numbers, out = tmp_path / "n.json", tmp_path / "scores.csv"
    command = ("ood", known, unknown, "--scale", 10, "--json", numbers, "-o", out)
    result = vlmcal(*command)
    assert result.code == 0, result.err
    found = json.loads(numbers.read_text())["scores"]
    assert set(found) == {"confidence", "mcm", "energy", "max_logit"}
    for name, score in {
        "confidence": lambda z: softmax(z, axis=1).max(axis=1),
        "mcm": lambda z: softmax(z / 10, axis=1).max(axis=1),
        "energy": lambda z: logsumexp(z, axis=1),
        "max_logit": lambda z: z.max(axis=1),
    }.items():
        inside, outside = score(one), score(two)
        both = np.concatenate([inside, outside])
        auroc = roc_auc_score(np.arange(70) < 40, both)
        assert found[name]["auroc"] == pytest.approx(auroc)
        threshold = np.sort(inside)[2]  # 38 of 40 are at or above it
        assert found[name]["fpr95"] == pytest.approx((outside >= threshold).mean())
        assert f"{100 * auroc:.1f}" in result.out
    assert len(out.read_text().splitlines()) == 31


def test_scores_that_the_rows_do_not_allow_are_named(refused, tmp_path):
    known = tmp_path / "known.npz"
    rows(known)
    refused("ood", known, known, "--score", "mutual_information", words=["draws or an ensemble"])
    refused("ood", known, known, "--score", "enrgy", words=['did you mean "energy"?'])
    text = tmp_path / "words.txt"
    text.write_text("tree\nhouse\n")
    refused("ood", known, known, "--words", text, words=["image_features", "shape (0, 0)"])


def test_numbers_and_classes_that_mean_nothing_are_refused(refused, tmp_path):
    known, other = tmp_path / "known.npz", tmp_path / "other.npz"
    rows(known)
    rows(other, k=5)
    refused("ood", known, other, words=["3 (", "5 (", "same, known classes"])
    refused("ood", known, known, "--score", "neg_label", words=["--words FILE"])
    refused("ood", known, known, "--scale", 0, words=["scale", "above 0"])
    text = tmp_path / "words.txt"
    text.write_text("tree\n")
    refused("ood", known, known, "--words", text, "--negatives", 0, words=["at least 1, got 0"])


def test_one_far_score_leaves_the_others_apart():
    found = detection([1.0, 1.0 + 1e-15 * 4, 1e300], [-1e300, 0.5, 1.0 - 1e-15 * 4])
    assert found == (1.0, 0.0)


def test_negative_labels_use_the_backbones_words(vlmcal, tmp_path):
    encoder = load_backbone("pocket")
    names = ("red circle", "blue square")
    words = tmp_path / "words.txt"
    words.write_text("seven\n\nnine\n", encoding="utf-8")

    def features(texts):
        return encoder.encode_texts([f"a photo of a {t}." for t in texts]).double().numpy()

    for path, image in (("known", features(["red circle"])), ("unknown", features(["seven"]))):
        made = Predictions(
            logits=[[3.0, 0.0]], labels=[0], class_names=names, extras={"image_features": image}
        )
        save_predictions(made, tmp_path / f"{path}.npz")
    numbers = tmp_path / "n.json"
    command = ("ood", tmp_path / "known.npz", tmp_path / "unknown.npz", "--words", words)
    result = vlmcal(*command, "--json", numbers)
    assert result.code == 0, result.err
    assert json.loads(numbers.read_text())["scores"]["neg_label"] == {"auroc": 1.0, "fpr95": 0.0}


def run_folder(folder, seed):
    (folder / "predictions").mkdir(parents=True)
    return rows(folder / "predictions" / "test_all.safetensors", seed=seed)


def test_an_ensemble_averages_probabilities_and_says_what_members_disagree_about(
    vlmcal, refused, tmp_path
):
    one, two = (run_folder(tmp_path / f"run{seed}", seed) for seed in (1, 2))
    out = tmp_path / "both.npz"
    result = vlmcal("ensemble", tmp_path / "run1", tmp_path / "run2", "-o", out)
    assert result.code == 0, result.err
    both = load_predictions(out, scores="probs")
    mean = (softmax(one, axis=1) + softmax(two, axis=1)) / 2
    np.testing.assert_allclose(both.probabilities(), mean, atol=1e-9)

    def entropy(p):
        return -(p * np.log(p)).sum(axis=1)

    parts = (entropy(softmax(one, axis=1)) + entropy(softmax(two, axis=1))) / 2
    information = entropy(mean) - parts
    np.testing.assert_allclose(both.extras["mutual_information"], information, atol=1e-9)
    right = mean.argmax(axis=1) == np.arange(40) % 3
    assert f"accuracy {right.mean():.1%}; of the 2 members alone" in result.out
    assert f"{information[right].mean():.4f} where right" in result.out
    # what it wrote is what other verbs read: the score of unknown classes, and abstaining
    numbers = tmp_path / "n.json"
    call = ("ood", out, out, "--score", "mutual_information", "--json", numbers)
    assert vlmcal(*call).code == 0
    assert json.loads(numbers.read_text())["scores"]["mutual_information"]["auroc"] == 0.5
    page = tmp_path / "r.html"
    told = vlmcal("evaluate", out, "--probs", "-o", page)
    assert told.code == 0, told.err
    sentence = f"Mutual information of the draws: {information[right].mean():.4f} nats where right"
    assert sentence in told.out
    assert sentence in page.read_text()
    refused(
        *("ensemble", tmp_path / "run1", tmp_path / "run2", "-o", out, "--set", "new"),
        words=['no predictions of the set "new"', "it has: all"],
    )
    twice = [tmp_path / "run1", tmp_path / "run1"]
    refused("ensemble", *twice, "-o", out, words=["run1 is named twice"])


def test_predictions_say_what_the_draws_of_an_image_disagree_about(
    vlmcal, small_images, tiny_folder, tmp_path
):
    out = tmp_path / "answers.csv"
    trained = vlmcal(
        *("train", small_images, "--backbone", tiny_folder, "--shots", 1, "--epochs", 1),
        *("--method", "laplace(predictions=3)", "--store", tmp_path / "store"),
    )
    assert trained.code == 0, trained.err
    (line,) = [text for text in trained.out.splitlines() if text.startswith("predict with")]
    run = line.split()[4]
    result = vlmcal("predict", run, small_images, "--unchecked", "-o", out)
    assert result.code == 0, result.err
    stored = load_predictions(tmp_path / "store" / "runs" / run.rsplit("/", 1)[-1] / SETS)
    with out.open() as stream:
        found = {row["image"]: float(row["mutual_information"]) for row in csv.DictReader(stream)}
    assert max(found.values()) > 0
    for name, value in zip(stored.ids, stored.extras["mutual_information"], strict=True):
        assert found[str(small_images / name)] == pytest.approx(float(value), abs=2e-5)
