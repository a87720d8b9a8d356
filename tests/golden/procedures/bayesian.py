"""Distributions over prompts: Bayesian CoOp and Bayesian Prompt Learning."""

import torch
from tiny import tiny_clip
from torch.nn.functional import cross_entropy, normalize
from vectors import folders

from vlmcal.learners.base import ClassContext
from vlmcal.learners.bayes_coop import BayesCoOp
from vlmcal.learners.bpl import BPL
from vlmcal.learners.sampled_prompts import mixture, predictive
from vlmcal.objectives.sampled_ce import SampledCE
from vlmcal.types.outputs import Outputs


def prepared(case, kind, dtype, **options):
    (folder, *_) = folders("VLMCAL_GOLDEN_METHODS", "methods")
    encoder = tiny_clip(folder, dtype).with_logit_scale(case.document["logit_scale"])
    context = next(case[k] for k in ("learned.mu", "learned.ctx") if k in case.tensors)
    config = kind.Config(init=None, n_ctx=len(context), **options)
    learner = kind(ClassContext(encoder, tuple(case.names()), ("a photo of a {}.",)), config)
    with torch.no_grad():
        learner.ctx.copy_(context)
        image = normalize(encoder.encode_pixels(case["images"].to(dtype)), dim=-1)
    return learner, image, case["labels"]


def gradients(loss, parameters):
    return torch.autograd.grad(loss, parameters, retain_graph=True)


def bayes_coop(case):
    config, dtype, limit = case.config, torch.float64, 1e-9
    rank = config["rank"] if config["rank"] in ("token", "token_dim") else "token_dim"
    learner, image, labels = prepared(
        case, BayesCoOp, dtype, rank=rank, prior_sigma=config["prior_sigma"]
    )
    with torch.no_grad():
        learner.rho.copy_(case["learned.rho"].reshape(learner.rho.shape))
        learner.prior_mean.copy_(case["prior.mean"])
    scores = learner.prompt_scores(image, case["noise.train"])
    case.near("image_features_norm", image, limit)
    case.near("out.sigma", learner.sigma, limit)
    case.near("out.contexts", learner.sampled(case["noise.train"]), limit)
    case.near("out.logits", scores, limit)
    learner.training_rows = config["N"]
    penalty = config["kl_weight"] * learner.divergence()
    case.near("out.kl", learner.kl(), limit)
    losses = {
        "elbo": SampledCE().compute(Outputs(sample_logits=scores.transpose(0, 1), labels=labels)),
        "mixture": cross_entropy(mixture(scores), labels),
    }
    for name, loss in losses.items():
        case.near(f"loss.{name}_nll", loss, limit)
        case.near(f"loss.{name}_total", loss + penalty, limit)
        for part, grad in zip(
            ("mu", "rho"), gradients(loss + penalty, (learner.ctx, learner.rho)), strict=True
        ):
            case.near(f"grad.{name}_{part}", grad, limit)
    for part, grad in zip(
        ("mu", "rho"), gradients(learner.kl(), (learner.ctx, learner.rho)), strict=True
    ):
        case.near(f"grad.kl_{part}", grad, limit)
    out = predictive(learner.prompt_scores(image, case["noise.eval"]))
    case.near("eval.probabilities", out.log_probabilities.exp(), limit)
    case.near("eval.total_entropy", out.total, limit)
    case.near("eval.aleatoric_entropy", out.aleatoric, limit)
    case.near("eval.mutual_information", out.information, limit)
    case.near("eval.vote_share", out.votes, limit)
    return ("images", "labels", "learned.", "noise.", "prior.", "token_ids")


def bpl(case):
    learner, image, labels = prepared(case, BPL, torch.float32)
    with torch.no_grad():
        learner.mean.copy_(case["learned.mean"])
        learner.log_variance.copy_(case["learned.log_variance"])
    noise = case["noise.train"]
    task = cross_entropy(mixture(learner.prompt_scores(image, noise)), labels)
    loss = task + case.config["kl_weight"] * learner.divergence()
    case.near("image_features_norm", image, 1e-4)
    case.near("out.kl_mean_over_dims", learner.divergence(), 1e-4)
    case.near("loss.task", task, 1e-4)
    case.near("loss.total", loss, 1e-4)
    parts = {"ctx": learner.ctx, "mean": learner.mean, "log_variance": learner.log_variance}
    for (name, _), grad in zip(parts.items(), gradients(loss, list(parts.values())), strict=True):
        case.near(f"grad.{name}", grad, 2e-4)
    shift = learner.sampled(noise) - learner.ctx
    case.near("out.sampled_shift", shift[:, :1], 1e-4)
    scores = learner.prompt_scores(image, case["noise.eval"])
    case.near("out.log_averaged_probabilities", mixture(scores), 1e-4)
    case.near("out.mean", learner.mean, 1e-6)
    case.near("out.log_variance", learner.log_variance, 1e-6)
    return ("images", "labels", "learned.", "noise.", "token_ids")


ADAPTERS = {"bayes_coop": bayes_coop, "bpl": bpl, "bayesian prompt": bpl}
