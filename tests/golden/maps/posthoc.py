"""Golden names of the post-hoc families: renaming of inputs and options, nothing else."""

import warnings

import numpy as np
from scipy.special import softmax

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.calibrators.proximity import proximity
from vlmcal.types.predictions import Predictions, from_probabilities

_NETCAL = {"absent": "zero"}
_PROCAL_BASES = {
    "histogram_binning": ("histogram", {"bins": 10, **_NETCAL}),
    "isotonic_regression": ("isotonic", _NETCAL),
    "multi_isotonic_regression": ("isotonic", {"form": "order_preserving"}),
}


def _logits(scores, labels=None, **extras):
    labels = np.zeros(len(scores), dtype=int) if labels is None else labels
    start = "test" if labels is None else "cal"
    ids = [f"{start}{i}" for i in range(len(scores))]
    return Predictions(logits=scores, labels=labels, ids=ids, extras=extras)


def _probs(probs, labels=None, **extras):
    labels = np.zeros(len(probs), dtype=int) if labels is None else labels
    return from_probabilities(probs, labels, extras=extras)


def _fit(name, predictions, **parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        return make(name, parameters).fit(predictions)


def _apply(calibrator, predictions):
    scores = calibrator.scores(predictions)
    return predictions.with_scores(scores.values, scores.kind, {}).probabilities()


def _netcal_shape(probs):
    """netcal returns only the probability of class 1 for two classes."""
    return probs[:, 1] if probs.shape[1] == 2 else probs


def temperature_scaling_bisection(cal_logits, cal_labels, test_logits, steps, lo, hi):
    del steps
    val, test = _logits(cal_logits, cal_labels), _logits(test_logits)
    bounds = (float(np.exp(-hi)), float(np.exp(-lo)))
    calibrator = _fit("temperature", val, bounds=bounds, at_bound="bound")
    mixture = _fit("mixture", val, parameters={"bounds": bounds, "at_bound": "bound"})
    log_probs = val.log_probabilities()
    return {
        "inv_temperature": 1 / calibrator.temperature_,
        "temperature": calibrator.temperature_,
        "probs": _apply(calibrator, test),
        "nll_before": -log_probs[np.arange(len(val)), val.labels].mean(),
        "nll_after": calibrator.nll_,
        "probs_ts_mix": _apply(mixture, test),
    }


def temperature_scaling_sklearn(cal_logits, cal_labels, test_logits):
    calibrator = _fit("temperature", _logits(cal_logits, cal_labels), at_bound="bound")
    # The reference turns two logits into the pair (-d, d), twice their usual distance.
    inverse = 1 / calibrator.temperature_ / (2 if cal_logits.shape[1] == 2 else 1)
    return {
        "inv_temperature": inverse,
        "temperature": 1 / inverse,
        "probs": _apply(calibrator, _logits(test_logits)),
    }


def _loss(loss):
    return {"ce": "nll", "mse": "brier"}[loss]


def temperature_scaling_mixnmatch(cal_logits, cal_labels, test_logits, loss, bounds_lo, bounds_hi):
    val = _logits(cal_logits, cal_labels)
    bounds = (bounds_lo, bounds_hi)
    calibrator = _fit("temperature", val, loss=_loss(loss), bounds=bounds, at_bound="bound")
    return {
        "temperature": calibrator.temperature_,
        "probs": _apply(calibrator, _logits(test_logits)),
    }


def ensemble_temperature_scaling(cal_logits, cal_labels, test_logits, loss):
    val = _logits(cal_logits, cal_labels)
    options = {"loss": _loss(loss), "bounds": (0.05, 5.0), "at_bound": "bound"}
    calibrator = _fit("ensemble_temperature", val, **options)
    return {
        "temperature": calibrator.temperature_,
        "weights": calibrator.weights_,
        "probs": _apply(calibrator, _logits(test_logits)),
    }


def vector_scaling(cal_logits, cal_labels, test_logits, reg_lambda):
    val = _logits(cal_logits, cal_labels)
    calibrator = _fit("vector", val, reg_lambda=reg_lambda)
    log_probs = val.log_probabilities()
    return {
        "probs": _apply(calibrator, _logits(test_logits)),
        "cal_nll": calibrator.nll_,
        "cal_nll_before": -log_probs[np.arange(len(val)), val.labels].mean(),
    }


def dirichlet_calibration(cal_logits, cal_labels, test_logits, reg_lambda, reg_mu=None):
    val = _logits(cal_logits, cal_labels)
    calibrator = _fit("dirichlet", val, reg_lambda=reg_lambda, reg_mu=reg_mu, reference_row=True)
    weights = np.column_stack([calibrator.weights_, calibrator.biases_])
    return {
        "probs": _apply(calibrator, _logits(test_logits)),
        "cal_nll": calibrator.nll_,
        "weights": weights - weights[-1],
    }


def histogram_binning(cal_probs, cal_labels, test_probs, bins, equal_intervals):
    strategy = "equal_width" if equal_intervals else "equal_mass"
    calibrator = _fit(
        "histogram", _probs(cal_probs, cal_labels), bins=bins, strategy=strategy, **_NETCAL
    )
    return _netcal_shape(_apply(calibrator, _probs(test_probs)))


def isotonic_netcal(cal_probs, cal_labels, test_probs):
    calibrator = _fit("isotonic", _probs(cal_probs, cal_labels), **_NETCAL)
    return _netcal_shape(_apply(calibrator, _probs(test_probs)))


def isotonic_ovr_sklearn(cal_probs, cal_labels, test_probs):
    calibrator = _fit("isotonic", _probs(cal_probs, cal_labels), **_NETCAL)
    return _apply(calibrator, _probs(test_probs))


def isotonic_ovr_mixnmatch(cal_probs, cal_labels, test_probs, input):
    del input  # log-probabilities: their softmax is the probabilities
    calibrator = _fit("isotonic", _probs(cal_probs, cal_labels), tie_break=1e-9, **_NETCAL)
    return calibrator.unnormalised(_probs(test_probs))


def isotonic_multi_mixnmatch(cal_probs, cal_labels, test_probs, input):
    del input
    calibrator = _fit("isotonic", _probs(cal_probs, cal_labels), form="order_preserving")
    return calibrator.unnormalised(_probs(test_probs))


def isotonic_multi_dac(cal_probs, cal_labels, test_probs, input):
    del input  # probabilities, which the reference takes for logits
    val = _probs(cal_probs, cal_labels)
    calibrator = _fit("isotonic", val, form="order_preserving", softmax_twice=True)
    return calibrator.unnormalised(_probs(test_probs))


def bbq(cal_probs, cal_labels, test_probs, score):
    calibrator = _fit(
        "bbq",
        _probs(cal_probs, cal_labels),
        score=score.lower(),
        strategy="equal_width",
        elbow=0.001,
        single=True,
        **_NETCAL,
    )
    return _netcal_shape(_apply(calibrator, _probs(test_probs)))


def procal_bin_mean_shift(
    cal_probs,
    cal_labels,
    test_probs,
    cal_proximity,
    test_proximity,
    base,
    proximity_bins,
    strategy,
    input,
):
    name, parameters = _PROCAL_BASES[base]
    calibrator = _fit(
        "procal_bin",
        _probs(cal_probs, cal_labels, proximity=cal_proximity),
        base=name,
        parameters={**parameters, "softmax_twice": input == "probs"},
        bins=proximity_bins,
        strategy={"quantile": "equal_mass", "uniform": "equal_width"}.get(strategy, strategy),
    )
    test = _probs(test_probs, proximity=test_proximity)
    if base == "multi_isotonic_regression":
        return calibrator.unnormalised(test)
    return _netcal_shape(_apply(calibrator, test))


def procal_density_ratio(
    cal_probs, cal_labels, test_probs, cal_proximity, test_proximity, bandwidth
):
    assert bandwidth == "normal_reference"
    calibrator = _fit("procal_density", _probs(cal_probs, cal_labels, proximity=cal_proximity))
    return _apply(calibrator, _probs(test_probs, proximity=test_proximity))


def proximity_forms(knn_dists):
    return {
        "proximity": proximity(knn_dists),
        "proximity_procal_script": proximity(knn_dists, "mean_of"),
    }


def dac(base_text_zs, current_text_zs, base_text_tuned, current_text_tuned, logits, k):
    predictions = _logits(
        logits,
        base_zero_shot_text_features=base_text_zs,
        base_text_features=base_text_tuned,
        zero_shot_text_features=current_text_zs,
        text_features=current_text_tuned,
    )
    calibrator = _fit("dac", predictions, k=k, divide_by_k=True)
    scores = calibrator.scores(predictions).values
    return {
        "gains": calibrator.gains(predictions),
        "logits_out": scores,
        "probs": softmax(scores, axis=1),
    }


def sals(logits, zs_logits):
    predictions = _logits(logits, zero_shot_logits=zs_logits)
    scores = _fit("sals", predictions).scores(predictions).values
    return {"logits_out": scores, "probs": softmax(scores, axis=1)}


_SCORES = {"thr": "lac", "aps": "aps"}


def set_mass_normalisation(cal_logits, cal_labels, test_logits, score, alpha):
    val, test = _logits(cal_logits, cal_labels), _logits(test_logits)
    calibrator = _fit(
        "set_mass",
        val,
        score=_SCORES[score],
        alpha=alpha,
        beyond="largest",
        edge_sets="reference",
    )
    return {
        "q_hat": calibrator.q_,
        "sets": calibrator.sets(test),
        "probs": _apply(calibrator, test),
    }


def set_conformal_temperature(
    cal_logits, cal_labels, test_logits, score, alpha, tol, max_iter, tau_min, tau_max
):
    val, test = _logits(cal_logits, cal_labels), _logits(test_logits)
    calibrator = _fit(
        "set_mass",
        val,
        form="temperature",
        score=_SCORES[score],
        alpha=alpha,
        beyond="largest",
        edge_sets="reference",
        tolerance=tol,
        max_iter=max_iter,
        tau_min=tau_min,
        tau_max=tau_max,
    )
    return {
        "sets": calibrator.sets(test),
        "tau": calibrator.temperatures(test),
        "probs": _apply(calibrator, test),
    }


MAP = {
    function.__name__: function
    for function in (
        temperature_scaling_bisection,
        temperature_scaling_sklearn,
        temperature_scaling_mixnmatch,
        ensemble_temperature_scaling,
        vector_scaling,
        dirichlet_calibration,
        histogram_binning,
        isotonic_netcal,
        isotonic_ovr_sklearn,
        isotonic_ovr_mixnmatch,
        isotonic_multi_mixnmatch,
        isotonic_multi_dac,
        bbq,
        procal_bin_mean_shift,
        procal_density_ratio,
        dac,
        sals,
        set_mass_normalisation,
        set_conformal_temperature,
    )
}
MAP["proximity"] = proximity_forms
