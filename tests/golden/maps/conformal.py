"""Adapters for the golden family "conformal": they only rename arguments and pass options."""

from vlmcal.conformal.aps import APS
from vlmcal.conformal.lac import LAC
from vlmcal.conformal.margin import Margin
from vlmcal.conformal.raps import RAPS
from vlmcal.conformal.saps import SAPS
from vlmcal.conformal.topk import TopK
from vlmcal.types.predictions import Predictions


def _rows(logits, labels, prefix):
    return Predictions(
        logits=logits, labels=labels, ids=[f"{prefix}{i}" for i in range(len(logits))]
    )


def _run(predictor, cal_logits, cal_labels, test_logits, alpha, u_cal=None, u_test=None):
    calibration = _rows(cal_logits, cal_labels, "calibration ")
    test = _rows(test_logits, [0] * len(test_logits), "test ")
    predictor.fit(calibration, alpha, uniforms=u_cal)
    return {
        "cal_scores": predictor.label_scores(calibration, u_cal),
        "q_hat": predictor.threshold_,
        "sets": predictor.predict(test, uniforms=u_test).sets,
    }, test


def _torchcp(predictor, u_test_sorted=None, **inputs):
    result, test = _run(predictor, u_test=u_test_sorted, **inputs)
    return {**result, "test_scores": predictor.scores(test, u_test_sorted)}


def torchcp_lac(randomized, **inputs):
    assert not randomized
    return _torchcp(LAC(), **inputs)


def torchcp_aps(randomized, **inputs):
    return _torchcp(APS(rule="torchcp", randomised=randomized), **inputs)


def torchcp_raps(randomized, penalty, kreg, **inputs):
    method = RAPS(rule="torchcp", randomised=randomized, penalty=penalty, k_reg=kreg)
    return _torchcp(method, **inputs)


def torchcp_saps(randomized, weight, **inputs):
    return _torchcp(SAPS(rule="torchcp", randomised=randomized, weight=weight), **inputs)


def torchcp_topk(randomized, **inputs):
    return _torchcp(TopK(rule="torchcp", randomised=randomized), **inputs)


def torchcp_margin(randomized, **inputs):
    assert not randomized
    return _torchcp(Margin(), **inputs)


def mapie_lac(**inputs):
    return _run(LAC(rule="mapie"), **inputs)[0]


def mapie_top_k(**inputs):
    return _run(TopK(rule="mapie"), **inputs)[0]


def mapie_aps(include_last_label, **inputs):
    return _run(APS(rule="mapie", include_last_label=include_last_label), **inputs)[0]


MAP = {
    "torchcp_lac": torchcp_lac,
    "torchcp_aps": torchcp_aps,
    "torchcp_raps": torchcp_raps,
    "torchcp_saps": torchcp_saps,
    "torchcp_topk": torchcp_topk,
    "torchcp_margin": torchcp_margin,
    "mapie_lac": mapie_lac,
    "mapie_top_k": mapie_top_k,
    "mapie_aps": mapie_aps,
}
