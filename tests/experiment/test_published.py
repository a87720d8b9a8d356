"""Published numbers as data, and measured ones beside them."""

from dataclasses import fields, replace

import numpy as np
import pytest

from vlmcal.data.base import load_dataset
from vlmcal.data.data_cards import find_card
from vlmcal.errors import SpecError, StoreError
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.published import comparison, measured
from vlmcal.experiment.published.averages import averages, flagged
from vlmcal.experiment.published.tables import AVERAGES, STATUSES, entries, papers, select
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.learners.base import LEARNERS
from vlmcal.metrics import METRICS, evaluate
from vlmcal.metrics.presets import PRESETS
from vlmcal.test_time.base import ADAPTATIONS


def test_every_number_has_a_known_place_in_the_tables():
    known = {*LEARNERS.names(), *ADAPTATIONS.names(), ""}
    for entry in entries():
        assert entry.learner in known, entry
        assert entry.status in STATUSES, entry
        assert (
            entry.metric in METRICS or entry.metric == "balanced_accuracy" or entry.paper == "lata"
        )
        assert (entry.value is None) == (entry.status == "missing"), entry
        assert entry.split in ("base", "new", "harmonic", "all"), entry
        if not entry.dataset.startswith("modality") and entry.dataset not in AVERAGES:
            assert find_card(entry.dataset).name == entry.dataset
        if entry.value is not None and entry.metric != "mean_set_size":
            assert 0 <= entry.value <= 1, entry
        assert entry.source or entry.status in ("secondary", "missing"), entry


def test_evaluators_are_presets_and_their_metrics_exist():
    for paper in papers().values():
        assert paper.evaluator in {*PRESETS, ""}
        for own in comparison.EVALUATORS[paper.evaluator].values():
            assert own in METRICS


def test_the_sixteen_averages_of_one_paper_that_are_not_those_of_its_numbers():
    wrong = [each for each in averages(entries("tcpt")) if not each.agrees]
    assert len(wrong) == 16
    zero = next(each for each in wrong if each.entry.learner == "zero_shot")
    assert round(100 * zero.recomputed, 2) == 74.69
    assert round(100 * zero.entry.value, 2) == 74.30


def test_rows_that_cannot_be_told_apart_are_no_targets():
    rows = select(flagged(entries("tcpt")), learner="kgcoop", calibration="zs_norm")
    assert rows
    assert not any(entry.is_target for entry in rows)
    assert not any(entry.is_target for entry in entries("dor"))
    logs = select(flagged(entries("tcpt")), table="logs", learner="kgcoop", calibration="tcpt")
    assert all(entry.is_target and entry.n == 3 for entry in logs)


