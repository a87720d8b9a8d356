"""The same numbers from lists, NumPy, pandas and tensors of any type."""

import numpy as np
import pytest

from metrics.worlds import classes
from vlmcal.errors import VlmcalError
from vlmcal.metrics import evaluate
from vlmcal.metrics.expected_calibration_error import ece
from vlmcal.metrics.nll import nll
from vlmcal.types.arrays import as_array, rounding_unit
from vlmcal.types.measurable import from_arrays

ROWS = classes(120, k=3)
P = ROWS.probabilities().astype(np.float32)
NAMES = ["ece", "ace", "nll", "accuracy"]


def numbers(evaluation):
    return {name: estimate.value for name, estimate in evaluation.estimates.items()}


@pytest.mark.parametrize("form", ["list", "pandas", "torch", "gradient", "float64"])
def test_every_kind_of_array_gives_the_same_numbers(form):
    wanted = numbers(evaluate(P, ROWS.labels, NAMES, scores="probs", intervals=False))
    rows, labels = P, ROWS.labels
    if form == "list":
        rows, labels = P.tolist(), labels.tolist()
    elif form == "float64":
        rows = P.astype(np.float64)
        rows /= rows.sum(axis=1, keepdims=True)
    elif form == "pandas":
        pandas = pytest.importorskip("pandas")
        rows, labels = pandas.DataFrame(P, columns=list("abc")), pandas.Series(labels)
        assert from_arrays(rows, labels, "probs").class_names == ("a", "b", "c")
    else:
        torch = pytest.importorskip("torch")
        rows = torch.tensor(P, requires_grad=form == "gradient")
        labels = torch.tensor(labels)
    if form in ("list", "float64"):  # float32 rounding of a sum is more than text carries
        rows = np.asarray(rows) / np.sum(rows, axis=1, keepdims=True)
    found = numbers(evaluate(rows, labels, NAMES, scores="probs", intervals=False))
    assert found == pytest.approx(wanted, abs=1e-6)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_read_with_its_own_rounding_unit(dtype):
    torch = pytest.importorskip("torch")
    half = torch.tensor(ROWS.logits).to(getattr(torch, dtype)).requires_grad_()
    unit = {"bfloat16": 2.0**-7, "float16": 2.0**-10}[dtype]
    assert rounding_unit(half) == unit == from_arrays(half, ROWS.labels, "logits").resolution
    found = evaluate(half, torch.tensor(ROWS.labels), "nll", scores="logits", intervals=False)
    assert found["nll"].value == pytest.approx(nll(P, ROWS.labels), rel=0.01)


def test_metric_functions_take_tensors():
    torch = pytest.importorskip("torch")
    confidence, correct = P.max(axis=1), P.argmax(axis=1) == ROWS.labels
    tensor = torch.tensor(confidence, requires_grad=True)
    assert ece(tensor, torch.tensor(correct)) == ece(confidence, correct)
    assert nll(torch.tensor(P), torch.tensor(ROWS.labels)) == nll(P, ROWS.labels)
    assert as_array(tensor.bfloat16()).dtype == np.float32


def test_one_number_per_row_is_a_confidence_and_groups_are_units():
    groups = np.repeat(np.arange(30), 4)
    found = evaluate(P.max(axis=1), P.argmax(axis=1) == ROWS.labels, "accuracy", groups=groups)
    assert "30 groups" in found.notes[-1]
    assert found["accuracy"].value == np.mean(P.argmax(axis=1) == ROWS.labels)


def test_sets_are_rows_too():
    sets = P > 0.2
    found = evaluate(sets, ROWS.labels, "sets", scores="sets", intervals=False)
    assert found["coverage"].value == sets[np.arange(120), ROWS.labels].mean()


def test_metrics_may_follow_rows_that_carry_labels():
    assert list(evaluate(ROWS, ["ece"], intervals=False).estimates) == ["ece"]
    assert list(evaluate(ROWS, "ece", intervals=False).estimates) == ["ece"]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((P, ROWS.labels), {}, "never guessed"),
        ((P,), {"scores": "probs"}, "without labels"),
        ((P, ROWS.labels), {"scores": "prob"}, "probs"),
        ((P[:, 0], ROWS.labels), {"scores": "logits"}, r"\(N, K\)"),
        ((ROWS, ROWS.labels), {}, "carry their own"),
        ((ROWS,), {"scores": "logits"}, "carry their own"),
    ],
)
def test_what_cannot_be_read_is_said(arguments, options, words):
    with pytest.raises(VlmcalError, match=words):
        evaluate(*arguments, **options)
