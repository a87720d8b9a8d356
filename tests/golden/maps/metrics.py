"""Golden case name -> the project's function; adapters rename and pass options only."""

from functools import partial

import numpy as np
from scipy.special import softmax

from vlmcal.metrics.accuracy import accuracy, balanced_accuracy
from vlmcal.metrics.auprc import auprc_error
from vlmcal.metrics.aurc import aurc, e_aurc
from vlmcal.metrics.auroc import fpr_at_nearest_tpr
from vlmcal.metrics.brier import brier
from vlmcal.metrics.debiased_ece import squared_ece
from vlmcal.metrics.kde_ece import kde_ece_loo
from vlmcal.metrics.nll import nll
from vlmcal.metrics.published import evaluators as paper
from vlmcal.metrics.published import libraries as library
from vlmcal.metrics.published.binning import torch_edges
from vlmcal.metrics.published.probmetrics import probmetrics_errors
from vlmcal.metrics.published.smooth_ece import published_smooth_calibration
from vlmcal.metrics.published.verified import verified_calibration_error
from vlmcal.metrics.refinement import refinement_split
from vlmcal.metrics.set_mass import cumulative_mass_ce
from vlmcal.types.scores import ClassProbabilities

NEW = "averaged_inverted_cdf"
MAP = {}


def case(function):
    MAP[function.__name__] = function
    return function


def top(logits, label):
    source = ClassProbabilities(logits, "logits")
    return source.summary.confidence, source.summary.predicted == label


@case
def ece_seed(conf, pred, label, bins):
    return {"ece": paper.tcpt_ece(conf, pred == label, bins=bins)}


@case
def mce_seed(conf, pred, label, bins):
    return {"mce": paper.tcpt_mce(conf, pred == label, bins=bins)}


def adaptive(function, conf, pred, label, bins):
    correct = pred == label
    return {
        "ace": function(conf, correct, bins=bins),
        "ace_sklearn_1_9": function(conf, correct, bins=bins, quantiles=NEW),
    }


def by_distance(function, conf, pred, label, knn_dist, dist_bins, conf_bins):
    correct, options = pred == label, {"bins": conf_bins, "proximity_bins": dist_bins}
    return {
        "piece": function(conf, correct, knn_dist, **options),
        "piece_sklearn_1_9": function(conf, correct, knn_dist, **options, quantiles=NEW),
    }


MAP["adaptive_ece_seed"] = partial(adaptive, paper.tcpt_adaptive_ece)
MAP["adaptive_ece_dac"] = partial(adaptive, paper.dac_adaptive_ece)
MAP["piece_seed"] = partial(by_distance, paper.tcpt_piece)
MAP["piece_dac"] = partial(by_distance, paper.dac_piece)


@case
def macro_f1_seed(pred, label):
    return {"macro_f1": paper.tcpt_macro_f1(pred, label)}


@case
def ece_dac(conf, pred, label, bins):
    return {"ece": paper.dac_ece(conf, pred == label, bins=bins)}


@case
def mce_dac(conf, pred, label, bins):
    return {"mce": paper.dac_mce(conf, pred == label, bins=bins)}


@case
def ece_kde_gaussian(conf, pred, label, p, bandwidth):
    return {"ece_kde": kde_ece_loo(conf, pred == label, width=bandwidth, power=p)}


@case
def ece_clipcalib(conf, pred, label, bins):
    return {"ece": library.clipcalib_errors(conf, pred == label, bins=bins).ece}


@case
def mce_clipcalib(conf, pred, label, bins):
    return {"mce": library.clipcalib_errors(conf, pred == label, bins=bins).mce}


@case
def average_ce_clipcalib(conf, pred, label, bins):
    return {"ace": library.clipcalib_errors(conf, pred == label, bins=bins).average}


@case
def l2_ce_clipcalib(conf, pred, label, bins):
    return {"l2": library.clipcalib_errors(conf, pred == label, bins=bins).l2}


@case
def ece_ctpt(conf, pred, label, bins):
    table = paper.ctpt_bins(conf, pred == label, bins=bins)
    return {
        "ece": paper.ctpt_ece(conf, pred == label, bins=bins),
        "bin_accuracy": table.accuracy,
        "bin_confidence": table.confidence,
        "bin_count": table.rows,
    }


@case
def netcal_confidence(conf, correct, bins):
    found = library.netcal_errors(conf, correct, bins=bins)
    return {"ece": found.ece, "mce": found.mce, "ace": found.average}


@case
def torchmetrics_confidence(conf, correct, bins):
    found = library.torchmetrics_errors(conf, correct, bins=bins)
    return {"l1": found.ece, "l2": found.l2, "max": found.mce}


@case
def smece(conf, correct, eps, logit_scaling, mesh_points):
    assert not logit_scaling
    run = partial(published_smooth_calibration, conf, correct, step=eps, mesh=mesh_points)
    value, width = run()
    return {
        "smece": value,
        "sigma": width,
        "smece_sigma_0.05": run(width=0.05).value,
        "binned_ece_10": library.left_closed_errors(conf, correct, bins=10).ece,
    }


