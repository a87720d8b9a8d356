"""Metrics with update, compute and reset equal the one-shot form, on one process and on two."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torchmetrics")

from vlmcal.errors import SpecError  # noqa: E402
from vlmcal.export.torchmetrics import CalibrationMetric, countable  # noqa: E402
from vlmcal.metrics import METRICS, evaluate  # noqa: E402

RNG = np.random.default_rng(0)
LOGITS = torch.tensor(RNG.normal(size=(157, 4)) * 2, dtype=torch.float32)
LABELS = torch.tensor(RNG.integers(0, 4, 157))


def one_shot(name, **options):
    found = evaluate(
        LOGITS, LABELS, name, scores="logits", intervals=False, options={name: options}
    )
    return found[name].value


@pytest.mark.parametrize("name", countable())
def test_batches_give_the_number_of_all_rows_at_once(name):
    if METRICS.get(name).consumes == "sets":
        pytest.skip("label sets are not scores")
    metric = CalibrationMetric(name, scores="logits", num_classes=4)
    for start in range(0, 157, 20):
        metric.update(LOGITS[start : start + 20], LABELS[start : start + 20])
    metric.update(LOGITS[:0], LABELS[:0])
    assert metric.compute().item() == pytest.approx(one_shot(name), abs=1e-12)
    metric.reset()
    assert np.isnan(metric.compute().item())


@pytest.mark.parametrize("name", ["ece", "mce", "overconfidence", "max_bin_contribution"])
def test_binned_metrics_are_equal_to_the_last_bit_in_any_order(name):
    turned = torch.randperm(157, generator=torch.Generator().manual_seed(0))
    metric = CalibrationMetric(name, scores="logits", options={"bins": 10})
    for part in turned.split(13):
        metric.update(LOGITS[part], LABELS[part])
    assert metric.compute().item() == one_shot(name, bins=10)


def test_half_precision_and_gradients_are_read():
    metric = CalibrationMetric("ece", scores="logits")
    metric.update(LOGITS.bfloat16().requires_grad_(), LABELS)
    assert metric.compute().item() == pytest.approx(one_shot("ece"), abs=0.02)


def test_it_goes_to_another_process_with_what_it_has_counted():
    metric = CalibrationMetric("ece(bins=10)", scores="logits")
    metric.update(LOGITS, LABELS)
    again = pickle.loads(pickle.dumps(metric))
    assert again.compute().item() == metric.compute().item() == one_shot("ece", bins=10)
    assert pickle.loads(pickle.dumps(METRICS.get("ece"))) is METRICS.get("ece")
    with pytest.raises(SpecError, match='did you mean "logits"'):
        CalibrationMetric("ece", scores="logit")


def test_options_reach_the_statistic():
    metric = CalibrationMetric("ece", scores="logits", options={"norm": "l2", "edges": "left"})
    metric.update(LOGITS, LABELS)
    assert metric.compute().item() == one_shot("ece", norm="l2", edges="left")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("ace", {}, "all rows at once"),
        ("ece", {"strategy": "quantile"}, "equal-mass"),
        ("ece", {"bin": 3}, "no option"),
        ("classwise_ece", {}, "num_classes"),
        ("ece", {"bins": "ten"}, "whole number"),
    ],
)
def test_what_cannot_be_counted_is_said(name, options, words):
    with pytest.raises(SpecError, match=words):
        CalibrationMetric(name, options=options)


WORKER = """
import sys
import torch
import torch.distributed as dist
from vlmcal.export.torchmetrics import CalibrationMetric
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
rows = torch.load(sys.argv[3])
found = []
for name in ("ece", "classwise_ece", "brier"):
    metric = CalibrationMetric(name, scores="logits", num_classes=4)
    for part in torch.arange(rank, 157, 2).split(30):
        metric.update(rows["logits"][part], rows["labels"][part])
    found.append(metric.compute().item())
print("found", *map(repr, found), flush=True)
dist.destroy_process_group()
"""


def test_two_processes_give_the_number_of_all_rows(tmp_path):
    torch.save({"logits": LOGITS, "labels": LABELS}, tmp_path / "rows.pt")
    arguments = [str(tmp_path / "meeting"), str(tmp_path / "rows.pt")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(2)
    ]
    answers = [worker.communicate(timeout=120) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], answers
    # some releases of torch print a line of their own
    said = [line for out, _ in answers for line in out.splitlines() if line.startswith("found")]
    found = [[float(value) for value in line.split()[1:]] for line in said]
    assert found[0] == found[1]
    assert found[0][0] == one_shot("ece")
    for name, value in zip(("classwise_ece", "brier"), found[0][1:], strict=True):
        assert value == pytest.approx(one_shot(name), abs=1e-12)