def test_an_unknown_filter_names_the_nearest():
    with pytest.raises(SpecError, match='did you mean "maple"'):
        select(entries(), learner="mapel")
    with pytest.raises(SpecError, match='did you mean "tcpt"'):
        entries("tcp")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Runs on images under the name of a published data set: zero-shot, and KgCoOp with two objectives."""
    folder = tmp_path_factory.mktemp("published")
    data = load_dataset("shapes(n_classes=6, n_train=2, n_val=2, n_test=6, shift=0.9)")
    names = ("images", "labels", "splits", "class_names")
    arrays = {name: np.array(getattr(data, name)) for name in names}
    np.savez(folder / "eurosat.npz", **arrays)
    spec = {
        "data": {"path": str(folder / "eurosat.npz"), "protocol": "base-to-new"},
        "method": ["zero_shot", "kgcoop"],
        "objective": ["own", ["own", "tcpt"]],
        "shots": 2,
        "seed": [1, 2],
        "train": {"epochs": 2, "batch_size": 4, "lr": 0.1},
    }
    made = Store(folder / "runs")
    for result in run_experiment(parse_spec(spec), made):
        assert result.error is None
    return made


def test_measured_values_stand_beside_those_of_the_same_learner_split_and_data_set(store):
    found = select(flagged(entries("tcpt")), dataset="eurosat")
    compared = comparison.compare(found, measured.results(store, ["temperature"]))
    keys = {(c.entry.learner, c.entry.calibration, c.entry.split) for c in compared}
    assert keys == {
        (learner, calibration, split)
        for split in ("base", "new")
        for learner, calibration in (
            ("zero_shot", "none"),
            ("kgcoop", "none"),
            ("kgcoop", "tcpt"),
        )
    }
    one = next(
        c
        for c in compared
        if (c.entry.calibration, c.entry.split, c.entry.table) == ("tcpt", "new", "logs")
        and c.entry.metric == "ece"
    )
    rows = [
        each
        for each in measured.results(store, [])
        if (each.calibration, each.split) == ("tcpt", "new")
    ]
    values = [evaluate(each.rows, ["tcpt_ece"])["tcpt_ece"].value for each in rows]
    assert one.value == pytest.approx(np.mean(values))
    assert one.spread == pytest.approx(np.std(values, ddof=1))
    assert one.spreads == pytest.approx((np.mean(values) - one.entry.value) / one.spread)
    assert one.verdict == "other backbone, shots, seeds, views"
    assert {s.name: s.agrees for s in one.settings} == {
        "backbone": False,
        "shots": False,
        "seeds": False,
        "views": False,
        "bins": True,
    }


def test_one_seed_has_the_bootstrap_error_as_its_spread(store):
    found = select(flagged(entries("tcpt")), dataset="eurosat", learner="zero_shot")
    compared = comparison.compare(found, measured.results(store, []))
    accuracy = next(c for c in compared if c.entry.metric == "accuracy" and c.entry.split == "new")
    n = 18  # test images of three classes
    assert accuracy.seeds == 1
    assert accuracy.spread == pytest.approx(
        np.sqrt(accuracy.value * (1 - accuracy.value) / n), abs=0.02
    )
    assert [s.name for s in accuracy.settings] == ["backbone"]


def test_where_settings_agree_the_difference_is_judged(store):
    found = select(
        flagged(entries("tcpt")), dataset="eurosat", learner="zero_shot", metric="accuracy"
    )
    like = [replace(entry, backbone="pocket") for entry in found]
    results = list(measured.results(store, []))
    right = comparison.compare(like, results)[0].value
    near, far = (
        comparison.compare([replace(like[0], value=value)], results)[0]
        for value in (right + 0.01, 5.0)
    )
    assert near.verdict == "not distinguishable"
    assert far.verdict == "below published"
    secondary = comparison.compare([replace(like[0], status="secondary")], results)[0]
    assert secondary.verdict == "no target"


def test_an_average_waits_for_all_of_its_data_sets(store):
    found = select(flagged(entries("tcpt")), learner="zero_shot", metric="accuracy", split="base")
    results = list(measured.results(store, []))
    assert [c.entry.dataset for c in comparison.compare(found, results)] == ["eurosat"]
    two = [entry for entry in found if entry.dataset in ("eurosat", "dtd", "average")]
    both = [*results, *(copied(result, "dtd") for result in results)]
    compared = {c.entry.dataset: c for c in comparison.compare(two, both)}
    assert compared["average"].value == pytest.approx(compared["dtd"].value)
    assert compared["average"].spread == pytest.approx(compared["dtd"].spread / np.sqrt(2))


def test_a_harmonic_mean_is_that_of_base_and_new_classes(store):
    (like,) = select(
        entries("coop_family"), learner="kgcoop", split="harmonic", table="VLM-MultiModalAdapter"
    )
    results = list(measured.results(store, []))
    (one,) = comparison.compare([replace(like, dataset="eurosat")], results)
    by_seed = {
        split: np.array(
            [
                r.measure("accuracy", error=False).value
                for r in results
                if (r.learner, r.calibration, r.split) == ("kgcoop", "none", split)
            ]
        )
        for split in ("base", "new")
    }
    b, n = by_seed["base"], by_seed["new"]
    assert one.value == pytest.approx(np.mean(2 * b * n / (b + n)))
    assert one.seeds == 2
    eleven = [copied(r, name) for r in results for name in comparison.ELEVEN]
    (average,) = comparison.compare([like], eleven)
    assert average.value == pytest.approx(one.value)


def test_the_spread_of_a_harmonic_mean_of_one_seed_is_that_of_its_parts(store):
    results = [r for r in measured.results(store, []) if r.learner == "zero_shot"]
    like = select(entries("coop_family"), learner="zero_shot", split="harmonic")[0]
    (one,) = comparison.compare([replace(like, dataset="eurosat")], results)
    parts = {r.split: r.measure("accuracy", error=True) for r in results}
    (b, db), (n, dn) = parts["base"], parts["new"]
    slopes = 2 * n**2 / (b + n) ** 2, 2 * b**2 / (b + n) ** 2
    assert one.spread == pytest.approx(np.hypot(slopes[0] * db, slopes[1] * dn))


def test_averages_over_other_data_sets_than_the_eleven_are_not_compared(store):
    results = list(measured.results(store, []))
    eleven = [copied(r, name) for r in results for name in comparison.ELEVEN]
    found = select(entries("biomedcoop"), learner="kgcoop", dataset="average")
    assert found
    assert comparison.compare(found, eleven) == []


def copied(result, dataset):
    names = [f.name for f in fields(result)]
    return type(result)(**{**{n: getattr(result, n) for n in names}, "dataset": dataset})


def test_an_empty_store_is_said_to_be_empty(tmp_path):
    with pytest.raises(StoreError, match="holds no finished run"):
        list(measured.results(Store(tmp_path), []))
