"""Calibrators that read features or zero-shot logits beside the scores."""

import numpy as np
import pytest
from scipy.stats import norm

from vlmcal.calibrators.base import CalibrationWarning, make
from vlmcal.calibrators.proximity import nearest, proximity, with_top_confidence
from vlmcal.errors import DataError, SpecError
from vlmcal.types.predictions import Predictions


def unit(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def scored(n, k=3, seed=0, prefix="v", **extras):
    rng = np.random.default_rng(seed)
    z = 3 * rng.normal(size=(n, k))
    y = (z / 2 + rng.gumbel(size=z.shape)).argmax(axis=1)
    extras = {name: np.asarray(value) for name, value in extras.items()}
    return Predictions(logits=z, labels=y, ids=[f"{prefix}{i}" for i in range(n)], extras=extras)


def dac_rows(current, base=None, seed=0, prefix="v"):
    extras = {"zero_shot_text_features": current[0], "text_features": current[1]}
    if base is not None:
        extras |= {"base_zero_shot_text_features": base[0], "base_text_features": base[1]}
    return scored(20, len(current[0]), seed, prefix, **extras)


def test_dac_gains_from_the_definition():
    frozen, tuned = unit(6, 8, 0), unit(6, 8, 1)
    new_frozen, new_tuned = unit(3, 8, 2), unit(3, 8, 3)
    p = dac_rows((new_frozen, new_tuned), (frozen, tuned))
    got = make("dac", {"k": 2}).fit(p).gains(p)
    for c in range(3):
        before = sorted(np.linalg.norm(frozen - new_frozen[c], axis=1))[:2]
        after = sorted(np.linalg.norm(tuned - new_tuned[c], axis=1))[:2]
        assert got[c] == pytest.approx(np.exp(np.mean(before) - np.mean(after)), rel=1e-7)


def test_dac_leaves_base_classes_alone_and_scales_rows_by_the_predicted_class():
    frozen, tuned = unit(6, 8, 0), unit(6, 8, 1)
    base = dac_rows((frozen[:4], tuned[:4]))
    new = dac_rows((frozen, tuned), seed=1, prefix="t")
    fitted = make("dac").fit(base)  # fitted on base rows, whose own text features are the base
    gains = fitted.gains(new)
    np.testing.assert_array_equal(gains[:4], 1.0)
    assert (gains[4:] != 1.0).all()
    out = fitted.transform(new).logits
    np.testing.assert_allclose(out, new.logits * gains[new.predicted()][:, None])


def test_dac_with_fewer_base_classes_than_neighbours():
    frozen, tuned = unit(2, 8, 0), unit(2, 8, 1)
    p = dac_rows((unit(3, 8, 2), unit(3, 8, 3)), (frozen, tuned))
    mean, quirk = make("dac").fit(p), make("dac", {"divide_by_k": True}).fit(p)
    np.testing.assert_allclose(np.log(quirk.gains(p)), np.log(mean.gains(p)) * 2 / 5)


def test_dac_refuses_features_of_other_classes():
    p = dac_rows((unit(3, 8, 2), unit(3, 8, 3)))
    wrong = Predictions(
        logits=p.logits, labels=p.labels, extras={**p.extras, "text_features": unit(4, 8, 0)}
    )
    with pytest.raises(DataError, match="4 rows for 3 classes"):
        make("dac").fit(p).gains(wrong)
    with pytest.raises(SpecError, match=r"k must be .*equal to 1"):
        make("dac", {"k": 0})


def test_sals_gives_every_row_the_zero_shot_range():
    p = scored(50, zero_shot_logits=np.random.default_rng(1).normal(size=(50, 3)))
    out = make("sals").fit(p).fit_transform_same(p)
    other = p.extras["zero_shot_logits"]
    np.testing.assert_allclose(out.logits.max(axis=1), other.max(axis=1))
    np.testing.assert_allclose(out.logits.min(axis=1), other.min(axis=1))
    np.testing.assert_array_equal(np.argsort(out.logits, axis=1), np.argsort(p.logits, axis=1))


def test_sals_survives_a_constant_row():
    extras = {"zero_shot_logits": np.array([[1.0, 3.0]])}
    p = Predictions(logits=[[2.0, 2.0]], labels=[0], extras=extras)
    assert make("sals").fit_transform_same(p).probabilities().tolist() == [[0.5, 0.5]]


def test_sals_refuses_zero_shot_logits_of_another_shape():
    with pytest.raises(DataError, match=r"expected shape \(20, 3\)"):
        make("sals").fit(scored(20, zero_shot_logits=np.zeros((20, 4))))


def test_zs_range_is_one_temperature_and_needs_no_zero_shot_pass_later():
    adapted = np.array([[0.0, 6.0], [2.0, 0.0]])
    p = Predictions(
        logits=adapted,
        labels=[1, 0],
        extras={"zero_shot_logits": np.array([[0.0, 1.0], [0.0, 3.0]])},
    )
    fitted = make("zs_range").fit(p)
    assert fitted.temperature_ == 2.0  # mean ranges 4 and 2
    bare = Predictions(logits=[[4.0, 0.0]], labels=[0], ids=["new"])
    assert fitted.transform(bare).logits.tolist() == [[2.0, 0.0]]
    flat = Predictions(logits=adapted, labels=[1, 0], extras={"zero_shot_logits": np.ones((2, 2))})
    with pytest.raises(DataError, match="determine no temperature"):
        make("zs_range").fit(flat)


def test_neighbours_of_fitting_rows_leave_out_the_row_itself():
    x = np.array([[0.0], [1.0], [3.0]])
    distances, rows = nearest(x, None, 1)
    assert distances.ravel().tolist() == [1.0, 1.0, 2.0]
    assert rows.ravel().tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="1 numbers per image"):
        nearest(x, np.ones((2, 2)), 1)


