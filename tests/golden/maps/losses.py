"""Adapters from the golden names of training losses to the objectives; they only rename."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vlmcal.learners.averaging import aggregation_weights
from vlmcal.objectives.ada_focal import EDGES, GAMMAS, AdaFocal
from vlmcal.objectives.avuc import google_avuc
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.objectives.combiners import projected
from vlmcal.objectives.compose import parse_objective
from vlmcal.objectives.kde_ece import best_bandwidth
from vlmcal.objectives.soft_avuc import soft_avuc
from vlmcal.objectives.soft_ece import decayed, soft_binned_ece
from vlmcal.objectives.text_angles import smallest_angles
from vlmcal.objectives.tpt_entropy import confident_views
from vlmcal.types.outputs import Outputs

Adapter = Callable[..., dict[str, Any]]
MAP: dict[str, Adapter] = {}


def golden(*names: str) -> Callable[[Adapter], Adapter]:
    """File an adapter that takes torch tensors under ``names``."""

    def add(adapter: Adapter) -> Adapter:
        adapter.torch_inputs = True  # type: ignore[attr-defined]
        MAP.update(dict.fromkeys(names, adapter))
        return adapter

    return add


def loss(name: str, outputs: Outputs, **fields: Any) -> dict[str, Any]:
    return {"loss": OBJECTIVES.get(name)(**fields).loss(outputs)}


def total(spec: list[Any], outputs: Outputs) -> dict[str, Any]:
    terms = parse_objective(spec, allow_incomplete=True).terms(outputs)
    return {"loss": sum(term.value * term.weight for term in terms.values())}


def batch(logits: Tensor, labels: Tensor, **more: Any) -> Outputs:
    return Outputs(logits=logits, labels=labels, **more)


def of_batch(
    golden_name: str, name: str, renamed: dict[str, str] | None = None, **fixed: Any
) -> None:
    """Map a loss of logits and labels whose parameters only change their names."""

    @golden(golden_name)
    def adapter(logits: Tensor, labels: Tensor, **params: Any) -> dict[str, Any]:
        fields = {(renamed or {}).get(key, key): value for key, value in params.items()}
        return loss(name, batch(logits, labels), **fields, **fixed)


def of_text(golden_name: str, name: str, **fixed: Any) -> None:
    """Map a loss of text features, tuned alone or tuned and frozen."""

    @golden(golden_name)
    def adapter(
        text_features: Tensor | None = None,
        tuned: Tensor | None = None,
        frozen: Tensor | None = None,
    ) -> dict[str, Any]:
        text = tuned if text_features is None else text_features
        return loss(name, Outputs(text_features=text, frozen_text_features=frozen), **fixed)


of_batch("cross_entropy", "ce")
of_batch("tcpt_margin_mean_var", "margin_mean_var")
of_batch("tcpt_inter_class_margin_variance", "margin_mean_var", alpha=0.0, beta=1.0)
of_batch("tcpt_margin_band", "margin_band", {"eps": "epsilon"})
of_batch("calibprompt_ls", "label_smoothing", {"a": "alpha"}, form="others")
of_batch("smac", "smac", {"a": "alpha"})
of_batch("mdca", "mdca")
of_batch("dca", "dca")
of_batch("mmce_weighted", "mmce", published_normalisation=True)
of_batch("mmce_unweighted", "mmce", form="unweighted")
of_batch("focal_mean", "focal")
of_batch("calibprompt_focal", "focal")
of_batch("focal_sum", "focal", reduction="sum")
of_batch("flsd53_mean", "flsd")
of_batch("flsd53_sum", "flsd", reduction="sum")
of_batch("dual_focal_mean", "dual_focal")
of_batch("dual_focal_sum", "dual_focal", reduction="sum")
of_batch("mbls", "mbls")
of_batch("mbls_tcpt", "mbls")
of_batch("label_smoothing_a", "label_smoothing")
of_batch("label_smoothing_b", "label_smoothing", form="others")
of_batch("ecp", "entropy_penalty")
of_batch("l1_penalty", "l1_penalty")
of_batch("acls", "acls", {"pos_lambda": "positive", "neg_lambda": "negative"})
of_batch("logitnorm", "logit_norm", {"T": "temperature"})
of_batch("brier_loss", "brier")
of_batch("avuc_intel", "avuc")
of_batch("soft_label_binned_sq", "soft_ece", {"temp": "temperature"}, form="label_binned")

of_text("text_moment_matching", "text_moments")
of_text("text_covariance_match", "text_moments", mean_weight=0.0)
of_text("angular_separation", "angular_separation")
of_text("tcpt_proda_lm", "prompt_diversity", between="classes")
of_text("kgcoop_score", "kgcoop")


@golden("mdca_total")
def mdca_total(
    logits: Tensor, labels: Tensor, base: str, alpha: float, beta: float, gamma: float
) -> dict[str, Any]:
    bases = {
        "NLL": {"name": "ce"},
        "FL": {"name": "focal", "gamma": gamma},
        "LS": {"name": "label_smoothing", "form": "others", "alpha": alpha},
    }
    return total([bases[base], {"name": "mdca", "weight": beta}], batch(logits, labels))


@golden("dca_total")
def dca_total(logits: Tensor, labels: Tensor, beta: float) -> dict[str, Any]:
    return total(["ce", {"name": "dca", "weight": beta}], batch(logits, labels))


@golden("mmce_weighted_total")
def mmce_weighted_total(logits: Tensor, labels: Tensor, beta: float) -> dict[str, Any]:
    mmce = {"name": "mmce", "weight": beta, "published_normalisation": True}
    return total(["ce", mmce], batch(logits, labels))


@golden("mmce_unweighted_total")
def mmce_unweighted_total(logits: Tensor, labels: Tensor, lamda: float) -> dict[str, Any]:
    mmce = {"name": "mmce", "weight": lamda, "form": "unweighted"}
    return total(["ce", mmce], batch(logits, labels))


@golden("kcal_mmce_mixed")
def kcal_mmce_mixed(logits: Tensor, labels: Tensor, w_nll: float, w_mmce: float) -> dict[str, Any]:
    mmce = {"name": "mmce", "weight": w_mmce, "published_normalisation": True}
    return total([{"name": "ce", "weight": w_nll}, mmce], batch(logits, labels))


@golden("adafocal_sum")
def adafocal_sum(
    logits: Tensor, labels: Tensor, gammas: Any, lower: Any, upper: Any
) -> dict[str, Any]:
    memory = {GAMMAS: torch.as_tensor(gammas), EDGES: torch.as_tensor(lower)[1:]}
    return loss("ada_focal", batch(logits, labels, memory=memory), reduction="sum")


@golden("adafocal_gamma_update")
def adafocal_gamma_update(
    gamma: Tensor,
    calibration_gap: Tensor,
    lam: float,
    switch_pt: float,
    gamma_min: float,
    gamma_max: float,
) -> dict[str, Any]:
    rule = AdaFocal(rate=lam, switch=switch_pt, gamma_min=gamma_min, gamma_max=gamma_max)
    return {"gamma_next": rule.next_gammas(gamma, calibration_gap)}


@golden("crl_ranking")
def crl_ranking(
    logits: Tensor,
    labels: Tensor,
    sample_indices: Tensor,
    correctness_counts: Tensor,
    rank_target: str,
    max_correctness: int,
    entropy_normaliser: float,
    rank_weight: float,
) -> dict[str, Any]:
    outputs = batch(
        logits,
        labels,
        correctness=correctness_counts[sample_indices],
        epoch=int(max_correctness),
        memory={"correctness": correctness_counts},
    )
    ranking = {
        "name": "crl",
        "rank": rank_target,
        "normalise": "range",
        "entropy_normaliser": entropy_normaliser,
    }
    return with_total(outputs, ranking, ["ce", {**ranking, "weight": rank_weight}], "total", logits)


@golden("kernel_calibration_mmd")
def kernel_calibration_mmd(
    logits: Tensor,
    labels: Tensor,
    x: Tensor,
    bandwidth_x: float,
    bandwidth_y: float,
    w_nll: float,
    w_mmd: float,
) -> dict[str, Any]:
    kernel = {"name": "kernel_mmd", "bandwidth_x": bandwidth_x, "bandwidth_y": bandwidth_y}
    mixed = [{"name": "ce", "weight": w_nll}, {**kernel, "weight": w_mmd}]
    outputs = batch(logits, labels, image_features=x)
    return with_total(outputs, {**kernel, "weight": 1.0}, mixed, "mixed", logits)


def with_total(
    outputs: Outputs, part: dict[str, Any], whole: list[Any], key: str, logits: Tensor
) -> dict[str, Any]:
    """A term alone and in a sum, with the sum's own gradient."""
    value = total([{**part, "weight": 1.0}], outputs)["loss"]
    summed = total(whole, outputs)["loss"]
    (grad,) = torch.autograd.grad(summed, logits, retain_graph=True)
    return {"loss": value, f"{key}_loss": summed, f"grad_{key}_logits": grad}