@case
def ci_ece(Z_topk, Y_topk, bins_per_dim, topk, alpha):
    found = squared_ece(Z_topk, Y_topk, bins=bins_per_dim, level=1 - alpha, close_last=False)
    return {
        "T": found.value,
        "sigma1_sq": found.variance,
        "ci_lower_sq": found.low,
        "ci_upper_sq": found.high,
    }


MAP["aurc"] = lambda conf, correct: {
    "aurc": aurc(conf, correct, ties="input-order"),
    "eaurc": e_aurc(conf, correct, ties="input-order"),
}


@case
def evaluator_seed(logits, label, model_output_dtype, knn_dist=None):
    conf = paper.tcpt_confidences(logits, model_output_dtype)
    pred = np.asarray(logits).astype(model_output_dtype).argmax(axis=1)
    out = {
        "accuracy": accuracy(pred, label),
        "error_rate": 1 - accuracy(pred, label),
        "macro_f1": paper.tcpt_macro_f1(pred, label),
        "ece": paper.tcpt_ece(conf, pred == label),
        "mce": paper.tcpt_mce(conf, pred == label),
        "adaptive_ece": paper.tcpt_adaptive_ece(conf, pred == label),
        "adaptive_ece_sklearn_1_9": paper.tcpt_adaptive_ece(conf, pred == label, quantiles=NEW),
        "perclass_accuracy": balanced_accuracy(pred, label),
    }
    if knn_dist is not None:
        out |= by_distance(paper.tcpt_piece, conf, pred, label, knn_dist, 10, 10)
    return {key: 100 * value for key, value in out.items()}


@case
def ece_loss_clipcalib(logits, label, bins):
    return {"ece": library.edge_ece(*top(logits, label), torch_edges(bins))}


@case
def adaptive_ece_clipcalib(logits, label, bins):
    return {"ace": library.clipcalib_adaptive_ece(*top(logits, label), bins=bins)}


@case
def classwise_ece_clipcalib(logits, label, bins):
    return {"cece": library.clipcalib_classwise_ece(softmax(logits, 1), label, bins=bins)}


@case
def classwise_ece_mdca(logits, label, bins):
    return {"sce": library.mdca_classwise_ece(softmax(logits, 1), label, bins=bins)}


@case
def brier_mdca(logits, label):
    return {"brier": brier(ClassProbabilities(logits, "logits"), label)}


@case
def nll_brier_aurc_crl(logits, label):
    source = ClassProbabilities(logits, "logits")
    return {
        "nll": nll(source, label),
        "brier": brier(source, label),
        "aurc": aurc(*top(logits, label), ties="input-order"),
        "eaurc": e_aurc(*top(logits, label), ties="input-order"),
    }


@case
def failure_detection_crl(logits, label):
    return {
        "aupr_error": auprc_error(*top(logits, label)),
        "fpr_at_95_tpr": fpr_at_nearest_tpr(*top(logits, label)),
    }


@case
def torchmetrics_multiclass(logits, label):
    out = {}
    for bins in (10, 15):
        found = library.torchmetrics_errors(*top(logits, label), bins=bins)
        out |= {f"l1_{bins}": found.ece, f"l2_{bins}": found.l2, f"max_{bins}": found.mce}
    return out


@case
def netcal_multiclass(logits, label, bins):
    found = library.netcal_multiclass_errors(softmax(logits, 1), label, bins=bins)
    return {"ece": found.ece, "mce": found.mce, "ace": found.average}


@case
def verified_calibration(logits, label):
    p = softmax(logits, 1)
    out = {}
    for mode in ("top-label", "marginal"):
        for rule in ("l1_plugin", "l2_plugin", "l2_debiased"):
            out[f"{mode}_{rule}"] = verified_calibration_error(p, label, mode=mode, estimator=rule)
        out[f"{mode}_ece15"] = verified_calibration_error(p, label, mode=mode, estimator="ece")
    return out


@case
def probmetrics_basic(logits, label):
    source = ClassProbabilities(logits, "logits")
    found = probmetrics_errors(softmax(logits, 1), label)
    return {
        "logloss": nll(source, label),
        "brier": brier(source, label),
        "class-error": 1 - accuracy(source.summary.predicted, label),
        "logloss-clip1e-06": nll(softmax(logits, 1), label, clip=1e-6),
        "smece": found.smooth_ece,
        "ece-15": found.ece,
        "rmsce-15": found.rmsce,
        "mce-15": found.mce,
    }


@case
def refinement_calibration_split(logits, label, calibrator, splitter, random_state):
    kind = "temperature" if calibrator.startswith("temp") else "isotonic"
    short = {"temperature": "ts-mix", "isotonic": "isotonic-mix"}[kind]
    folds = 0 if splitter == "all" else int(splitter.removeprefix("cv-"))
    out = {}
    for name, loss in (("logloss", "nll"), ("brier", "brier")):
        parts = refinement_split(
            ClassProbabilities(logits, "logits"),
            label,
            loss=loss,
            recalibrator=kind,
            folds=folds,
            seed=random_state,
        )
        out[f"calib-err_{name}_{short}_{splitter}"] = parts.calibration
        out[f"refinement_{name}_{short}_{splitter}"] = parts.refinement
    return out


MAP["cumulative_mass_ce"] = lambda probs, labels, bins, strategy, weighted: {
    "cmce": cumulative_mass_ce(probs, labels, bins=bins, strategy=strategy, weighted=weighted)
}
