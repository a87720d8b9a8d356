"""Weights of whole models: CaRot, FLYP and WiSE-FT."""

import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from vlmcal.learners.averaging import interpolated
from vlmcal.learners.base import Batch
from vlmcal.learners.carot import CaRot
from vlmcal.learners.classes import ClassContext
from vlmcal.learners.whole_model import encode_with, tower_tensors
from vlmcal.objectives.carot_distillation import teacher_momentum
from vlmcal.objectives.compose import parse_objective
from vlmcal.training.config import TrainConfig, learning_rate
from vlmcal.training.optim import build_optimiser, set_learning_rate
from vlmcal.training.step import learner_outputs


class OwnCaptions(CaRot):
    """CaRot on captions that come with the images, in the place of prompts of their classes."""

    name = "carot"
    ids = None

    def _texts(self, weights, batch):
        raw = encode_with(self.encoder, "text", weights.named(), self.ids)
        features = normalize(raw, dim=-1)
        return features, features


def carot(case):
    config = case.config
    images, ids = case["images"].float(), case["caption.token_ids"].long()
    total = len(images) * config.get("epochs", 1)
    recipe = TrainConfig(
        epochs=1,
        lr=config["lr"],
        weight_decay=config["wd"],
        warmup_steps=config["warmup"],
        warmup_epochs=0,
        schedule="cosine_step",
        optimiser="adamw",
    )
    rates = [learning_rate(recipe, 0, step, total) for step in range(total)]
    torch.testing.assert_close(rates, case.document["lr_per_step"])
    options = CaRot.Config(
        every=config.get("ema_up_freq", 500), rising=config.get("m_warm_up", 0.2)
    )
    learner = OwnCaptions(ClassContext(case.encoder(), ("a", "b"), ("{}",)), options).train()
    optimiser = build_optimiser(learner, recipe)
    weights = {
        "clip_contrastive": 1.0,
        "carot_orthogonality": config.get("l_orth_wv", 0.0),
        "carot_cross": config.get("cross_fnorm", 0.0),
        "carot_distillation": config.get("distil_coef", 0.0),
    }
    objective = parse_objective([{"name": name, "weight": w} for name, w in weights.items()])
    found, logits = {}, []
    names = case.document["parameter_order"]
    for step in range(total):
        at = step % len(images)
        learner.ids = ids[at]
        labels = torch.arange(len(images[at]))
        with torch.no_grad():
            frozen = learner.encoder.encode_pixels(images[at])
        batch = Batch(image_features=frozen, labels=labels, pixels=images[at], step=step, seed=0)
        outputs = learner_outputs(learner, batch, objective)
        outputs.step = step
        logits.append(outputs.logit_scale * outputs.image_features @ outputs.caption_features.T)
        terms = objective.terms(outputs)
        loss = sum(term.value * term.weight for term in terms.values())
        set_learning_rate(optimiser, rates[step])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        learner.on_step_end(step, total)
        values = {name: term.value for name, term in terms.items()} | {"total": loss}
        if not weights["carot_distillation"]:
            values["carot_distillation"] = torch.zeros(())
        for name, value in values.items():
            found.setdefault(name, []).append(value.detach())
        compare_weights(case, learner, names, step + 1)
    keys = {"clip_contrastive": "contrastive", "carot_cross": "cross_norm"}
    for name, values in found.items():
        key = keys.get(name, name.removeprefix("carot_"))
        case.near(f"loss.{key}", torch.stack(values), 1e-4)
    case.near("logits_per_image", torch.stack(logits).detach(), 1e-4)
    return ("images", "labels", "caption.")


def compare_weights(case, learner, names, number):
    student = {**learner.towers.named(), "logit_scale": learner.log_scale}
    sides = {
        "student": student,
        "teacher": {
            **learner.teacher.named(),
            "logit_scale": learner.get_buffer("teacher_log_scale"),
        },
        "grad": {name: tensor.grad for name, tensor in student.items()},
    }
    for side, tensors in sides.items():
        limit = 3e-4 if side == "grad" else 1e-4
        norms = torch.stack([tensors[name].detach().norm() for name in names])
        case.near(f"step{number}.{side}_norms", norms, limit)
        for name in names:
            case.near(f"step{number}.{side}.{name}", tensors[name], limit)


def ema_schedule(case):
    for key, values in case.document["values [step, m]"].items():
        total, every = (int("".join(c for c in part if c.isdigit())) for part in key.split("_"))
        for step, momentum in values:
            assert step % every == 0
            assert abs(teacher_momentum(step, total) - momentum) < 1e-12
    return ()


def wise_ft(case):
    encoder = case.encoder()
    sides = {side: tower_tensors(encoder, side) for side in ("image", "text")}
    log_scale = encoder.logit_scale.log()
    start = {**sides["image"], **sides["text"], "logit_scale": log_scale.to(encoder.dtype)}
    delta = load_file(case.path.with_name(f"{case.path.stem}_delta.safetensors"))
    tuned = {n: t + delta[n].float() if n in delta else t for n, t in start.items()}
    heads = [
        {"weight": case["head.zero_shot"], "bias": torch.zeros(len(case["head.zero_shot"]))},
        {"weight": case["head.fine_tuned"], "bias": case["head.fine_tuned_bias"]},
    ]
    inputs = {"image": case["images"].float(), "text": case["token_ids"].long()}
    for alpha in case.config["alphas"]:
        mixed = interpolated(start, tuned, alpha)
        with torch.no_grad():
            image, text = (
                normalize(
                    encode_with(encoder, side, {n: mixed[n] for n in own}, inputs[side]), dim=-1
                )
                for side, own in sides.items()
            )
        head = interpolated(*heads, alpha)
        scale = mixed["logit_scale"].exp()
        compared = {
            "image_features_norm": image,
            "text_features_norm": text,
            "logit_scale": scale,
            "visual_projection.weight": mixed["visual_projection.weight"],
            "logits_text_tower": scale * image @ text.T,
            "logits_linear_head": image @ head["weight"].T + head["bias"],
        }
        for name, value in compared.items():
            case.near(f"alpha{alpha:g}.{name}", value, 2e-5)
    return ("images", "token_ids", "head.")


ADAPTERS = {"carot": carot, "flyp": carot, "carot_ema_schedule": ema_schedule, "wise": wise_ft}
