"""Test-time methods as methods of an experiment."""

import json

import numpy as np
import pytest

import vlmcal
from vlmcal.calibrators.base import make
from vlmcal.errors import DataError, SpecError
from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.plan import plan, run_id
from vlmcal.experiment.run import Workbench
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.io.predictions import load_predictions
from vlmcal.test_time import ADAPTATIONS

TEMPLATES = ["a photo of a {}.", "the {}.", "{}"]


def spec(method, **changes):
    return parse_spec({"data": "digits", "method": method, **changes})


def cell(method, **changes):
    (found,) = plan(spec([method], **changes))
    return found


@pytest.fixture(scope="module")
def small(small_images, tiny_folder):
    def of(method, **changes):
        data = {"path": str(small_images), "templates": TEMPLATES}
        return {
            "data": {**data, "protocol": changes.pop("protocol", "all-class")},
            "backbone": str(tiny_folder),
            "method": method,
            "shots": 1,
            "seed": 1,
            "train": {"epochs": 1},
            "evaluate": {"calibrators": ["none"], "metrics": ["accuracy"], "resamples": 100},
            **changes,
        }

    return of


def runs(mapping, root, **bench):
    results = list(run_experiment(parse_spec(mapping), Store(root), bench=Workbench(**bench)))
    errors = [result.error for result in results if result.error]
    assert not errors, errors
    return [result.run for result in results]


def stored(root, run, name="test_all"):
    return load_predictions(root / "runs" / run / "predictions" / f"{name}.safetensors")


def test_the_line_of_the_issue_is_three_cells():
    cells = plan(spec(["zero_shot", "tpt", {"name": "c_tpt", "weight": 50}]))
    assert [c.label() for c in cells] == ["digits | zero_shot", "digits | tpt", "digits | c_tpt"]
    assert all(c.shots is c.seed is c.objective is c.train is None for c in cells)
    assert cells[2].method == {"name": "c_tpt"}  # 50 is the published default


def test_axes_are_those_of_the_start_and_the_order_of_a_stream():
    def axes(method):
        cells = plan(spec([method], shots=[1, 2], seed="1..3", objective=["ce", ["ce", "mdca"]]))
        return len(cells)

    assert axes("tpt") == 1
    assert axes("tda") == 3
    assert axes({"name": "tpt", "start": "coop"}) == axes("coop") == 12
    assert axes("cots(start=tpt(start=coop))") == 12


def test_three_writings_of_a_start_are_one_cell_with_one_id():
    written = (
        "tpt(start=coop)",
        {"name": "tpt", "start": "coop"},
        {"name": "tpt", "start": {"name": "coop", "n_ctx": 16}, "views": 64, "lr": 0.005},
    )
    ids = {run_id(cell(method), "data", "weights") for method in written}
    assert len(ids) == 1
    others = ("coop", "tpt", "tpt(start=kgcoop)", "c_tpt(start=coop)", "tpt(start=coop, views=8)")
    assert len(ids | {run_id(cell(method), "data", "weights") for method in others}) == 6


def test_golden_id_of_a_test_time_run():
    """If this changes, every store forgets its test-time runs."""
    found = cell({"name": "c_tpt", "start": {"name": "coop", "n_ctx": 4}}, seed=1)
    assert run_id(found, "d" * 64, "b" * 64) == GOLDEN_ID


GOLDEN_ID = "2244a37108449afb"


def test_the_start_brings_its_preset_recipe_and_objective():
    found = cell("tpt(start=kgcoop-w8-ep200-b32)")
    assert found.method == {"name": "tpt", "start": {"name": "kgcoop"}}
    assert found.train_config().epochs == 200
    assert [o.name for o in found.sum().objectives] == ["ce", "kgcoop"]
    assert found.start().method == {"name": "kgcoop"}
    assert found.label().startswith("digits | tpt from kgcoop | ce + kgcoop")


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("tptt", 'did you mean "tpt"'),
        ("tpt(vews=3)", 'did you mean "views"'),
        ("tpt(views=0)", "views must be a whole number"),
        ("tpt(lr=0)", "lr must be a number, got .*greater than 0"),
        ("tpt(share=0)", "share"),
        ("c_tpt(weight=-1)", "weight"),
        ("tpt(augmix=true, views=1)", "raise views"),
        ("tpt(start=cocoop)", "no prompt that all images and classes share"),
        ("tpt(start=coup)", 'did you mean "coop"'),
        ("tpt(start=coop(nctx=3))", "n_ctx"),
        ("reta(start=coop)", "starts from zero_shot"),
        ("cots(start=coop)", "start from tpt, c_tpt, o_tpt or a_tpt"),
        ("cots(start=tda)", "start from tpt"),
        ("cots(views=8)", "start: {name: tpt, views: 8}"),
        ("dmn(order=later)", "order must be one of"),
    ],
)
def test_mistakes_are_refused_when_the_experiment_is_planned(method, words):
    with pytest.raises(SpecError, match=words):
        plan(spec([method]))


