"""Forward values, losses, gradients and optimiser steps of the published implementations.

Point ``VLMCAL_GOLDEN_METHODS`` at other folders of the same schema to run their cases instead.
Limits are those of the collection's own notes, relative to the largest value of a tensor.
"""

import json
from functools import cache

import pytest
import torch
from methods import adapter_for
from methods.case import Case
from safetensors.torch import load_file
from tiny import tiny_clip
from torch import Tensor
from torch.nn.functional import normalize
from vectors import folders

from vlmcal.learners.base import Batch
from vlmcal.objectives.base import weighted_sum
from vlmcal.objectives.compose import parse_objective
from vlmcal.training.config import TrainConfig, learning_rate
from vlmcal.training.optim import build_optimiser, set_learning_rate
from vlmcal.training.step import learner_outputs, run_step

FORWARD, FIRST_LOSS, GRADIENT, LATER_LOSS, STEP_3, FINAL = 2e-5, 5e-5, 2e-4, 5e-4, 1e-3, 2e-3
DTYPES = {"float32": torch.float32, "float64": torch.float64}
# Compared with what they are inputs of, or in the settings of a case.
INPUTS = ("images", "labels", "learned.", "token_ids", "eot_index", "name_lengths", "support_")
INPUTS = (*INPUTS, "positions", "prompt_indices", "sentence_index", "ref_init.")


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
def encoder_for(folder, dtype):
    return tiny_clip(folder, DTYPES[dtype])


class Comparison:
    """Compares values with the tensors of a case and remembers which of them were looked at."""

    def __init__(self, tensors):
        self.tensors, self.seen = tensors, set()

    def __call__(self, key, got, limit):
        if key not in self.tensors or got is None:
            return
        self.seen.add(key)
        want = self.tensors[key].double()
        if isinstance(got, list):  # rows of which only the first positions are meant
            for row, wanted in zip(got, want, strict=True):
                self._check(key, row, wanted[: len(row)], limit)
        else:
            self._check(key, got, want, limit)

    def _check(self, key, got, want, limit):
        got = got.detach().double().reshape(want.shape)
        worst = float((got - want).abs().max()) / max(float(want.abs().max()), 1e-12)
        assert worst <= limit, f"{key}: off by {worst:.2e} of its largest value, limit {limit:.0e}"

    def left(self):
        return [k for k in self.tensors if k not in self.seen and not any(i in k for i in INPUTS)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("folder", "path", "document"), CASES, ids=[p.stem for _, p, _ in CASES])
def test_method(folder, path, document, dtype, golden_summary):
    method = document["method"]
    adapter = adapter_for(method)
    if adapter is None:
        golden_summary["not implemented"][f"method {method}"] += 1
        return
    golden_summary["checked"][f"method {method}"] += 1
    wide = DTYPES[dtype]
    tensors = load_file(path.with_suffix(".safetensors"))
    tensors = {k: v.to(wide) if v.is_floating_point() else v for k, v in tensors.items()}
    case = Case(document, tensors, encoder_for(folder, dtype))
    prepared = adapter(case)
    compare = Comparison({k: v for k, v in tensors.items() if k not in prepared.skip})
    set_learned_tensors(prepared, case, compare)
    check_tokens(prepared.layouts(prepared.learner), case)
    batch = make_batch(case)
    check_forward(prepared, case, batch, compare)
    check_first_gradients(prepared, case, batch, compare)
    check_steps(prepared, case, batch, compare)
    for key in compare.left():
        golden_summary["not compared"][f"{method} {key}"] += 1


def set_learned_tensors(prepared, case, compare):
    parameters = dict(prepared.learner.named_parameters())
    assert set(case.learned_names("")) == set(prepared.names)
    assert not prepared.names or set(prepared.names.values()) == set(parameters)
    with torch.no_grad():
        for golden, name in prepared.names.items():
            compare(f"ref_init.{golden}", parameters[name], FORWARD)
            parameters[name].copy_(case.learned(golden).reshape(parameters[name].shape))


def check_tokens(layouts, case, *, new=False):
    for layout in layouts:
        assert case.same_fixed_tokens(layout, new=new), (
            f"the tokens of {case.template!r} differ from ours: {layout.ids.tolist()}"
        )


def make_batch(case):
    encoder, tensors = case.encoder, case.tensors
    with torch.no_grad():
        second = tensors.get("images2")
        return Batch(
            image_features=encoder.encode_pixels(tensors["images"]),
            labels=tensors["labels"].long(),
            pixels=tensors["images"],
            second_pixels=second,
            second_image_features=None if second is None else encoder.encode_pixels(second),
        )