@pytest.mark.parametrize("name", ["procal_density", "procal_bin"])
def test_proximity_comes_from_features_distances_or_ready_made(name):
    features, new = unit(80, 5, 0), unit(10, 5, 1)
    distances, _ = nearest(features, None, 10)
    later, _ = nearest(features, new, 10)
    variants = [
        ({"image_features": features}, {"image_features": new}),
        ({"knn_distance": distances}, {"knn_distance": later}),
        ({"knn_distance": distances.mean(axis=1)}, {"knn_distance": later.mean(axis=1)}),
        ({"proximity": proximity(distances)}, {"proximity": proximity(later)}),
    ]
    outs = [
        make(name).fit(scored(80, **a)).transform(scored(10, seed=1, prefix="t", **b)).logits
        for a, b in variants
    ]
    for out in outs[1:]:
        np.testing.assert_allclose(out, outs[0], rtol=1e-9)
    fitted = make(name).fit(scored(80, proximity=proximity(distances)))
    with pytest.raises(DataError, match="fitted with the extra proximity"):
        fitted.transform(scored(10, seed=1, prefix="t", image_features=new))


def test_procal_density_from_the_definition():
    rng = np.random.default_rng(0)
    near = rng.random(60)
    val, test = scored(60, proximity=near), scored(8, seed=1, prefix="t", proximity=rng.random(8))
    top = val.top_label()
    points = np.column_stack([top.confidence, near])
    new = np.column_stack([test.top_label().confidence, test.extras["proximity"]])
    mass = []
    for group in (points[top.correct], points[~top.correct]):
        width = 1.06 * group.std(axis=0) * len(group) ** (-1 / 6)
        kernels = norm.pdf(new[:, None, :], group[None], width[None, None])
        mass.append(len(group) * kernels.prod(axis=2).mean(axis=1))
    out = make("procal_density").fit(val).transform(test).probabilities()
    expected = mass[0] / (mass[0] + mass[1])
    rows = np.arange(8), test.predicted()
    np.testing.assert_allclose(out[rows], expected, rtol=1e-9)


