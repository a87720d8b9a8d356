"""Prompts tuned on each image, caches of a stream, temperatures from views."""

import torch
from torch.nn.functional import normalize

from vlmcal.objectives.base import OBJECTIVES
from vlmcal.test_time.cots import cots
from vlmcal.test_time.dmn import DMN
from vlmcal.test_time.prompt_tuning import Steps, tune, view_entropy
from vlmcal.test_time.reta import ReTA, text_sets
from vlmcal.test_time.tda import TDA
from vlmcal.text_encoding import PromptLayout

LOGITS, LOSS, GRADIENT, STEP, LATER_STEP = 5e-5, 2e-4, 2e-4, 1e-5, 5e-5
REGULARISERS = {
    "c_tpt": "text_dispersion",
    "o_tpt": "text_orthogonality",
    "a_tpt": "text_angles",
}


def regulariser(method, config):
    for start, name in REGULARISERS.items():
        if method.startswith(start):
            sign = config["regulariser_sign_in_minimised_loss"]
            released = {"released_sign": sign > 0} if name == "text_angles" else {}
            return OBJECTIVES.get(name)(weight=config["lambda"], **released)
    return None


def tpt(case):
    config, encoder = case.config, case.encoder()
    pixels = case.shared()["images"].float()
    with torch.no_grad():
        encoded = encoder.encode_pixels(pixels.flatten(0, 1))
    views = normalize(encoded, dim=-1).unflatten(0, pixels.shape[:2])
    layout = PromptLayout.build(encoder, case.names(), n_ctx=config["n_ctx"])
    term = regulariser(case.document["method"], config)
    count = config["tta_steps"]
    optimiser = case.document["optimiser"]
    steps = Steps(
        steps=count,
        lr=optimiser["lr"],
        weight_decay=optimiser["weight_decay"],
        share=config["selection_p"],
    )
    out = tune(encoder, layout, case["learned.ctx"], views, term, steps)
    start = tune(encoder, layout, case["learned.ctx"], views, term, Steps(steps=0))
    case.near("out.image_features_norm", views, LOGITS)
    case.near("out.text_features_norm", start.text_features[0], LOGITS)
    case.near("out.logits_all", start.logits, LOGITS)
    case.near("out.view_entropy", view_entropy(start.logits), LOGITS)
    case.same("out.selected", out.selected)
    case.near("loss.total", out.losses[-1], LOSS)
    case.near("loss.entropy", out.entropy[-1], LOSS)
    if term is not None:
        sign = config["regulariser_sign_in_minimised_loss"]
        value = (out.losses[-1] - out.entropy[-1]) / (sign * config["lambda"])
        case.near("loss.regulariser", value, LOSS * 5)
    case.near("grad.ctx", out.gradient, GRADIENT)
    case.near(f"step{count}.ctx", out.context, STEP if count == 1 else LATER_STEP)
    case.near("final.logits", out.logits[:, 0], LOGITS if count == 1 else 2e-4)
    case.near("final.logits_all", out.logits, LOGITS if count == 1 else 2e-4)
    case.near("final.text_features_norm", out.text_features, LOGITS if count == 1 else 2e-4)
    return ("learned.", "token_ids", "check.", "step1.")


def prompt_features(case):
    """Normalised text features (T, K, D) of a case's prompts; None where its words are not at hand."""
    encoder, document = case.encoder(), case.document
    if "texts" in document:
        rows = list(zip(*document["texts"], strict=True))
    else:
        rows = [[t.format(name) for name in case.names()] for t in document["templates"]]
    try:
        with torch.no_grad():
            encoded = [encoder.encode_texts(list(row)) for row in rows]
    except KeyError:  # the carried table of words is smaller than a tokenizer
        return None
    return normalize(torch.stack(encoded).float(), dim=-1)