def test_every_method_runs_and_stores_both_logits(small, tmp_path):
    methods = [
        {"name": "cots", "start": {"name": name, "views": 4}}
        if (name := kind.start) != "zero_shot"
        else {"name": kind.name, "views": 4}
        for _, kind in ADAPTATIONS.items()
    ]
    mapping = small(["zero_shot", *methods])
    found = runs(mapping, tmp_path)
    plain = stored(tmp_path, found[0])
    for run in found[1:]:
        rows = stored(tmp_path, run)
        np.testing.assert_array_equal(rows.ids, plain.ids)
        np.testing.assert_array_equal(rows.labels, plain.labels)
        zero_shot = rows.extras["zero_shot_logits"]
        np.testing.assert_allclose(zero_shot, plain.extras["zero_shot_logits"], rtol=1e-5)
        assert rows.extras["unadapted_logits"].shape == rows.logits.shape
        assert "text_features" not in rows.extras  # they are other ones for each image
        status = Store(tmp_path).status(run)
        assert status["provenance"]["test_time"]["start"] == found[0]
        (row,) = evaluate_run(Store(tmp_path), run, parse_spec(mapping).evaluate)
        assert row.evaluation is not None
    again = runs(mapping, tmp_path)
    assert again == found


def test_a_learned_prompt_goes_on_in_every_protocol(small, tmp_path):
    methods = [
        "tpt(start=coop(n_ctx=2), views=3)",
        "c_tpt(start=maple(depth=2), views=3, augmix=true)",
        "tda(start=coop(n_ctx=2))",
    ]
    found = runs(small(methods, protocol="base-to-new"), tmp_path)
    store = Store(tmp_path)
    for run in found:
        assert store.status(run)["sets"] == ["calibration", "test_base", "test_new"]
        start = store.status(run)["provenance"]["test_time"]["start"]
        for name in ("test_base", "test_new"):
            rows, before = stored(tmp_path, run, name), stored(tmp_path, start, name)
            assert rows.class_names == before.class_names
            np.testing.assert_allclose(
                rows.extras["unadapted_logits"], before.logits, rtol=2e-4, atol=2e-3
            )
            assert not np.allclose(rows.logits, before.logits, atol=1e-4)
    # both start from the one trained prompt
    starts = [store.status(run)["provenance"]["test_time"]["start"] for run in found]
    assert starts[0] == starts[2]
    assert len(store.runs()) == len(found) + 2


def test_the_order_of_a_stream_is_seeded_stored_and_decides(small, tmp_path):
    mapping = small(["tda(alpha=20)", "tpt(views=3)"], seed=[1, 2])
    one, two, tpt = runs(mapping, tmp_path)
    first, second = (stored(tmp_path, run) for run in (one, two))
    assert not np.allclose(first.logits, second.logits)
    places = [rows.extras["stream_position"] for rows in (first, second)]
    assert all(sorted(place) == list(range(len(first))) for place in places)
    assert not np.array_equal(*places)
    assert Store(tmp_path).status(one)["provenance"]["test_time"]["order"]["seed"] == 1
    assert "order" not in Store(tmp_path).status(tpt)["provenance"]["test_time"]
    again = runs({**mapping, "method": ["tda(alpha=20)"], "seed": 1}, tmp_path / "again")
    np.testing.assert_array_equal(stored(tmp_path / "again", again[0]).logits, first.logits)