def test_procal_density_without_wrong_rows_changes_nothing_and_says_so():
    val = Predictions(
        logits=[[2.0, 0.0]] * 5, labels=[0] * 5, extras={"proximity": np.linspace(0, 1, 5)}
    )
    with pytest.warns(CalibrationWarning, match="none of the 5 fitting rows is wrong"):
        fitted = make("procal_density").fit(val)
    test = Predictions(
        logits=[[1.0, 0.0]], labels=[0], ids=["t"], extras={"proximity": np.array([0.3])}
    )
    np.testing.assert_array_equal(fitted.transform(test).logits, test.logits)


@pytest.mark.parametrize("strategy", ["equal_mass", "equal_width", "kmeans"])
def test_procal_bin_is_its_base_calibrator_within_a_bin(strategy):
    near = np.repeat([0.1, 0.9], 60)
    val = scored(120, proximity=near)
    test = scored(40, seed=1, prefix="t", proximity=np.repeat([0.1, 0.9], 20))
    parameters = {"base": "temperature", "bins": 2, "strategy": strategy}
    out = make("procal_bin", parameters).fit(val).transform(test).probabilities()
    for half, rows in ((slice(0, 60), slice(0, 20)), (slice(60, 120), slice(20, 40))):
        alone = make("temperature").fit(val.subset(np.arange(120)[half]))
        expected = alone.transform(test.subset(np.arange(40)[rows])).probabilities()
        np.testing.assert_allclose(out[rows], expected, atol=1e-12)


def test_a_proximity_bin_without_new_rows_is_no_error():
    val = scored(60, proximity=np.linspace(0, 1, 60))
    test = scored(3, seed=1, prefix="t", proximity=[0.1, 0.11, 0.12])
    assert make("procal_bin", {"base": "temperature"}).fit(val).transform(test).logits.shape == (
        3,
        3,
    )


def test_the_rest_is_shared_in_proportion_even_when_saturated():
    p = Predictions(logits=[[800.0, 0.0, 0.0], [np.log(2), 0.0, 0.0]], labels=[0, 0])
    out = np.exp(with_top_confidence(p, np.array([0.6, 0.8])).values)
    np.testing.assert_allclose(out, [[0.6, 0.2, 0.2], [0.8, 0.1, 0.1]])


def test_feature_isotonic_second_group_is_pulled_towards_uniform():
    rng = np.random.default_rng(0)
    val = scored(200, image_features=rng.normal(size=(200, 2)))  # features that say nothing
    fitted = make("feature_isotonic", {"alpha": 0.5, "shrink": 0.5}).fit(val)
    group = fitted.supported(val)
    assert 0 < group.sum() < 200
    # the fitting rows count themselves as neighbours in supported(); use the curves directly
    top = val.top_label()
    x, y = fitted.curves_[1]["x"], fitted.curves_[1]["y"]
    assert y.max() <= (1 + 0.5 / 3) / 1.5 + 1e-12
    assert y.min() >= (0.5 / 3) / 1.5 - 1e-12
    plain = make("feature_isotonic", {"alpha": 0.5, "shrink": 0.0}).fit(val)
    # f minimises sum (f - correct)^2 + s sum (f - 1/K)^2, whose solution is the shrunk isotonic fit
    np.testing.assert_allclose(
        np.interp(top.confidence, x, y),
        (np.interp(top.confidence, plain.curves_[1]["x"], plain.curves_[1]["y"]) + 0.5 / 3) / 1.5,
        atol=1e-9,
    )


def test_feature_isotonic_with_perfect_features_separates_right_from_wrong():
    rng = np.random.default_rng(1)
    val = scored(150)
    features = 10.0 * np.eye(3)[val.labels] + 0.01 * rng.normal(size=(150, 3))
    val = Predictions(
        logits=val.logits, labels=val.labels, ids=val.ids, extras={"image_features": features}
    )
    fitted = make("feature_isotonic").fit(val)
    top = val.top_label()
    np.testing.assert_array_equal(fitted.supported(val), top.correct)
    at = np.linspace(0.4, 0.9, 5)
    first, second = fitted.curves_
    np.testing.assert_allclose(np.interp(at, first["x"], first["y"]), 1.0)
    # never right: (0 + 0.25 / 3) / 1.25
    np.testing.assert_allclose(np.interp(at, second["x"], second["y"]), 1 / 15)
