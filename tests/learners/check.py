"""Holding a learner against its plain formulas: logits, loss and gradient of every learned tensor."""

import torch
from torch.nn.functional import cross_entropy

from learners.plain_clip import unit
from vlmcal.learners.base import ClassContext
from vlmcal.objectives.base import weighted_sum
from vlmcal.objectives.compose import parse_objective
from vlmcal.training.step import learner_outputs

NAMES = ("cat", "annual_crop land", "the dog")
NEW_NAMES = ("dog photo", "sea")
TEMPLATES = ("a photo of a {}.", "the {}, seen from above.")
TOLERANCE = 1e-9


def context(encoder, names=NAMES, templates=TEMPLATES):
    return ClassContext(encoder, names, templates)


def filled(template, names=NAMES):
    return [template.format(name.replace("_", " ")) for name in names]


def scatter(learner, seed=7, size=0.1):
    """Move all learned tensors to generic values, zero initialisation included."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in learner.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            parameter.add_(size * noise)
    return learner


def assert_near(got, want, what):
    got, want = got.detach(), want.detach()
    size = max(float(want.abs().max()), 1e-12)
    worst = float((got - want).abs().max()) / size
    assert worst < TOLERANCE, f"{what}: off by {worst:.1e} of its largest value"


def check(learner, batch, objective, reference, *, train=True):
    """``reference(p)`` gives (evaluation logits, training loss) from the learned tensors by name."""
    leaves = {n: p.detach().clone().requires_grad_() for n, p in learner.named_parameters()}
    logits, loss = reference(leaves)
    assert_near(learner.eval().predict([batch]), logits.detach(), "logits")
    if not train:
        return
    wanted = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
    check_loss(learner, batch, objective, loss.detach(), wanted)


def check_loss(learner, batch, objective, loss, gradients):
    parsed = parse_objective(objective)
    learner.train()
    terms = parsed.terms(learner_outputs(learner, batch, parsed))
    assert_near(weighted_sum(terms).detach(), loss, "loss")
    learner.zero_grad()
    parsed.combiner().backward(terms, list(learner.parameters()))
    for name, parameter in learner.named_parameters():
        assert_near(parameter.grad, gradients[name], f"gradient of {name}")


def ce(logits, batch):
    return cross_entropy(logits, batch.labels)


def logits_of(plain, batch, text):
    """Logits of frozen image features and raw text features."""
    return plain.scale * unit(batch.image_features) @ unit(text).T
