"""Learners on the outputs of frozen encoders against their formulas, in float64."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import one_hot, softmax

from learners.check import assert_near, ce, check, context, filled, logits_of, scatter
from learners.plain_clip import unit
from vlmcal.errors import SpecError
from vlmcal.learners.clap import CLAP, ZeroShotLinearProbe
from vlmcal.learners.clip_adapter import CLIPAdapter
from vlmcal.learners.linear_probe import LinearProbe
from vlmcal.learners.task_res import TaskRes
from vlmcal.learners.tip_adapter import TipAdapter, TipAdapterF
from vlmcal.types.features import Features


def support(n=8, views=3, seed=0, classes=3, spread=1.0):
    """Training features whose lengths differ by far, so that a wrong order of means shows."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, 24))
    values = centres[labels][:, None] + spread * rng.normal(size=(n, views, 24))
    values *= rng.uniform(0.5, 5, size=(n, views, 1))
    return Features(
        image_features=values.astype(np.float32),
        labels=labels,
        ids=np.arange(n).astype(str),
        views=np.zeros((n, views, 5)),
    )


@pytest.fixture
def frozen(wide_encoder, plain):
    """Raw zero-shot text features per template, (T, K, D)."""
    templates = context(wide_encoder).templates
    return torch.stack([plain.frozen_text(wide_encoder, filled(t)) for t in templates])


def ensemble(frozen):
    return unit(unit(frozen).mean(dim=0))


def test_clip_adapter(wide_encoder, plain, pixel_batch, frozen):
    learner = scatter(CLIPAdapter(context(wide_encoder), CLIPAdapter.Config(ratio=0.3)))

    def reference(p):
        f = pixel_batch.image_features
        hidden = (f @ p["adapter.0.weight"].T).clamp(min=0)
        adapted = (hidden @ p["adapter.2.weight"].T).clamp(min=0)
        mixed = 0.3 * adapted + 0.7 * f
        logits = plain.scale * unit(mixed) @ ensemble(frozen).T
        return logits, ce(logits, pixel_batch)

    check(learner, pixel_batch, "ce", reference)
    assert learner.adapter[0].weight.shape == (6, 24)


def tip_logits(plain, batch, frozen, keys, labels, alpha, beta):
    image = unit(batch.image_features)
    cache = torch.exp(-beta * (1 - image @ keys.T)) @ one_hot(labels, 3).double()
    return plain.scale * image @ ensemble(frozen).T + alpha * cache


@pytest.mark.parametrize("kind", [TipAdapter, TipAdapterF])
def test_tip_adapter(wide_encoder, plain, pixel_batch, frozen, kind):
    learner, train = kind(context(wide_encoder), kind.Config(alpha=1.4, beta=2.5)), support()
    learner.begin(train, None)
    bank, labels = torch.tensor(train.image_features).double(), torch.tensor(train.labels)
    start = unit(bank.mean(dim=1))
    assert_near(learner.keys.detach(), start, "keys")

    def reference(p):
        keys = p.get("keys", start)
        logits = tip_logits(plain, pixel_batch, frozen, keys, labels, 1.4, 2.5)
        return logits, ce(logits, pixel_batch)

    check(scatter(learner), pixel_batch, "ce", reference, train=kind.trainable)


def test_tip_adapter_searches_on_the_held_out_split_only(wide_encoder, plain, frozen):
    config = TipAdapter.Config(search=True, alpha_steps=4, beta_steps=5)
    learner = TipAdapter(context(wide_encoder), config)
    train, held_out = support(30, spread=2.0), support(40, 1, seed=5, spread=2.0)
    with pytest.raises(SpecError, match="needs held-out images"):
        learner.begin(train, None)
    learner.begin(train, held_out)
    image = torch.tensor(held_out.image_features[:, 0]).double()
    truth, labels = torch.tensor(held_out.labels), torch.tensor(train.labels)
    keys = unit(torch.tensor(train.image_features).double().mean(dim=1))
    batch = type("B", (), {"image_features": image})
    best = (-1.0, 0.0, 0.0)
    for beta in [0.1 + 6.9 * i / 5 for i in range(5)]:
        for alpha in [0.1 + 2.9 * i / 4 for i in range(4)]:
            logits = tip_logits(plain, batch, frozen, keys, labels, alpha, beta)
            accuracy = float((logits.argmax(dim=1) == truth).double().mean())
            best = max(best, (accuracy, alpha, beta), key=lambda row: row[0])
    assert learner.alpha_beta.tolist() == pytest.approx(best[1:], rel=1e-6)
    assert 1 / 3 < best[0] < 1


