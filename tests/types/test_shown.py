"""What a prompt and a notebook show of a result."""

import numpy as np
import pytest

import vlmcal
from vlmcal.conformal import Abstain
from vlmcal.metrics import compare as compare_models

GENERATOR = np.random.default_rng(0)
LOGITS = GENERATOR.normal(size=(40, 3))
P = vlmcal.Predictions(logits=LOGITS, labels=LOGITS.argmax(axis=1), split="val")
WIDE = vlmcal.Predictions(logits=np.zeros((30_000, 50)), labels=np.zeros(30_000, dtype=int))


def results():
    sets = vlmcal.PredictionSets(sets=LOGITS > 0, labels=P.labels, alpha=0.1)
    rows = P.top_label()
    yield P, 'Predictions: 40 rows, 3 classes, logits, split "val"'
    yield WIDE, 'Predictions: 30,000 rows, 50 classes, logits, split "unknown"'
    yield rows, 'Confidences: 40 rows, split "val"'
    yield (
        sets,
        f"PredictionSets: 40 rows, 3 classes, alpha 0.1, {(LOGITS > 0).sum() / 40:.2f} labels per set",
    )
    yield vlmcal.evaluate(P, ["accuracy"]), "Evaluation: 40 rows"
    yield vlmcal.compare(P, None, ["none", "platt"]), "Comparison: 2 calibrators, 0 left out"
    yield compare_models(P, P, "ece", resamples=10), "Comparison: two models on the same rows"
    chosen = (
        Abstain().fit_confidences(rows.subset(slice(20)), 0.1).select(rows.subset(slice(20, 40)))
    )
    yield chosen, f"Selection: {chosen.accepted.sum()} of 20 rows answered"


@pytest.mark.parametrize(("result", "title"), list(results()), ids=lambda part: type(part).__name__)
def test_a_result_is_short_in_both_forms(result, title):
    text, page = repr(result), result._repr_html_()
    assert text.startswith(title)
    assert len(text) < 1000
    assert max(map(len, text.splitlines())) <= 110
    assert page.startswith("<table>")
    assert page.endswith("</table>")
    assert text.splitlines()[0].replace('"', "&quot;") in page


def test_an_evaluation_lists_its_metrics_with_intervals_and_floors():
    text = repr(vlmcal.evaluate(P, ["accuracy", "ece"]))
    assert text.splitlines()[1].split() == [
        "metric",
        "value",
        "95",
        "%",
        "interval",
        "if",
        "calibrated",
    ]
    assert text.splitlines()[2].startswith("accuracy  1.0000")
    plain = repr(vlmcal.evaluate(P, ["accuracy"], intervals=False))
    assert plain == "Evaluation: 40 rows\nmetric     value\naccuracy  1.0000"


def test_names_are_escaped_in_notebooks():
    rows = np.arange(4) % 2
    data = vlmcal.Dataset(
        name="<b>",
        images=np.zeros((4, 2, 2), np.uint8),
        labels=rows,
        splits=["train"] * 4,
        class_names=["a", "b"],
    )
    assert "<b>" not in data._repr_html_()
    assert repr(data) == "Dataset <b>: 4 images, 2 classes\nsplit  images\ntrain       4"