@torch.no_grad()
def check_forward(prepared, case, batch, compare):
    learner = prepared.learner.eval()
    objective = parse_objective(prepared.objective, allow_incomplete=True)
    outputs = learner_outputs(learner, batch, objective)
    second = outputs.frozen_second_image_features
    values = {
        "out.text_features": outputs.raw_text_features,
        "out.image_features": outputs.raw_image_features,
        "out.text_features_norm": outputs.text_features,
        "out.image_features_norm": outputs.image_features,
        "out.logits": learner.predict([batch]),
        "teacher.text_features_norm": learner.frozen_text_features,
        "teacher.text_features_mean": learner.classes.raw_text_features,
        "teacher.image_features_norm": (
            outputs.frozen_image_features if second is None else second
        ),
        "teacher.logits": outputs.zero_shot_logits,
        **prepared.forward(learner, batch),
    }
    for key, value in values.items():
        compare(key, value, FORWARD)
    if prepared.new_classes and "new.logits" in case.tensors:
        new = learner.for_classes(tuple(case.document["new_classnames"])).eval()
        check_tokens(prepared.layouts(new), case, new=True)
        compare("new.logits", new.predict([batch]), FORWARD)
        image = normalize(new.image_features(batch).to(new.parameter_dtype), dim=-1)
        compare("new.text_features_norm", new.classifier(image), FORWARD)
        compare("new.text_features", new.text_features(image), FORWARD)


def check_first_gradients(prepared, case, batch, compare):
    """Gradients of single terms, where a case has them."""
    learner = prepared.learner.train()
    parameters = dict(learner.named_parameters())
    for golden_term, ours in prepared.terms.items():
        for golden, name in prepared.names.items():
            key = f"grad_{golden_term}.{golden}"
            if key in case.tensors:
                objective = parse_objective(prepared.objective)
                terms = objective.terms(learner_outputs(learner, batch, objective))
                (gradient,) = torch.autograd.grad(terms[ours].value, parameters[name])
                compare(key, gradient, GRADIENT)


def train_config(document):
    optimiser = document["optimiser"]
    kind = optimiser.get("class") or optimiser.get("name") or optimiser["type"]
    groups = optimiser.get("groups") or optimiser.get("param_groups") or [optimiser]
    return TrainConfig(
        optimiser=kind.lower(),
        lr=groups[0].get("lr") or 2e-3,
        eps=groups[0].get("eps", 1e-8),
        weight_decay=groups[0].get("weight_decay", 5e-4),
        momentum=groups[0].get("momentum", 0.9),
    )


def set_rates(optimiser, rate):
    rates = rate if isinstance(rate, list) else [rate]
    if len(rates) == 1:
        set_learning_rate(optimiser, rates[0])
        return
    assert len(rates) == len(optimiser.param_groups), f"{len(rates)} learning rates per step"
    for group, value in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = value


def check_steps(prepared, case, batch, compare):
    if not prepared.names:
        return
    learner = prepared.learner.train()
    objective = parse_objective(prepared.objective)
    optimiser = build_optimiser(learner, train_config(case.document))
    parameters = dict(learner.named_parameters())
    initial = {name: p.detach().clone() for name, p in parameters.items()}
    rates = case.document["lr_per_step"]
    for step, rate in enumerate(rates, start=1):
        if prepared.before_step is not None:
            prepared.before_step(learner, step)
        set_rates(optimiser, rate)
        terms = run_step(learner, objective, optimiser, batch, initial=initial, step=step - 1)
        check_losses(prepared, terms, step, compare)
        for golden, name in prepared.names.items():
            if step == 1:
                compare(f"grad.{golden}", parameters[name].grad, GRADIENT)
            limit = GRADIENT if step == 1 else STEP_3
            compare(f"step{step}.{golden}", parameters[name], limit)
        if prepared.epochs:
            learner.on_epoch_end(step - 1, len(rates))
    learner.on_fit_end()
    for golden, name in prepared.names.items():
        compare(f"gpa.{golden}", parameters[name], STEP_3)
    learner.eval()
    compare("final.logits", learner.predict([batch]), FINAL)
    if prepared.new_classes and "final.new.logits" in case.tensors:
        new = learner.for_classes(tuple(case.document["new_classnames"])).eval()
        compare("final.new.logits", new.predict([batch]), FINAL)


def check_losses(prepared, terms, step, compare):
    values: dict[str, Tensor] = {"total": weighted_sum(terms)}
    values |= {golden: terms[name].value for golden, name in prepared.terms.items()}
    for golden, value in values.items():
        compare(f"step{step}.loss.{golden}", value, FIRST_LOSS if step == 1 else LATER_LOSS)
        if step == 1:
            compare(f"loss.{golden}", value, FIRST_LOSS)


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