def test_views_are_encoded_once_for_all_methods_and_kept(small, tmp_path):
    counts = []
    bench = {"cache_dir": tmp_path / "cache", "progress": lambda done, total: counts.append(done)}
    runs(small(["tpt(views=5)"]), tmp_path / "a", **bench)
    assert counts
    counts.clear()
    runs(small(["c_tpt(views=5, weight=20)", "dmn(views=5)"]), tmp_path / "b", **bench)
    assert not counts
    runs(small(["tpt(views=5, augmix=true)"]), tmp_path / "b", **bench)
    assert counts


def test_labels_are_never_looked_at(small, tmp_path, monkeypatch):
    """With all labels of the images mixed up, the scores are the same."""
    (run,) = runs(small(["a_tpt(views=4)"]), tmp_path / "a")
    seen = stored(tmp_path / "a", run)
    from vlmcal.experiment import run as module

    plain = module.adapt

    def shuffled(adaptation, learner, data, *arguments, **rows):
        from dataclasses import replace

        return plain(
            adaptation, learner, replace(data, labels=data.labels[::-1]), *arguments, **rows
        )

    monkeypatch.setattr(module, "adapt", shuffled)
    (run,) = runs(small(["a_tpt(views=4)"]), tmp_path / "b")
    np.testing.assert_array_equal(stored(tmp_path / "b", run).logits, seen.logits)


def test_an_interrupted_run_keeps_the_parts_it_has_adapted_to(small, tmp_path, monkeypatch):
    from vlmcal.experiment import run as module

    plain, calls = module.adapt, []

    def stops(*arguments, **rows):
        calls.append(rows["split"])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(*arguments, **rows)

    monkeypatch.setattr(module, "adapt", stops)
    with pytest.raises(KeyboardInterrupt):
        runs(small(["tpt(views=3)"]), tmp_path)
    runs(small(["tpt(views=3)"]), tmp_path)
    assert calls == ["calibration", "test", "test"]


def test_features_of_one_view_are_refused_before_anything_is_encoded(tmp_path):
    rows = np.random.default_rng(0).normal(size=(12, 8)).astype(np.float32)
    np.savez(
        tmp_path / "features.npz",
        image_features=rows,
        text_features=rows[:3],
        labels=np.arange(12) % 3,
        split=np.repeat(["train", "val", "test"], 4),
        logit_scale=np.float32(10),
        class_names=np.array(["a", "b", "c"]),
    )
    path = str(tmp_path / "features.npz")
    mapping = {"data": path, "backbone": path, "method": ["dmn"], "shots": 1}
    with pytest.raises(SpecError, match=r"(?s)nothing was started.*dmn.*views: 1"):
        runs({**mapping, "evaluate": {}}, tmp_path / "runs")


def test_from_python(small, tmp_path):
    mapping = small([{"name": "tpt", "views": 3}])
    (row,) = vlmcal.run(mapping, tmp_path)
    assert row.cell["method"] == {"name": "tpt", "views": 3}
    assert json.dumps(row.to_dict())


def test_no_fixed_classifier_is_made_of_a_run_that_adapts(small, tmp_path):
    mapping = small([{"name": "tpt", "views": 3}])
    (run,) = runs(mapping, tmp_path)
    with pytest.raises(SpecError, match=r'"tpt" adapts to each image .* starts from: [0-9a-f]{16}'):
        vlmcal.Classifier.load(tmp_path / "runs" / run)
    with pytest.raises(SpecError, match='"tpt" adapts to each image'):
        vlmcal.fit(mapping["data"], method="tpt", backbone=mapping["backbone"], store=tmp_path)


def test_calibrators_are_fitted_on_held_out_images_that_were_adapted_to(small, tmp_path):
    """Rows of an experiment pass; the start's own held-out rows are refused."""
    mapping = small(["tpt(views=3)"])
    (run,) = runs(mapping, tmp_path)
    evaluation = parse_spec(
        {**mapping, "evaluate": {"calibrators": ["temperature", "sals", "cots"]}}
    )
    rows = list(evaluate_run(Store(tmp_path), run, evaluation.evaluate))
    assert [(row.calibrator, row.reason) for row in rows] == [
        (name, "") for name in ("temperature", "sals", "cots")
    ]
    start = Store(tmp_path).status(run)["provenance"]["test_time"]["start"]
    unadapted = stored(tmp_path, start, "calibration")
    with pytest.raises(DataError, match=r"not adapted at test time.*predictions/calibration"):
        make("temperature").fit(unadapted).transform(stored(tmp_path, run))
