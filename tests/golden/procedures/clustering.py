"""Calibrated deep clustering, one batch of it."""

import torch

from vlmcal.clustering.cdc import CDC, Settings, Views, hidden_prototypes
from vlmcal.clustering.kmeans import group_means, zscored

LIMIT = 1e-9


def cdc(case):
    config = case.config
    views = Views(*(case[f"features.{name}"].double() for name in ("val", "weak", "strong")))
    centres = case["init.kmeans1_centres"]
    rows = zscored(views.plain)
    case.near(
        "init.kmeans1_centres",
        group_means(rows, case["init.kmeans1_labels"].long(), len(centres)),
        LIMIT,
    )
    case.near("init.kmeans1_inertia", inertia(rows, centres, case["init.kmeans1_labels"]), LIMIT)
    hidden, second = hidden_prototypes(views.plain, centres), case["init.kmeans2_centres"]
    case.near("init.hidden_zscored", hidden, LIMIT)
    case.near(
        "init.kmeans2_centres",
        group_means(hidden, case["init.kmeans2_labels"].long(), len(second)),
        LIMIT,
    )
    case.near("init.kmeans2_inertia", inertia(hidden, second, case["init.kmeans2_labels"]), LIMIT)
    settings = Settings(
        sub_batch=config["sub_batch"],
        per_class=config["per_class_selected_num"],
        entropy=config["w_en"],
        lr=config["lr"],
    )
    heads = CDC(case["init.W1"], case["init.W2"], settings)
    found = heads.batch(views, case["step.super_cluster"].long())
    case.near("step.clustering_probabilities_val", found["clustering_probabilities"], LIMIT)
    case.near("step.calibration_probabilities_weak", found["calibration_probabilities"], LIMIT)
    case.near("step.super_target", found["targets"], LIMIT)
    case.same("step.pseudo_labels", found["labels"])
    case.same("step.selected", found["selected"])
    for name in ("ce", "soft_ce", "negative_entropy", "calibration_total"):
        case.near(f"loss.{name}", found[name], LIMIT)
    for side in ("clustering", "calibration"):
        head = getattr(heads, side)
        for name, tensor in head.named_parameters():
            if name != "linear1.bias":  # before a batch normalisation: its gradient is rounding
                case.near(f"grad_last.{side}.{name}", tensor.grad, LIMIT)
        for name, tensor in head.state_dict().items():
            if name != "linear1.bias":
                case.near(f"final.{side}.{name}", tensor, 1e-6)
    case.near("final.calibration_probabilities", heads.probabilities(views.plain), 1e-6)
    with torch.no_grad():
        raw = heads.clustering(views.plain).softmax(dim=1)
    case.near("final.clustering_probabilities", raw, 1e-6)
    rounding = [
        f"{kind}.{side}.linear1.bias"
        for kind in ("final", "grad_last")
        for side in ("clustering", "calibration")
    ]
    return ("features.", "init.", "step.super_cluster", "step.kmeans", "true_labels", *rounding)


def inertia(rows, centres, labels):
    return (rows - centres[labels.long()]).norm(dim=1).sum()


ADAPTERS = {"cdc": cdc}
