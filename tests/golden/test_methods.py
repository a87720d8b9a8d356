"""Forward values, losses, gradients and optimiser steps of the published implementations.

Point ``VLMCAL_GOLDEN_METHODS`` at other folders of the same schema to run their cases instead.
Limits are those of the collection's own notes, relative to the largest value of a tensor.
"""

import importlib
import json
import pkgutil
from functools import cache

import pytest
import torch
from safetensors.torch import load_file

import methods
from tiny import tiny_clip
from vectors import folders

from vlmcal.learners.base import Batch
from vlmcal.objectives.base import weighted_sum
from vlmcal.objectives.compose import parse_objective
from vlmcal.training.config import TrainConfig, learning_rate
from vlmcal.training.optim import build_optimiser, set_learning_rate
from vlmcal.training.step import run_step

ADAPTERS = {}
for module in pkgutil.iter_modules(methods.__path__):
    ADAPTERS.update(importlib.import_module(f"methods.{module.name}").ADAPTERS)

FORWARD, FIRST_LOSS, GRADIENT, LATER_LOSS, STEP_3, FINAL = 2e-5, 5e-5, 2e-4, 5e-4, 1e-3, 2e-3


def find_cases():
    found = []
    for folder in folders("VLMCAL_GOLDEN_METHODS", "methods"):
        for path in sorted(folder.rglob("*.json")):
            if path.with_suffix(".safetensors").is_file():
                document = json.loads(path.read_text())
                if isinstance(document, dict) and "method" in document:
                    found.append((folder, path, document))
    return found


CASES = find_cases()


@cache
def encoder_for(folder, scale):
    return tiny_clip(folder).with_logit_scale(scale)


def assert_close(got, want, limit, what):
    got, want = got.detach().reshape(want.shape).double(), want.double()
    largest = max(float(want.abs().max()), 1e-12)
    worst = float((got - want).abs().max()) / largest
    assert worst <= limit, f"{what}: off by {worst:.2e} of its largest value, limit {limit:.0e}"


@pytest.mark.parametrize(("folder", "path", "case"), CASES, ids=[p.stem for _, p, _ in CASES])
def test_method(folder, path, case, golden_summary):
    method = case["method"]
    if method not in ADAPTERS:
        golden_summary["not implemented"][f"method {method}"] += 1
        return
    golden_summary["checked"][f"method {method}"] += 1
    tensors = load_file(path.with_suffix(".safetensors"))
    encoder = encoder_for(folder, case["logit_scale"])
    prepared = ADAPTERS[method](case, encoder)
    learner = prepared.learner
    parameters = dict(learner.named_parameters())
    assert set(prepared.names.values()) == set(parameters)
    with torch.no_grad():
        for golden, name in prepared.names.items():
            if f"ref_init.{golden}" in tensors:
                assert_close(parameters[name], tensors[f"ref_init.{golden}"], FORWARD, "init")
            parameters[name].copy_(tensors[f"learned.{golden}"])
    batch = Batch(
        image_features=encoder.encode_pixels(tensors["images"]),
        labels=tensors["labels"],
        pixels=tensors["images"],
    )
    check_forward(prepared, batch, tensors, case)
    check_steps(prepared, batch, tensors, case)


def check_forward(prepared, batch, tensors, case):
    learner = prepared.learner.eval()
    with torch.no_grad():
        outputs = learner.outputs(batch)
        pairs = {
            "out.text_features": outputs.raw_text_features,
            "out.image_features": outputs.raw_image_features,
            "out.text_features_norm": outputs.text_features,
            "out.image_features_norm": outputs.image_features,
            "out.logits": learner.predict([batch]),
            **prepared.extra.get("forward", lambda *_: {})(learner, batch),
        }
    for name, value in pairs.items():
        if name in tensors:
            assert_close(value, tensors[name], FORWARD, name)
    if prepared.new_classes and "new.logits" in tensors:
        new = learner.for_classes(tuple(case["new_classnames"])).eval()
        with torch.no_grad():
            assert_close(new.predict([batch]), tensors["new.logits"], FORWARD, "new.logits")


