"""Cross-fitting, comparing, choosing, saving, wrapping: what is built around the calibrators."""

import json
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from vlmcal.calibrators.base import CalibrationWarning, Calibrator, make
from vlmcal.calibrators.losses import mean_loss
from vlmcal.calibrators.sklearn_wrapper import ScoreCalibrator
from vlmcal.calibrators.temperature import Temperature
from vlmcal.errors import DataError, SpecError, SplitError, StoreError
from vlmcal.posthoc.compare import compare
from vlmcal.posthoc.cross_fit import cross_fit, fold_index
from vlmcal.posthoc.refinement_stopping import choose_by_refinement, refinement
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions


def data(n=120, k=3, seed=0, prefix="v", scale=2.0, **other):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(n, k)) * 1.5
    y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
    return Predictions(logits=scale * z, labels=y, ids=[f"{prefix}{i}" for i in range(n)], **other)


class TestCrossFit:
    def test_every_row_is_calibrated_by_the_other_folds(self):
        val = data()
        index = fold_index(val, folds=4, seed=3)
        out = cross_fit(Temperature(), val, folds=4, seed=3)
        for fold in range(4):
            t = Temperature().fit(val.subset(index != fold)).temperature_
            np.testing.assert_allclose(out.logits[index == fold], val.logits[index == fold] / t)
        assert out.ids.tolist() == val.ids.tolist()

    def test_folds_are_balanced_over_labels_and_seeded(self):
        val = data(100)
        index = fold_index(val, folds=5)
        for label in range(3):
            counts = np.bincount(index[val.labels == label], minlength=5)
            assert np.ptp(counts) <= 1
        np.testing.assert_array_equal(index, fold_index(val, folds=5))
        assert (index != fold_index(val, folds=5, seed=1)).any()

    @pytest.mark.parametrize("seed", range(5))
    def test_a_group_is_never_split(self, seed):
        groups = np.random.default_rng(seed).integers(0, 13, 120).astype(str)
        val = data(groups=groups)
        index = fold_index(val, folds=4, seed=seed)
        assert all(len(set(index[groups == g])) == 1 for g in set(groups))
        assert np.bincount(index).min() >= 15
        free = fold_index(val, folds=4, groups="ignore", seed=seed)
        assert any(len(set(free[groups == g])) > 1 for g in set(groups))

    def test_the_scheme_is_recorded(self):
        out = cross_fit(Temperature(), data(groups=["a", "b", "c"] * 40, split="val"), folds=3)
        step = out.provenance["steps"][-1]
        assert step["scheme"] == "cross-fitted"
        assert (step["folds"], step["groups"], step["seed"]) == (3, True, 0)
        assert step["fitted_on"] == {"split": "val", "n": 120}

    def test_confidences_and_mixed_kinds(self):
        rng = np.random.default_rng(0)
        rows = Confidences(confidence=rng.random(60), correct=rng.random(60) < 0.5)
        out = cross_fit(make("platt"), rows)
        assert isinstance(out, Confidences)
        assert out.provenance["steps"][-1]["scheme"] == "cross-fitted"

    def test_what_is_refused(self):
        with pytest.raises(SplitError, match="test"):
            cross_fit(Temperature(), data(split="test"))
        with pytest.raises(DataError, match="needs a group column"):
            cross_fit(Temperature(), data(), groups="groups")
        with pytest.raises(DataError, match="need at least 5 groups, got 2"):
            cross_fit(Temperature(), data(groups=["a", "b"] * 60))
        with pytest.raises(DataError, match="need at least 5 rows, got 3"):
            cross_fit(Temperature(), data(3))
        with pytest.raises(SpecError, match="at least 2"):
            cross_fit(Temperature(), data(), folds=1)
        with pytest.raises(SpecError, match='"ignore"'):
            cross_fit(Temperature(), data(), groups="patients")