@golden("ece_kde_dirichlet")
def ece_kde_dirichlet(
    logits: Tensor, labels: Tensor, bandwidth: float | None, p: int, mc_type: str
) -> dict[str, Any]:
    return {
        **loss(
            "kde_ece",
            batch(logits, labels),
            kind=mc_type,
            power=p,
            bandwidth=bandwidth,
            density_floor=1e-10,
        ),
        "selected_bandwidth": best_bandwidth(torch.softmax(logits, dim=1), released=True),
    }


@golden("carot_orthogonality")
def carot_orthogonality(visual_proj: Tensor) -> dict[str, Any]:
    outputs = Outputs(parameters={"visual_projection.weight": visual_proj})
    return loss("carot_orthogonality", outputs, layout="width_embed")


@golden("carot_cross_norm")
def carot_cross_norm(visual_proj: Tensor, text_proj: Tensor) -> dict[str, Any]:
    weights = {"visual_projection.weight": visual_proj, "text_projection.weight": text_proj}
    return loss("carot_cross", Outputs(parameters=weights), layout="width_embed")


@golden("carot_self_distillation")
def carot_self_distillation(
    image_features: Tensor,
    text_features: Tensor,
    teacher_image_features: Tensor,
    teacher_text_features: Tensor,
    logit_scale: float,
    teacher_logit_scale: float,
) -> dict[str, Any]:
    outputs = Outputs(
        labels=torch.arange(len(image_features)),
        image_features=image_features,
        text_features=text_features,
        frozen_image_features=teacher_image_features,
        frozen_text_features=teacher_text_features,
        logit_scale=torch.tensor(logit_scale, dtype=torch.float64),
    )
    return loss("carot_distillation", outputs, teacher_scale=teacher_logit_scale)