def test_tip_adapter_f_searches_after_training(wide_encoder):
    options = {"search": True, "alpha_steps": 3, "beta_steps": 3}
    learner = TipAdapterF(context(wide_encoder), TipAdapterF.Config(**options))
    learner.begin(support(), support(9, 1, seed=5))
    assert learner.alpha_beta.tolist() == pytest.approx([1.17, 1.0])
    with torch.no_grad():
        learner.keys.neg_()
    learner.on_fit_end()
    other = TipAdapterF(context(wide_encoder), TipAdapterF.Config(**options))
    other.begin(support(), support(9, 1, seed=5))
    other.on_fit_end()
    assert learner.alpha_beta.tolist() != other.alpha_beta.tolist()


def test_task_res(wide_encoder, plain, pixel_batch, frozen):
    learner = TaskRes(context(wide_encoder), TaskRes.Config(alpha=0.5))
    zero = learner.predict([pixel_batch])
    assert_near(zero, logits_of(plain, pixel_batch, frozen.mean(dim=0)), "before training")

    def reference(p):
        text = frozen.mean(dim=0) + 0.5 * p["text_feature_residuals"]
        logits = logits_of(plain, pixel_batch, text)
        return logits, ce(logits, pixel_batch)

    check(scatter(learner), pixel_batch, "ce", reference)


@pytest.mark.parametrize("kind", [CLAP, ZeroShotLinearProbe])
def test_clap(wide_encoder, plain, pixel_batch, frozen, kind):
    learner, train = kind(context(wide_encoder), kind.Config()), support(9)
    learner.begin(train, None)
    base = frozen.mean(dim=0)
    assert_near(learner.prototypes.detach(), base, "start")
    bank = unit(torch.tensor(train.image_features).double())
    probabilities = softmax(plain.scale * bank @ unit(base).T, dim=-1)
    alpha = torch.tensor(
        [probabilities[train.labels == c][..., c].mean().item() for c in range(3)]
    ).double()

    def reference(p):
        logits = logits_of(plain, pixel_batch, p["prototypes"])
        held = (alpha * (p["prototypes"] - base).square().sum(dim=1)).mean()
        return logits, ce(logits, pixel_batch) + (held if kind is CLAP else 0)

    check(scatter(learner), pixel_batch, list(kind.default_objective), reference)


def test_linear_probe(wide_encoder, pixel_batch):
    train = support(30, 2)
    learner = LinearProbe(context(wide_encoder), LinearProbe.Config(inverse_strength=2.0))
    learner.begin(train, None)
    flat = unit(torch.tensor(train.image_features).double()).reshape(60, 24).numpy()
    model = LogisticRegression(C=2.0, max_iter=1000).fit(flat, np.repeat(train.labels, 2))
    images = unit(pixel_batch.image_features)
    want = torch.tensor(model.decision_function(images.numpy()))
    got = learner.predict([pixel_batch])
    # The decision function is the logit itself up to one constant per image.
    assert_near(got - got.mean(dim=1, keepdim=True), want - want.mean(dim=1, keepdim=True), "probe")


def test_linear_probe_chooses_its_strength_as_published(wide_encoder):
    train, held_out = support(12, 1, spread=2.0), support(60, 1, seed=5, spread=2.0)
    learner = LinearProbe(context(wide_encoder), LinearProbe.Config())
    with pytest.raises(SpecError, match="needs held-out images"):
        learner.begin(train, None)
    learner.begin(train, held_out)
    flat, other = (
        unit(torch.tensor(part.image_features[:, 0]).double()).numpy() for part in (train, held_out)
    )

    def accuracy(c):
        model = LogisticRegression(C=c, max_iter=1000).fit(flat, train.labels)
        return (model.predict(other) == held_out.labels).mean()

    search = [1e6, 1e4, 1e2, 1, 1e-2, 1e-4, 1e-6]
    peak = search[int(np.argmax([accuracy(c) for c in search]))]
    left, right = 0.1 * peak, 10 * peak
    for _ in range(8):
        middle = 10 ** (0.5 * (np.log10(left) + np.log10(right)))
        if accuracy(left) < accuracy(right):
            final, left = right, middle
        else:
            final, right = left, middle
    model = LogisticRegression(C=final, max_iter=1000).fit(flat, train.labels)
    np.testing.assert_allclose(learner.coefficients.numpy(), model.coef_, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("present", [[0], [0, 2]])
def test_linear_probe_with_few_classes_never_predicts_the_others(wide_encoder, present):
    train = support(12, 1)
    train = train.subset(np.isin(train.labels, present))
    learner = LinearProbe(context(wide_encoder), LinearProbe.Config(inverse_strength=1.0))
    learner.begin(train, None)
    images = unit(torch.tensor(train.image_features[:, 0]).double())
    guesses = learner.scores(images, images).argmax(dim=1)
    assert set(guesses.tolist()) == set(present)
    if len(present) == 2:
        assert (guesses.numpy() == train.labels).all()
