"""Golden case name -> the project's function; adapters rename and pass options only."""

from vlmcal.metrics import published as paper

NEW = "averaged_inverted_cdf"


def ece_seed(conf, pred, label, bins):
    return {"ece": paper.tcpt_ece(conf, pred == label, bins=bins)}


def mce_seed(conf, pred, label, bins):
    return {"mce": paper.tcpt_mce(conf, pred == label, bins=bins)}


def adaptive_ece_seed(conf, pred, label, bins):
    correct = pred == label
    return {
        "ace": paper.tcpt_adaptive_ece(conf, correct, bins=bins),
        "ace_sklearn_1_9": paper.tcpt_adaptive_ece(conf, correct, bins=bins, quantiles=NEW),
    }


def piece_seed(conf, pred, label, knn_dist, dist_bins, conf_bins):
    correct, options = pred == label, {"bins": conf_bins, "proximity_bins": dist_bins}
    return {
        "piece": paper.tcpt_piece(conf, correct, knn_dist, **options),
        "piece_sklearn_1_9": paper.tcpt_piece(conf, correct, knn_dist, **options, quantiles=NEW),
    }


def macro_f1_seed(pred, label):
    return {"macro_f1": paper.tcpt_macro_f1(pred, label)}


def ece_dac(conf, pred, label, bins):
    return {"ece": paper.dac_ece(conf, pred == label, bins=bins)}


def mce_dac(conf, pred, label, bins):
    return {"mce": paper.dac_mce(conf, pred == label, bins=bins)}


MAP = {
    f.__name__: f
    for f in (ece_seed, mce_seed, adaptive_ece_seed, piece_seed, macro_f1_seed, ece_dac, mce_dac)
}
MAP["adaptive_ece_dac"] = adaptive_ece_seed
MAP["piece_dac"] = piece_seed