@golden("clip_contrastive")
def clip_contrastive(
    image_features: Tensor, text_features: Tensor, logit_scale: float
) -> dict[str, Any]:
    outputs = Outputs(
        labels=torch.arange(len(image_features)),
        image_features=image_features,
        text_features=text_features,
        logit_scale=torch.tensor(logit_scale, dtype=torch.float64),
    )
    return loss("clip_contrastive", outputs)


@golden("ctpt_dispersion")
def ctpt_dispersion(text_features: Tensor) -> dict[str, Any]:
    spec = [{"name": "text_dispersion", "weight": -1.0}]
    return total(spec, Outputs(text_features=text_features))


@golden("ctpt_term")
def ctpt_term(text_features: Tensor, lam: float) -> dict[str, Any]:
    spec = [{"name": "text_dispersion", "weight": lam}]
    return total(spec, Outputs(text_features=text_features))


@golden("otpt_term")
def otpt_term(text_features: Tensor, lam: float) -> dict[str, Any]:
    spec = [{"name": "text_orthogonality", "weight": lam}]
    return total(spec, Outputs(text_features=text_features))


@golden("atpt_term")
def atpt_term(text_features: Tensor, lam: float, tau: float) -> dict[str, Any]:
    spec = [{"name": "text_angles", "weight": lam, "tau": tau, "released_sign": True}]
    angles = smallest_angles(text_features, tau)
    return {
        **total(spec, Outputs(text_features=text_features)),
        "mean_min_angle": angles.mean(),
    }


@golden("tcpt_total")
def tcpt_total(
    logits: Tensor,
    labels: Tensor,
    tuned: Tensor,
    frozen: Tensor,
    alpha: float,
    beta: float,
    w_margin: float,
    w_moment: float,
) -> dict[str, Any]:
    margin = {"name": "margin_mean_var", "weight": w_margin, "alpha": alpha, "beta": beta}
    outputs = batch(logits, labels, text_features=tuned, frozen_text_features=frozen)
    return total(["ce", margin, {"name": "text_moments", "weight": w_moment}], outputs)


@golden("kgcoop_total")
def kgcoop_total(
    logits: Tensor, labels: Tensor, tuned: Tensor, frozen: Tensor, w: float
) -> dict[str, Any]:
    outputs = batch(logits, labels, text_features=tuned, frozen_text_features=frozen)
    return total(["ce", {"name": "kgcoop", "weight": w}], outputs)


@golden("calibprompt_total")
def calibprompt_total(
    logits: Tensor, labels: Tensor, text_features: Tensor, a: float, w_as: float
) -> dict[str, Any]:
    outputs = batch(logits, labels, text_features=text_features)
    return total([{"name": "calibprompt", "alpha": a, "separation": w_as}], outputs)


@golden("promptsrc_total")
def promptsrc_total(
    logits: Tensor,
    labels: Tensor,
    zs_logits: Tensor,
    tuned: Tensor,
    frozen: Tensor,
    image_features: Tensor,
    zs_image_features: Tensor,
    text_weight: float,
    image_weight: float,
) -> dict[str, Any]:
    outputs = batch(
        logits,
        labels,
        zero_shot_logits=zs_logits,
        text_features=tuned,
        frozen_text_features=frozen,
        image_features=image_features,
        frozen_image_features=zs_image_features,
    )
    spec = {"name": "prompt_src", "text_weight": text_weight, "image_weight": image_weight}
    terms = parse_objective(["ce", spec]).terms(outputs)
    weighted = {name: term.value * term.weight for name, term in terms.items()}
    return {
        "loss": sum(weighted.values()),
        "scl_text": weighted["prompt_src.text"],
        "scl_image": weighted["prompt_src.image"],
        "scl_logits": weighted["prompt_src.logits"],
    }