class TestRowsThatWereFittedOn:
    def test_row_numbers_alone_are_no_identity(self):
        first, second = data(), data(seed=1)
        val = Predictions(logits=first.logits, labels=first.labels)
        test = Predictions(logits=second.logits, labels=second.labels)
        fitted = Temperature().fit(val)
        fitted.transform(test)
        with pytest.raises(SplitError, match="120 rows"):
            fitted.transform(val)

    def test_one_shared_id_is_enough(self):
        fitted = Temperature().fit(data())
        with pytest.raises(SplitError, match="1 rows were also used for fitting"):
            fitted.transform(
                Predictions(logits=[[1.0, 0.0, 0.0]] * 2, labels=[0, 0], ids=["new", "v7"])
            )

    def test_shared_patients_are_reported(self):
        fitted = Temperature().fit(data(groups=["a", "b", "c"] * 40))
        with pytest.warns(CalibrationWarning, match="1 of 3 groups of these rows were fitted on"):
            fitted.transform(data(3, seed=1, prefix="t", groups=["c", "d", "e"]))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fitted.transform(data(3, seed=1, prefix="t", groups=["d", "d", "e"]))

    def test_kinds_of_rows_are_not_mixed(self):
        fitted = Temperature().fit(
            Confidences(confidence=[0.6, 0.9] * 3, correct=[True, True, False] * 2)
        )
        with pytest.raises(DataError, match="fitted on confidences"):
            fitted.transform(data())

    def test_fit_transform_same_is_tagged_as_training_data(self):
        out = Temperature().fit_transform_same(data(split="val"))
        assert out.split == "train"
        assert out.provenance["steps"][-1]["scheme"] == "full"


class TestSaving:
    def test_large_arrays_lie_beside_the_json(self, tmp_path):
        rng = np.random.default_rng(0)
        val = data(600)
        val = Predictions(
            logits=val.logits,
            labels=val.labels,
            ids=val.ids,
            extras={"image_features": rng.normal(size=(600, 20))},
        )
        fitted = make("procal_bin", {"base": "temperature"}).fit(val)
        written = fitted.save(tmp_path / "cal.json")
        assert [p.suffix for p in written] == [".json", ".safetensors"]
        assert written[0].stat().st_size < 20_000
        loaded = Calibrator.load(tmp_path / "cal.json")
        np.testing.assert_array_equal(loaded.reference_, fitted.reference_)
        written[1].unlink()
        with pytest.raises(StoreError, match="move both files together"):
            Calibrator.load(tmp_path / "cal.json")

    def test_what_cannot_be_read(self, tmp_path):
        path = tmp_path / "cal.json"
        with pytest.raises(StoreError, match="no calibrator at"):
            Calibrator.load(path)
        Temperature().fit(data()).save(path)
        with pytest.raises(StoreError, match=r'did you mean "cal.json"'):
            Calibrator.load(tmp_path / "call.json")
        with pytest.raises(StoreError, match=r"saved as \.json"):
            Calibrator.load(tmp_path / "cal.pkl")
        good = json.loads(path.read_text())
        path.write_text(path.read_text()[:40])
        with pytest.raises(StoreError, match="not valid JSON"):
            Calibrator.load(path)
        path.write_text("{}")
        with pytest.raises(StoreError, match="not a saved calibrator"):
            Calibrator.load(path)
        path.write_text(json.dumps({**good, "format": 99}))
        with pytest.raises(StoreError, match="format 99"):
            Calibrator.load(path)
        path.write_text(json.dumps({**good, "calibrator": "temprature"}))
        with pytest.raises(SpecError, match="temperature"):
            Calibrator.load(path)
        path.write_text(json.dumps({**good, "state": {}}))
        with pytest.raises(DataError, match="lacks the learned values"):
            Calibrator.load(path)
        good["state"]["temperature_"] += 0.1
        path.write_text(json.dumps(good))
        with pytest.raises(StoreError, match="does not match its checksum"):
            Calibrator.load(path)

    def test_nested_calibrators_and_infinite_numbers_survive(self, tmp_path):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CalibrationWarning)
            fitted = make("mixture", {"base": "set_mass"}).fit(data(5))
        fitted.save(tmp_path / "cal.json")
        loaded = Calibrator.load(tmp_path / "cal.json")
        assert loaded.base_.q_ == float("inf")
        assert loaded.share_ == fitted.share_


