"""Calibration-error objectives against loops, scipy and simulation."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn.functional import softmax

from vlmcal.objectives.avuc import THRESHOLD, google_avuc
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.kde_ece import CANDIDATES, best_bandwidth, log_kernel
from vlmcal.types.outputs import Outputs


def make(name, **fields):
    return OBJECTIVES.get(name)(**fields)


def top(outputs):
    p = softmax(outputs.logits.detach(), dim=1)
    confidence, predicted = p.max(dim=1)
    return confidence.numpy(), (predicted == outputs.labels).double().numpy()


def laplace(a, b):
    return math.exp(-abs(a - b) / 0.4)


def test_weighted_mmce_is_the_papers_sum_over_pairs(make_batch):
    outputs = make_batch(batch=10, seed=3)
    c, a = top(outputs)
    right, wrong = c[a == 1], c[a == 0]
    assert 0 < len(right) < 10
    squared = np.mean([[(1 - r) * (1 - s) * laplace(r, s) for s in right] for r in right])
    squared += np.mean([[q * s * laplace(q, s) for s in wrong] for q in wrong])
    squared -= 2 * np.mean([[(1 - r) * q * laplace(r, q) for q in wrong] for r in right])
    assert float(make("mmce").loss(outputs)) == pytest.approx(math.sqrt(squared + 1e-10))


def test_unweighted_mmce_is_the_square_over_all_pairs(make_batch):
    outputs = make_batch(batch=7)
    c, a = top(outputs)
    want = np.mean(
        [[(a[i] - c[i]) * (a[j] - c[j]) * laplace(c[i], c[j]) for j in range(7)] for i in range(7)]
    )
    assert float(make("mmce", form="unweighted").loss(outputs)) == pytest.approx(want)


def test_published_normalisation_of_mmce_is_much_smaller(make_batch):
    outputs = make_batch(batch=16, seed=3)
    paper = float(make("mmce").loss(outputs))
    released = float(make("mmce", published_normalisation=True).loss(outputs))
    assert released < paper / 4


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_mmce_of_a_batch_without_wrong_samples_is_zero(batch):
    logits = torch.full((batch, 3), 0.0).index_fill_(1, torch.tensor([1]), 2.0).requires_grad_()
    outputs = Outputs(logits=logits, labels=torch.ones(batch, dtype=torch.int64))
    for released in (False, True):
        value = make("mmce", published_normalisation=released).loss(outputs)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert not gradient.any()


def test_kernel_mmd_is_the_papers_three_means(make_batch):
    outputs = make_batch(batch=6, classes=3)
    q = softmax(outputs.logits.detach(), dim=1).numpy()
    x, y = outputs.image_features.numpy(), outputs.labels.numpy()
    eye = np.eye(3)

    def rbf(a, b, h):
        return math.exp(-float(((a - b) ** 2).sum()) / h)

    labels = np.array([[rbf(a, b, 1.0) for b in eye] for a in eye])
    first = second = third = 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                k = rbf(x[i], x[j], 2.0) / 30
                first += k * q[i] @ labels @ q[j]
                second += k * q[i] @ labels @ eye[y[j]]
                third += k * labels[y[i], y[j]]
    objective = make("kernel_mmd", bandwidth_x=2.0, bandwidth_y=1.0)
    assert float(objective.loss(outputs)) == pytest.approx(first - 2 * second + third)


@pytest.mark.parametrize("on", ["features", "probabilities", "confidence", "class"])
def test_kernel_mmd_of_a_calibrated_sample_is_centred_on_zero(on):
    stream = torch.Generator().manual_seed(0)
    draws = []
    for sharpness in (1.0, 3.0):
        values = []
        for _ in range(400):
            logits = torch.randn(24, 4, generator=stream, dtype=torch.float64)
            labels = torch.multinomial(softmax(logits, dim=1), 1, generator=stream).squeeze(1)
            x = torch.randn(24, 3, generator=stream, dtype=torch.float64)
            outputs = Outputs(logits=sharpness * logits, labels=labels, image_features=x)
            objective = make("kernel_mmd", on=on, bandwidth_x=1.0, bandwidth_y=1.0)
            values.append(float(objective.loss(outputs)))
        draws.append((np.mean(values), np.std(values) / 20, min(values)))
    (mean, error, smallest), (overconfident, _, _) = draws
    assert abs(mean) < 4 * error
    assert smallest < 0
    if on != "features":  # features are independent of the predictions here
        assert overconfident > 8 * error


def test_kernel_mmd_and_kde_of_one_remaining_sample_are_zero():
    logits = torch.zeros(1, 3, requires_grad=True)
    outputs = Outputs(logits=logits, labels=torch.tensor([1]), image_features=torch.ones(1, 2))
    for name in ("kernel_mmd", "kde_ece"):
        value = make(name).loss(outputs)
        (gradient,) = torch.autograd.grad(value, logits)
        assert value == 0
        assert not gradient.any()


def test_kde_kernel_is_the_dirichlet_density(make_batch):
    p = softmax(make_batch(batch=5, classes=3).logits.detach(), dim=1)
    kernel = log_kernel(p, 0.1)
    rows = p.numpy() / p.numpy().sum(axis=1, keepdims=True)
    for i in range(5):
        for j in range(5):
            want = stats.dirichlet(rows[j] / 0.1 + 1).logpdf(rows[i]) if i != j else -math.inf
            assert float(kernel[i, j]) == pytest.approx(want, rel=1e-9)


def test_kde_ece_of_the_top_label_against_scipy(make_batch):
    outputs = make_batch(batch=9)
    c, a = top(outputs)
    want = 0.0
    for i in range(9):
        others = [j for j in range(9) if j != i]
        density = np.array(
            [stats.beta(c[j] / 0.2 + 1, (1 - c[j]) / 0.2 + 1).pdf(c[i]) for j in others]
        )
        want += abs(density @ a[others] / density.sum() - c[i]) / 9
    objective = make("kde_ece", kind="top_label", power=1, bandwidth=0.2)
    assert float(objective.loss(outputs)) == pytest.approx(want)


def test_kde_bandwidth_maximises_the_leave_one_out_likelihood(make_batch):
    p = softmax(make_batch(batch=30, classes=3).logits.detach(), dim=1)
    rows = p.numpy() / p.numpy().sum(axis=1, keepdims=True)

    def likelihood(h):
        total = 0.0
        for i in range(30):
            others = [stats.dirichlet(rows[j] / h + 1).logpdf(rows[i]) for j in range(30) if j != i]
            total += np.logaddexp.reduce(others) - math.log(29)
        return total

    best = max(CANDIDATES[9:], key=likelihood)
    assert best_bandwidth(p) == pytest.approx(best)
    assert best_bandwidth(p, released=True) <= best


def test_kde_estimates_isolated_samples_unless_a_floor_is_set():
    logits = torch.log(torch.tensor([[0.98, 0.01, 0.01]] * 3 + [[0.01, 0.01, 0.98]])).double()
    outputs = Outputs(logits=logits, labels=torch.tensor([0, 0, 0, 0]))
    free = make("kde_ece", power=1, bandwidth=1e-3).loss(outputs)
    floored = make("kde_ece", power=1, bandwidth=1e-3, density_floor=1e-10).loss(outputs)
    # The last sample: estimate (1, 0, 0) from the others, or (0, 0, 0).
    assert float(free - floored) == pytest.approx((0.99 + 0.01 + 0.98 - 1) / 4)


def test_soft_ece_becomes_binned_ece_when_bins_are_sharp(make_batch):
    outputs = make_batch(batch=40)
    c, a = top(outputs)
    bins = np.clip((c * 10).astype(int), 0, 9)
    want = sum(
        (bins == b).mean() * (c[bins == b].mean() - a[bins == b].mean()) ** 2 for b in set(bins)
    )
    objective = make("soft_ece", bins=10, temperature=1e-7)
    assert float(objective.loss(outputs)) == pytest.approx(math.sqrt(want), rel=1e-6)


def test_soft_ece_decay_sets_the_temperature(make_batch):
    outputs = make_batch()
    decayed = make("soft_ece", bins=10, decay=10.0).loss(outputs)
    explicit = make("soft_ece", bins=10, temperature=1 / (math.log(10) * 100)).loss(outputs)
    torch.testing.assert_close(decayed, explicit)


def test_avuc_against_loops(make_batch):
    outputs = make_batch(batch=12, seed=5)
    c, a = top(outputs)
    p = softmax(outputs.logits.detach(), dim=1).numpy()
    e = -(p * np.log(p)).sum(axis=1)
    good = bad = 0.0
    for confidence, right, doubt in zip(c, a, e, strict=True):
        certain = doubt <= 0.5
        size = (confidence if right else 1 - confidence) * (
            1 - math.tanh(doubt) if certain else math.tanh(doubt)
        )
        good, bad = (good + size, bad) if bool(right) == bool(certain) else (good, bad + size)
    intel = make("avuc", threshold=0.5).loss(outputs)
    assert float(intel) == pytest.approx(-3 * math.log(good / (good + bad)), rel=1e-6)
    google = make("avuc", form="google", threshold=0.5).loss(outputs)
    assert float(google) == pytest.approx(math.log(1 + bad / good), rel=1e-3)


def test_avuc_threshold_moves_in_the_first_epochs_only():
    p = torch.tensor([[0.9, 0.1], [0.6, 0.4]], dtype=torch.float64)
    entropy = -(p * p.log()).sum(dim=1)
    objective = make("avuc", adapt_epochs=2)
    outputs = Outputs(validation_logits=p.log(), validation_labels=torch.tensor([0, 1]), epoch=1)
    memory = {}
    objective.on_epoch_end(outputs, memory)
    assert float(memory[THRESHOLD]) == pytest.approx(float(entropy.mean()), rel=1e-8)
    outputs.epoch, kept = 2, dict(memory)
    outputs.validation_logits = outputs.validation_logits * 5
    objective.on_epoch_end(outputs, memory)
    assert memory == kept
    batch = Outputs(logits=p.log(), labels=torch.tensor([0, 1]), memory=memory)
    fixed = Outputs(logits=p.log(), labels=torch.tensor([0, 1]))
    want = make("avuc", threshold=float(entropy.mean())).loss(fixed)
    torch.testing.assert_close(objective.loss(batch), want)


def test_avuc_threshold_stays_when_validation_is_all_right():
    outputs = Outputs(
        validation_logits=torch.tensor([[2.0, 0.0]]), validation_labels=torch.tensor([0])
    )
    memory = {}
    make("avuc", adapt_epochs=5).on_epoch_end(outputs, memory)
    assert memory == {}


def test_avuc_stop_gradient_keeps_the_value(make_batch):
    outputs = make_batch(batch=12, seed=5)
    p = softmax(outputs.logits.detach(), dim=1).requires_grad_()
    free, stopped = (google_avuc(p, outputs.labels, 0.5, stop) for stop in (False, True))
    assert torch.equal(free, stopped)
    gradients = [torch.autograd.grad(value, p)[0] for value in (free, stopped)]
    assert not torch.equal(*gradients)


def test_soft_avuc_half_way():
    # Entropy 0.5 ln 2 lies at kappa = 0.5: the weight is 1/2, tanh(0.5 ln 2) = 1/3.
    p = torch.tensor([[0.889972, 0.110028]], dtype=torch.float64)
    outputs = Outputs(logits=p.log(), labels=torch.tensor([0]))
    assert float(make("soft_avuc").loss(outputs)) == pytest.approx(math.log(1.5), abs=1e-4)


def test_clue_of_a_uniform_prediction_has_no_second_term():
    outputs = Outputs(logits=torch.zeros(3, 5), labels=torch.tensor([0, 1, 4]))
    assert float(make("clue").loss(outputs)) == pytest.approx(0.5 * math.log(5))


def test_clue_second_term():
    p = torch.tensor([[0.7, 0.3]], dtype=torch.float64)
    outputs = Outputs(logits=p.log(), labels=torch.tensor([1]))
    error, doubt = -math.log(0.3), -(0.7 * math.log(0.7) + 0.3 * math.log(0.3))
    want = 0.25 * error + 0.75 * (error - doubt) ** 2
    assert float(make("clue", alpha=0.25).loss(outputs)) == pytest.approx(want)
