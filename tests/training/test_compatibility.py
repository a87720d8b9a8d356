"""Every pair of learner and objective trains or is refused with a reason, before the first step."""

import importlib.util
from functools import cache
from pathlib import Path

import pytest
import torch

from tiny_clip import make_tiny_clip
from vlmcal.backbones import load_backbone
from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.objectives.base import OBJECTIVES, weighted_sum
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.training.compatibility import (
    Example,
    complete_outputs,
    completed,
    decisions,
    require_effect,
)

SCRIPT = Path(__file__).parents[2] / "scripts" / "write_compatibility.py"
NAMES = ("cat", "the dog", "photo", "of")
TRAINED = [name for name, kind in LEARNERS.items() if kind.trainable]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = make_tiny_clip(tmp_path_factory.mktemp("tiny"), text_layers=4, image_layers=4)
    return load_backbone(str(folder), dtype=torch.float64).with_logit_scale(20.0)


@pytest.fixture(scope="module")
def example(encoder):
    @cache
    def get(name):
        kind = LEARNERS.get(name)
        classes = ClassContext(encoder, NAMES, ("a photo of a {}.", "the {}."))
        config = kind.Config(**kind.small)
        return Example.make(kind(classes, config, torch_generator(1, "init")))

    return get


def descent(example, objective):
    """Loss before and after one small step along the negative gradient of the run's own rule."""
    learner = example.learner
    start = {n: p.detach().clone() for n, p in learner.named_parameters()}

    def loss():
        return objective.terms(complete_outputs(learner, example.inputs))

    terms = loss()
    learner.zero_grad()
    first = objective.combiner().backward(terms, list(learner.parameters()))
    gradients = [p.grad for p in learner.parameters() if p.grad is not None]
    assert gradients
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    norm = torch.stack([g.square().sum() for g in gradients]).sum()
    with torch.no_grad():
        for p in learner.parameters():
            if p.grad is not None:
                p.sub_(1e-4 * float(first.abs() + 1e-3) / float(norm + 1e-12) * p.grad)
    second = weighted_sum(loss()).detach()
    with torch.no_grad():
        for n, p in learner.named_parameters():
            p.copy_(start[n])
    return float(first), float(second)


def pairs():
    """Every objective with coop, and three objectives with every other learner, taken in turn."""
    names = OBJECTIVES.names()
    found = [("coop", objective) for objective in names]
    for i, learner in enumerate(TRAINED):
        found += [(learner, o) for o in ("ce", names[i % len(names)], names[-1 - i % len(names)])]
    return sorted(set(found))


@pytest.mark.parametrize(("learner", "objective"), pairs())
def test_a_pair_trains_or_is_refused(example, learner, objective):
    found = example(learner)
    parsed = completed(OBJECTIVES.get(objective)(), found.learner)
    reason = found.refusal(parsed)
    if reason is not None:
        assert objective in reason
        return
    if any(part.stops_gradient for part in parsed.objectives):
        return  # its gradient is not its slope, by design
    first, second = descent(found, parsed)
    assert second < first


def test_the_page_is_current(tiny_encoder, tmp_path):
    spec = importlib.util.spec_from_file_location("write_compatibility", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    wanted = script.page(decisions(ClassContext(tiny_encoder, NAMES, ("a photo of a {}.",))))
    wanted += script.backbone_page(script.tiny_backbones(tmp_path))
    current = script.PAGE.read_text(encoding="utf-8") == wanted
    assert current, f"{script.PAGE.name} is not current; run `make docs`"


def test_constants_are_refused(example):
    adapter = example("clip_adapter").learner
    require_effect(adapter, parse_objective(["ce", "prompt_src"]))
    with pytest.raises(
        SpecError, match=r'"kgcoop" reads only text_features.*"clip_adapter" leaves'
    ):
        require_effect(adapter, parse_objective(["ce", "kgcoop"]))
    with pytest.raises(
        SpecError, match='which "tip_adapter_f" leaves frozen: it would be a constant'
    ):
        require_effect(example("tip_adapter_f").learner, parse_objective("clip_contrastive"))


def test_a_head_that_nothing_would_train_is_refused(example):
    dept = example("dept").learner
    require_effect(dept, parse_objective(["ce", "dept"]))
    with pytest.raises(SpecError, match=r'head that only the objective "dept" trains.*add "dept"'):
        require_effect(dept, parse_objective(["ce", "mdca"]))


def test_methods_without_training_refuse_every_objective(example):
    for name in set(LEARNERS.names()) - set(TRAINED):
        assert example(name).refusal(parse_objective("ce")) == f'"{name}" has no training step'