class TestWrapper:
    def test_probabilities_are_the_calibrators(self):
        val = data()
        new = data(30, seed=1, prefix="t")
        model = ScoreCalibrator("temperature").fit(val.logits, val.labels)
        expected = Temperature().fit(val).transform(new).probabilities()
        np.testing.assert_allclose(model.predict_proba(new.logits), expected)
        np.testing.assert_array_equal(model.predict(new.logits), new.predicted())
        model.predict_proba(val.logits)  # scikit-learn's tools do this all the time

    def test_it_can_be_cloned_searched_and_put_into_a_pipeline(self):
        val = data(300)
        search = GridSearchCV(
            ScoreCalibrator(), {"method": ["none", "temperature"]}, scoring="neg_log_loss", cv=3
        ).fit(val.logits, val.labels)
        assert search.best_params_ == {"method": "temperature"}
        pipeline = make_pipeline(FunctionTransformer(), clone(ScoreCalibrator("vector")))
        assert cross_val_score(pipeline, val.logits, val.labels, cv=3).mean() > 0.4

    def test_probabilities_one_column_and_names(self):
        val = data(200, k=2)
        probs = softmax(val.logits, axis=1)
        names = np.array(["benign", "malignant"])[val.labels]
        a = ScoreCalibrator("platt").fit(val.logits[:, 1] - val.logits[:, 0], names)
        b = ScoreCalibrator("platt", scores="probabilities").fit(probs, names)
        assert a.classes_.tolist() == ["benign", "malignant"]
        np.testing.assert_allclose(
            a.predict_proba(val.logits[:5, 1] - val.logits[:5, 0]),
            b.predict_proba(probs[:5]),
            rtol=1e-6,
        )
        with pytest.raises(DataError, match="3 different labels for 2 columns"):
            ScoreCalibrator().fit(val.logits, ["a", "b", "c", "a"] * 50)
        with pytest.raises(DataError, match="scores of 2 classes, got 3"):
            b.predict_proba(np.full((2, 3), 1 / 3))
        with pytest.raises(SpecError, match="log-odds"):
            ScoreCalibrator(scores="probabilities").fit(probs[:, 1], val.labels)


