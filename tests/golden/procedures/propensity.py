"""Calibrated propensity scores, effects and diagnostics."""

import numpy as np

from vlmcal.causal.diagnostics import diagnose
from vlmcal.causal.effects import effect
from vlmcal.causal.schemes import Nested, calibrate_scores

METHODS = {"platt": "platt(smooth=false)", "isotonic": "isotonic"}


def propensity(case):
    given = {k: case.tensors[k].numpy() for k in case.tensors}
    d, y, fold, clip = given["d"], given["y"], given["fold"], case.config["clip"]
    nested = Nested(
        given["nested.scores_test"], given["nested.scores_calibration"], given["nested.half"]
    )
    for key in [k[2:] for k in given if k.startswith("m.")]:
        scheme, _, method = key.partition(".")
        scores = given["true_propensity"] if scheme == "oracle" else given["scores"]
        m = calibrate_scores(
            scores,
            d,
            fold,
            scheme="none" if scheme == "oracle" else scheme,
            method=METHODS[method or "platt"],
            clip=clip,
            nested=nested,
        )
        loose = 1e-5 if method == "platt" else 1e-9
        case.near(f"m.{key}", m, loose)
        compare_effects(case, given, key, m, loose)
        compare_diagnostics(case, given, key, m, loose)
    for number, scheme in ((1, "none"), (3, "within-fold"), (5, "full-sample")):
        m = calibrate_scores(given["scores"], d, fold, scheme=scheme, method="isotonic", clip=clip)
        case.near(f"reference.alg{number}", m, 1e-9)
        case.near(
            f"reference.alg{number}.ipw", exactly(effect(y, d, m, estimator="ht").value), 1e-9
        )
        stable = effect(y, d, m, estimator="hajek").value
        case.near(f"reference.alg{number}.ipw_stabilised", exactly(stable), 1e-9)
    for key in [
        k for k in given if k.startswith(("reference.alg2", "reference.alg4")) and k.count(".") == 1
    ]:
        m = given[key]
        case.near(f"{key}.ipw", exactly(effect(y, d, m, estimator="ht").value), 1e-9)
        case.near(f"{key}.ipw_stabilised", exactly(effect(y, d, m, estimator="hajek").value), 1e-9)
    return (
        "X",
        "d",
        "y",
        "fold",
        "scores",
        "g0",
        "g1",
        "l",
        "nested.",
        "true_",
        "reference.alg2_",
        "reference.alg4_",
    )


def exactly(value):
    return np.asarray(value, dtype=np.float64)  # a bare float would become float32


def compare_effects(case, given, key, m, limit):
    known = {"g0": given["g0"], "g1": given["g1"], "mean": given["l"]}
    for name in ("ht", "hajek", "aipw", "plr_residual", "att_hajek", "overlap"):
        out = effect(given["y"], given["d"], m, estimator=name, **known)
        case.near(f"estimate.{key}.{name}", exactly(out.value), limit)
        case.near(f"se.{key}.{name}", exactly(out.se), limit)


def compare_diagnostics(case, given, key, m, limit):
    out = diagnose(m, given["d"], given["X"])
    found = {
        "ess": np.array(out.effective),
        "max_weight": np.array(out.largest),
        "mean_d_over_m": out.mean_weight[0],
        "mean_1d_over_1m": out.mean_weight[1],
        "ece_equal_mass_10": out.ece,
        "brier": out.brier,
        "log_loss": out.log_loss,
        "distinct_scores": out.distinct,
        "smd_before": out.before,
        "smd_after": out.after,
    }
    for name, value in found.items():
        case.near(f"diagnostic.{key}.{name}", exactly(value), limit)


ADAPTERS = {"propensity": propensity}