def check_steps(prepared, batch, tensors, case):
    learner = prepared.learner.train()
    objective = parse_objective(prepared.objective)
    group = case["optimiser"]["groups"][0] if "groups" in case["optimiser"] else {}
    rates = case["lr_per_step"]
    config = TrainConfig(
        optimiser=case["optimiser"]["class"].lower(),
        lr=group.get("lr", 2e-3),
        eps=group.get("eps", 1e-8),
        weight_decay=group.get("weight_decay", 5e-4),
    )
    optimiser = build_optimiser(learner, config)
    initial = {name: p.detach().clone() for name, p in learner.named_parameters()}
    for step, rate in enumerate(rates, start=1):
        before = prepared.extra.get("before_step")
        if before is not None:
            before(learner, step, case)
        set_learning_rate(optimiser, rate if isinstance(rate, float) else rate[0])
        terms = run_step(learner, objective, optimiser, batch, initial=initial, step=step - 1)
        limit = FIRST_LOSS if step == 1 else LATER_LOSS
        total = f"step{step}.loss.total"
        if total in tensors and prepared.extra.get("total", True):
            assert_close(weighted_sum(terms), tensors[total], limit, total)
        for golden, name in prepared.terms.items():
            for key in (f"step{step}.loss.{golden}", f"loss.{golden}" if step == 1 else ""):
                if key in tensors:
                    assert_close(terms[name].value, tensors[key], limit, key)
        for golden, name in prepared.names.items():
            parameter = dict(learner.named_parameters())[name]
            if step == 1 and f"grad.{golden}" in tensors:
                assert_close(parameter.grad, tensors[f"grad.{golden}"], GRADIENT, f"grad.{golden}")
            key = f"step{step}.{golden}"
            if key in tensors and not prepared.extra.get("averaged"):
                assert_close(parameter, tensors[key], GRADIENT if step == 1 else STEP_3, key)
    finish = prepared.extra.get("finish")
    if finish is not None:
        finish(learner, tensors, case)
    learner.eval()
    with torch.no_grad():
        if "final.logits" in tensors:
            assert_close(learner.predict([batch]), tensors["final.logits"], FINAL, "final.logits")
        if prepared.new_classes and "final.new.logits" in tensors:
            new = learner.for_classes(tuple(case["new_classnames"])).eval()
            assert_close(
                new.predict([batch]), tensors["final.new.logits"], FINAL, "final.new.logits"
            )


def shared_file(name):
    for folder in folders("VLMCAL_GOLDEN_METHODS", "methods"):
        for path in folder.rglob(name):
            return path
    return None


def test_learning_rate_schedules():
    path = shared_file("lr_schedule.json")
    if path is None:
        pytest.skip("these folders carry no lr_schedule.json")
    for schedule in json.loads(path.read_text())["schedules"]:
        config = TrainConfig(
            epochs=schedule["epochs"],
            lr=schedule["base_lr"],
            warmup_epochs=max(schedule["warmup_epochs"], 0),
            warmup_lr=schedule["warmup_lr"] or 1e-5,
        )
        got = [learning_rate(config, e) for e in range(schedule["epochs"])]
        assert got == pytest.approx(schedule["lr_per_epoch"], rel=1e-12, abs=1e-18)


def test_optimiser_steps():
    path = shared_file("optimiser_steps.json")
    if path is None:
        pytest.skip("these folders carry no optimiser_steps.json")
    tensors = load_file(path.with_suffix(".safetensors"))
    for name, settings in json.loads(path.read_text())["optimisers"].items():
        learner = torch.nn.Module()
        learner.value = torch.nn.Parameter(tensors["start"].double())
        learner.parameter_groups = lambda lr, learner=learner: [
            {"params": list(learner.parameters()), "lr": lr}
        ]
        config = TrainConfig(
            epochs=6,
            optimiser="sgd" if name == "sgd" else "adam",
            eps=settings.get("eps", 1e-8),
            weight_decay=settings["weight_decay"],
        )
        optimiser = build_optimiser(learner, config)
        gradients = tensors["gradients"]
        for step in range(6):
            set_learning_rate(optimiser, float(tensors["lr_per_step"][step]))
            learner.value.grad = gradients[step].double()
            optimiser.step()
            torch.testing.assert_close(
                learner.value.detach(), tensors[f"{name}.after_step"][step], rtol=1e-10, atol=1e-14
            )


def test_there_are_cases():
    assert CASES