class TestCompare:
    def test_the_choice_rests_on_the_validation_rows_only(self):
        val = data(300)
        test = data(200, seed=1, prefix="t", split="test")
        shuffled = Predictions(
            logits=test.logits, labels=test.labels[::-1].copy(), ids=test.ids, split="test"
        )
        names = ["none", "temperature", "vector"]
        honest, spoilt = compare(val, test, names), compare(val, shuffled, names)
        assert [r.name for r in honest.rows] == [r.name for r in spoilt.rows]
        assert honest.best.name != "none"
        expected = mean_loss(cross_fit(Temperature(), val), "nll")
        row = next(r for r in honest.rows if r.name == "temperature")
        assert row.cross_validated == pytest.approx(expected)
        assert row.test["nll"] == pytest.approx(
            mean_loss(Temperature().fit(val).transform(test), "nll")
        )

    def test_the_simplest_within_one_standard_error_is_chosen_and_harm_is_told(self):
        rng = np.random.default_rng(0)
        chosen, rises = [], []
        for _ in range(12):
            z = 1.5 * rng.normal(size=(1100, 4))
            y = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
            ids = [f"r{i}" for i in range(1100)]
            rows = Predictions(logits=z, labels=y, ids=ids)
            val, test = rows.subset(np.arange(100)), rows.subset(np.arange(100, 1100))
            names = ["none", "temperature", "platt", "vector", "spline", "isotonic"]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", CalibrationWarning)
                result = compare(val, None, names)
                after = result.chosen.calibrator.transform(test)
            chosen.append(result.chosen.name)
            rises.append(mean_loss(after, "nll") - mean_loss(test, "nll"))
            harm = {r.name: r.notes for r in result.rows}
            assert "worse than none in cross-validation, without end" in harm["isotonic"]
            assert (result.chosen.error or 0) < 0.1
        assert chosen.count("none") >= 10
        assert max(rises) < 0.05

    def test_what_needs_repair_is_repaired(self):
        val = data(300, scale=6.0)
        result = compare(val, None, ["none", "temperature", "platt", "vector"])
        assert result.chosen.name == "temperature"
        assert next(r for r in result.rows if r.name == "none").notes == ""

    def test_all_leaves_out_what_does_not_suit_and_says_why(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error", CalibrationWarning)
            result = compare(data(60), data(40, seed=1, prefix="t"), folds=3)
        left_out = {r.name: r.notes for r in result.rows if r.cross_validated is None}
        assert set(left_out) == {
            "dac",
            "sals",
            "zs_range",
            "procal_density",
            "procal_bin",
            "feature_isotonic",
            "hac_platt",
            "hac_gate",
            "fusion",
            "cots",
            "e_cots",
        }
        assert "zero_shot_logits" in left_out["sals"]
        table = result.table()
        assert table.count("\n| ") == len(result.rows) - len(left_out)
        assert "Left out:" in table
        assert len(result.to_rows()) == len(result.rows)
        with pytest.raises(DataError, match="zero_shot_logits"):
            compare(data(60), methods=["sals"])

    def test_own_measures_parameters_and_confidences(self):
        rng = np.random.default_rng(0)
        c = rng.random(200)
        rows = Confidences(confidence=c, correct=rng.random(200) < c**3)
        result = compare(
            rows.subset(np.arange(100)),
            rows.subset(np.arange(100, 200)),
            ["none", "histogram"],
            parameters={"histogram": {"bins": 4}},
            criterion="brier",
            evaluate=lambda r: {"mean": float(r.confidence.mean())},
        )
        assert result.best.name == "histogram"
        assert result.best.calibrator.bins == 4
        assert set(result.best.test) == {"mean"}

    def test_test_rows_are_refused(self):
        with pytest.raises(SplitError, match="test"):
            compare(data(split="test"))
        with pytest.raises(SpecError, match="at least one"):
            compare(data(), methods=[])


class TestRefinement:
    def test_temperature_leaves_refinement_unchanged_by_scale(self):
        splits = [refinement(data(scale=s), refine=Temperature()) for s in (0.5, 2.0, 10.0)]
        for split in splits[1:]:
            assert split.refinement == pytest.approx(splits[0].refinement, abs=1e-8)
            assert split.loss == pytest.approx(split.refinement + split.calibration)
        assert splits[2].calibration > splits[1].calibration > 0

    def test_an_overconfident_but_sharper_epoch_is_chosen(self):
        sharp, dull = data(400, scale=8.0), data(400, scale=1.0)
        noise = np.random.default_rng(1).normal(size=dull.logits.shape)
        dull = Predictions(logits=dull.logits + 1.5 * noise, labels=dull.labels, ids=dull.ids)
        choice = choose_by_refinement({"early": dull, "late": sharp})
        assert (choice.name, choice.by_loss) == ("late", "early")
        assert choice.calibrator.base_.temperature_ == pytest.approx(8, rel=0.2)
        assert list(choice.table) == ["early", "late"]

    def test_flexible_refinement_needs_folds(self):
        val = data(150)
        same = refinement(val, refine=make("isotonic"), loss="brier").refinement
        out_of_fold = refinement(val, refine=make("isotonic"), loss="brier", folds=5).refinement
        assert same < out_of_fold

    def test_refusals(self):
        with pytest.raises(SpecError, match="at least one candidate"):
            choose_by_refinement({})
        with pytest.raises(SplitError, match="test"):
            refinement(data(split="test"))
        with pytest.raises(SpecError, match='"nll" or "brier"'):
            refinement(data(), loss="ece")


def test_importing_the_calibrators_does_not_import_torch():
    code = (
        "import sys; from vlmcal.calibrators.base import CALIBRATORS; CALIBRATORS.names(); "
        "print('torch' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "False"


def test_confidences_of_exactly_0_and_1_are_drawn_in_and_stay_so_after_saving():
    from vlmcal.calibrators.base import open_ends
    from vlmcal.types.confidences import Confidences

    rng = np.random.default_rng(0)
    c = rng.choice([0.0, 0.6, 0.8, 1.0], 400)
    rows = Confidences(confidence=c, correct=rng.random(400) < 0.2 + 0.6 * c)
    assert open_ends(c) == (0.3, 0.9)
    test = Confidences(confidence=[0.0, 0.3, 0.9, 1.0], correct=[True] * 4, ids=list("abcd"))
    fitted = make("platt").fit(rows)
    out = fitted.transform(test).confidence
    assert out[0] == out[1] < out[2] == out[3]
    again = type(fitted).from_dict(fitted.to_dict())
    np.testing.assert_array_equal(again.transform(test).confidence, out)
    untouched = make("none").fit(rows).transform(test)
    np.testing.assert_allclose(untouched.confidence, test.confidence, atol=1e-12)


def test_folds_of_groups_of_one_row_are_balanced_over_the_labels():
    from vlmcal.posthoc.cross_fit import fold_index
    from vlmcal.types.confidences import Confidences

    right = np.arange(200) < 20
    rows = Confidences(
        confidence=np.full(200, 0.5), correct=right, groups=[f"g{i}" for i in range(200)]
    )
    index = fold_index(rows, folds=5)
    assert [int(right[index == f].sum()) for f in range(5)] == [4] * 5