def tda(case):
    positive, negative = case.config["positive"], case.config["negative"]
    band, mask = negative["entropy_threshold"], negative["mask_threshold"]
    method = TDA(
        capacity=positive["shot_capacity"] if positive["enabled"] else 0,
        alpha=positive["alpha"],
        beta=positive["beta"],
        negative_capacity=negative["shot_capacity"] if negative["enabled"] else 0,
        negative_alpha=negative["alpha"],
        negative_beta=negative["beta"],
        band=(band["lower"], band["upper"]),
        mask=(mask["lower"], mask["upper"]),
    )
    text = case["out.text_features_norm"]
    prompts = prompt_features(case)
    if prompts is not None:
        case.near("out.text_features_norm", normalize(prompts.mean(dim=0), dim=-1), LOGITS)
    out = method.run(case["features"], text, case.document["logit_scale"])
    case.near("out.logits", out.logits, 1e-4)
    case.near("out.logits_zero_shot", out.zero_shot_logits, LOGITS)
    case.near("out.feature", out.features, LOGITS)
    case.near("out.entropy_nats", out.entropy, 1e-4)
    case.same("cache.positive", out.positive)
    case.same("cache.negative", out.negative)
    case.same("out.pred_zero_shot", out.zero_shot_logits.argmax(dim=1))
    scaled = out.entropy / torch.log2(torch.tensor(float(len(text))))
    case.near("out.entropy_over_log2C", scaled, 1e-4)
    return ("features", "labels", "template.", "out.text_features_norm", "out.probabilities_zero")


def dmn(case):
    method = DMN(
        capacity=case.config["memory_size"],
        beta=case.config["beta"],
        share=case.config["selection_p"],
    )
    text = case["out.text_features_norm"]
    out = method.run(case["features"], text, case.document["logit_scale"])
    case.near("out.fused_one_to_one", 2 * out.probabilities, 1e-4)
    case.near("out.text_probabilities", out.text, 1e-4)
    case.near("out.memory_probabilities", out.memory, 1e-4)
    case.near("final.memory", out.kept, 1e-6)
    case.same("memory.count", out.counts)
    return (
        "features",
        "labels",
        "template.",
        "out.text_features_norm",
        "memory.entropy",
        "out.mean",
    )


def reta(case):
    config = case.config
    method = ReTA(
        capacity=config["shot_capacity"],
        alpha=config["alpha"],
        beta=config["beta"],
        ratio=config["ratio"],
        lam=config["lam"],
        lr=config["text"],
        align=config["align"],
        train=config["train_w"],
        components=config["svd_components"],
        mean_view="original" not in config["branch"],
        released="number of sets" in config["entropy_normaliser"],
    )
    given = case["out.text_embedding_sets"]
    prompts = prompt_features(case)
    if prompts is not None:
        case.near("out.text_embedding_sets", text_sets(prompts), LOGITS)
    out = method.run(case["features"], given, case.document["logit_scale"])
    case.near("out.probabilities", out.probabilities, 1e-4)
    case.near("out.logits_original_view", out.logits, 1e-4)
    case.same("out.preds_of_the_sets", out.votes)
    case.near("out.reliability_weight", out.reliability, 1e-4)
    case.near("out.normalised_entropy", out.entropy, 1e-4)
    case.near("loss.total", out.losses, 1e-3)
    case.near("loss.align", out.alignment, 1e-3)
    case.near("grad.residual", out.gradient, 1e-3)
    case.near("step1.residual", out.residual, 1e-2)
    case.same("cache.index", out.images)
    case.same("out.number_of_global_updates", out.updates)
    case.near("final.global_text_sets", out.text, 1e-4)
    return ("features", "labels", "template.", "out.text_embedding_sets", "cache.", "out.")


def cots_(case):
    share = float(case.config["selection"].split("floor(")[1].split()[0])
    out = cots(
        case["logits_adapted"].numpy(),
        case["logits_zero_shot"].numpy(),
        case["text_features_norm_adapted"].numpy(),
        share=share,
    )
    case.near("out.temperature", out.temperature, 1e-4)
    case.same("out.selected", out.selected)
    case.near("out.probabilities", out.probabilities, 1e-4)
    case.near("out.probabilities_ensemble", out.ensemble, 1e-4)
    case.near("out.alpha", out.share, 1e-9)
    return ("logits_", "text_features", "out.objective")


ADAPTERS = {
    "tpt": tpt,
    "c_tpt": tpt,
    "o_tpt": tpt,
    "a_tpt": tpt,
    "tda": tda,
    "dmn": dmn,
    "reta": reta,
    "cots": cots_,
}
