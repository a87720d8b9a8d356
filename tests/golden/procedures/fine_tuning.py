"""Weights of whole models: CaRot, FLYP and WiSE-FT."""

import torch
from safetensors.torch import load_file
from torch.nn.functional import normalize

from vlmcal.objectives.carot_distillation import teacher_momentum
from vlmcal.training.contrastive_tuning import ContrastiveTuning, Recipe, learning_rate
from vlmcal.training.weight_interpolation import interpolated, with_weights


def carot(case):
    config = case.config
    recipe = Recipe(
        lr=config["lr"],
        weight_decay=config["wd"],
        warmup=config["warmup"],
        distillation=config.get("distil_coef", 0.0),
        orthogonality=config.get("l_orth_wv", 0.0),
        cross=config.get("cross_fnorm", 0.0),
        every=config.get("ema_up_freq", 500),
        rising=config.get("m_warm_up", 0.2),
    )
    images, ids = case["images"].float(), case["caption.token_ids"].long()
    total = len(images) * config.get("epochs", 1)
    rates = [learning_rate(step, total, recipe) for step in range(total)]
    torch.testing.assert_close(rates, case.document["lr_per_step"])
    run = ContrastiveTuning(case.encoder(), total, recipe)
    found = {}
    logits = []
    names = case.document["parameter_order"]
    for step in range(total):
        at = step % len(images)
        with torch.no_grad():
            image = normalize(run.student.encode_pixels(images[at]), dim=-1)
            text = normalize(run.student.encode_text_ids(ids[at]), dim=-1)
            logits.append(run.student.model.logit_scale.exp() * image @ text.T)
        for name, value in run.step(images[at], ids[at]).items():
            found.setdefault(name, []).append(value)
        compare_weights(case, run, names, step + 1)
    for name, values in found.items():
        key = {"cross": "cross_norm"}.get(name, name)
        case.near(f"loss.{key}", torch.stack(values), 1e-4)
    case.near("logits_per_image", torch.stack(logits), 1e-4)
    return ("images", "labels", "caption.")


def compare_weights(case, run, names, number):
    student = dict(run.student.model.named_parameters())
    teacher = dict(run.teacher.model.named_parameters())
    sides = {
        "student": student,
        "teacher": teacher,
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
    start = {n: t.detach() for n, t in encoder.model.state_dict().items()}
    start["logit_scale"] = encoder.logit_scale.log().to(start["logit_scale"].dtype)
    delta = load_file(case.path.with_name(f"{case.path.stem}_delta.safetensors"))
    tuned = {n: t + delta[n].float() if n in delta else t for n, t in start.items()}
    heads = [
        {"weight": case["head.zero_shot"], "bias": torch.zeros(len(case["head.zero_shot"]))},
        {"weight": case["head.fine_tuned"], "bias": case["head.fine_tuned_bias"]},
    ]
    for alpha in case.config["alphas"]:
        model = with_weights(encoder, interpolated(start, tuned, alpha))
        with torch.no_grad():
            image = normalize(model.encode_pixels(case["images"].float()), dim=-1)
            text = normalize(model.encode_text_ids(case["token_ids"].long()), dim=-1)
        head = interpolated(*heads, alpha)
        scale = model.logit_scale
        compared = {
            "image_features_norm": image,
            "text_features_norm": text,
            "logit_scale": scale,
            "visual_projection.weight": model.model.visual_projection.weight,
            "logits_text_tower": scale * image @ text.T,
            "logits_linear_head": image @ head["weight"].T + head["bias"],
        }
        for name, value in compared.items():
            case.near(f"alpha{alpha:g}.{name}", value, 2e-5)
    return ("images", "token_ids", "head.")


ADAPTERS = {"carot": carot, "flyp": carot, "carot_ema_schedule": ema_schedule, "wise": wise_ft}