@golden("promptsrc_gpa_weights")
def promptsrc_gpa_weights(n_epochs: int, mean: float, std: float) -> dict[str, Any]:
    return {"weights": list(aggregation_weights(n_epochs, mean, std))}


@golden("avuc_google")
def avuc_google(
    probs: Tensor, labels: Tensor, entropy_threshold: float, stop_prob_gradients: bool
) -> dict[str, Any]:
    return {"loss": google_avuc(probs, labels, entropy_threshold, stop_prob_gradients)}


@golden("soft_avuc")
def soft_avuc_loss(probs: Tensor, labels: Tensor, temp: float, theta: float) -> dict[str, Any]:
    return {"loss": soft_avuc(probs, labels, temp, theta)}


@golden("soft_binned_ece")
def soft_binned(
    conf: Tensor, correct: Tensor, bins: int, temp: float | None, decay_factor: float | None
) -> dict[str, Any]:
    temperature = decayed(decay_factor, bins) if temp is None else temp
    hits = correct.to(conf.dtype)
    return {"loss": soft_binned_ece(conf, hits, bins, temperature, smallest_mass=1e-5)}


@golden("tpt_entropy")
def tpt_entropy(view_logits: Tensor, selection_p: float) -> dict[str, Any]:
    return {
        **loss("tpt_entropy", Outputs(logits=view_logits), share=selection_p, minimum_views=0),
        "selected_indices": confident_views(view_logits, selection_p, 0),
    }


@golden("tpt_avg_entropy")
def tpt_avg_entropy(view_logits: Tensor) -> dict[str, Any]:
    return loss("tpt_entropy", Outputs(logits=view_logits), share=1.0)


@golden("eccv_penalty_term")
def eccv_penalty_term(
    logits: Tensor, zs_logits: Tensor, labels: Tensor, weight: float
) -> dict[str, Any]:
    outputs = batch(logits, labels, zero_shot_logits=zs_logits)
    return total([{"name": "zs_penalty", "weight": weight}], outputs)


@golden("eccv_penalty_total")
def eccv_penalty_total(
    logits: Tensor, zs_logits: Tensor, labels: Tensor, weight: float
) -> dict[str, Any]:
    outputs = batch(logits, labels, zero_shot_logits=zs_logits)
    return total(["ce", {"name": "zs_penalty", "weight": weight}], outputs)


@golden("zs_norm")
def zs_norm(logits: Tensor, zs_logits: Tensor, labels: Tensor) -> dict[str, Any]:
    return loss("zs_norm", batch(logits, labels, zero_shot_logits=zs_logits), epsilon=0.0)


@golden("zs_norm_clamped")
def zs_norm_clamped(
    logits: Tensor, zs_logits: Tensor, labels: Tensor, eps: float
) -> dict[str, Any]:
    return loss("zs_norm", batch(logits, labels, zero_shot_logits=zs_logits), epsilon=eps)


@golden("prograd_xe")
def prograd_xe(logits: Tensor, zs_logits: Tensor, labels: Tensor, T: float) -> dict[str, Any]:
    return loss("ce", batch(logits, labels))


@golden("prograd_kl")
def prograd_kl(logits: Tensor, zs_logits: Tensor, labels: Tensor, T: float) -> dict[str, Any]:
    return loss("prograd", batch(logits, labels, zero_shot_logits=zs_logits), temperature=T)


@golden("tcpt_progradloss")
def tcpt_progradloss(logits: Tensor, zs_logits: Tensor, labels: Tensor) -> dict[str, Any]:
    return loss("prograd", batch(logits, labels, zero_shot_logits=zs_logits), combine="sum")


@golden("prograd_projection")
def prograd_projection(grad_task: Tensor, grad_kl: Tensor, lam: float) -> dict[str, Any]:
    return {"grad_out": projected(grad_task, grad_kl, lam)}


@golden("prograd_projection_multi")
def prograd_projection_multi(
    grad_task_0: Tensor,
    grad_task_1: Tensor,
    grad_kl_0: Tensor,
    grad_kl_1: Tensor,
    lam: float,
) -> dict[str, Any]:
    return {
        "grad_out_0": projected(grad_task_0, grad_kl_0, lam),
        "grad_out_1": projected(grad_task_1, grad_kl_1, lam),
    }
