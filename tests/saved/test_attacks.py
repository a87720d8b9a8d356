"""Every saved method and learner, whatever is registered: what was damaged is refused, never applied."""

import copy
import json
import warnings
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from contracts.test_calibrators import rows
from vlmcal.calibrators.base import CALIBRATORS, Calibrator, make
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.errors import VlmcalError
from vlmcal.experiment.saved import load_learner, save_learner
from vlmcal.export.head import load_head
from vlmcal.io.prediction_sets import load_prediction_sets, save_prediction_sets
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.seeding import torch_generator
from vlmcal.training.checkpoint import load_checkpoint
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions

OLD = Path(__file__).parent / "format_1"

KINDS = {"calibrator": Calibrator, "conformal": ConformalPredictor}
METHODS = [("calibrator", name) for name in CALIBRATORS.names()]
METHODS += [("conformal", name) for name in CONFORMAL.names()]
EACH = pytest.mark.parametrize(("kind", "name"), METHODS)
NUMBER_ATTACKS = [{"number": "NaN"}, "1.5", None, True, [1.0]]


@cache
def fitted(kind, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if kind == "calibrator":
            return make(name).fit(rows(name, n=200))
        val = rows("temperature", n=200)
        groups = np.arange(200) % 3
        extras = {**val.extras, "likelihood_ratio": np.ones(200)}
        val = type(val)(logits=val.logits, labels=val.labels, groups=groups, extras=extras)
        return CONFORMAL.get(name)().fit(val, 0.2)


def attacks(value):
    """Values that no fit gives instead of ``value``, as they would stand in the file."""
    if isinstance(value, bool | str) or value is None:
        return
    if isinstance(value, int | float) or (isinstance(value, dict) and set(value) == {"number"}):
        yield from NUMBER_ATTACKS
    elif isinstance(value, dict) and set(value) == {"dtype", "shape", "data"}:
        yield from ("none", [], 1.0)
        if value["dtype"].startswith("float") and value["data"]:
            yield {**value, "data": ["NaN", *value["data"][1:]]}
        yield {**value, "shape": [0], "data": []}
        if np.prod(value["shape"]) > 1:
            yield {**value, "shape": [len(value["data"]), 1, 1]}
    elif isinstance(value, list):
        yield from (None, "none", [], 1.0)
        for index in {0, len(value) - 1} if value else ():
            for other in attacks(value[index]):
                yield [*value[:index], other, *value[index + 1 :]]
    elif isinstance(value, dict) and set(value) == {"nested"}:
        yield from (None, "none", [], {}, {"nested": None}, {"nested": {}})
        inner = value["nested"]
        for key in ("format", "state", "fitted_on"):
            yield {"nested": {k: v for k, v in inner.items() if k != key}}
        yield {"nested": {**inner, "fitted_on": None}}
        for other in attacks(inner["state"]):
            yield {"nested": {**inner, "state": other}}
    elif isinstance(value, dict):
        yield from (None, "none", [])
        for key, inner in value.items():
            for other in attacks(inner):
                yield {**value, key: other}
            yield {k: v for k, v in value.items() if k != key}


@EACH
def test_a_learned_value_that_no_fit_gives_is_refused(kind, name):
    saved = json.loads(json.dumps(fitted(kind, name).to_dict()))
    assert KINDS[kind].from_dict(copy.deepcopy(saved)).name == name
    taken = []
    for key, value in saved["state"].items():
        for other in attacks(value):
            data = {**copy.deepcopy(saved), "state": {**saved["state"], key: other}}
            try:
                KINDS[kind].from_dict(data)
            except (VlmcalError, LookupError, TypeError, ValueError, AttributeError, OverflowError):
                continue  # all of them are one StoreError that names the file where one is loaded
            taken.append((key, str(other)[:300]))
    assert taken == []


def flipped(content, places=24):
    """Copies of ``content`` with one bit other than it was, at places spread over all of it."""
    for place in np.unique(np.linspace(0, len(content) - 1, places).astype(int)):
        yield content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def assert_every_flip_is_noticed(path, load):
    """A changed bit, a cut and an empty file are errors that a user can read; nothing else comes out."""
    good = path.read_bytes()
    for bad in [*flipped(good), good[: len(good) // 2], good[:-1].rstrip(b"}"), b"", good + b"x"]:
        if means(bad) is not None and means(bad) == means(good):
            continue  # the seventeenth digit of a number does not always matter
        path.write_bytes(bad)
        with pytest.raises(VlmcalError, match=path.stem):
            load()
    path.write_bytes(good)
    load()


def means(content):
    try:
        return json.loads(content)
    except ValueError:
        return None


@EACH
def test_a_changed_bit_a_cut_and_another_head_are_noticed(kind, name, tmp_path):
    path = tmp_path / "s.json"
    written = fitted(kind, name).save(path)
    for file in written:
        assert_every_flip_is_noticed(file, lambda: KINDS[kind].load(path))
    saved = json.loads(path.read_text())
    names = saved["fitted_on"]["class_names"]
    for change in (
        {"format": 3},
        {"format": True},
        {"format": "2"},
        {"parameters": {**saved["parameters"], "unknown": 1}},
        {"fitted_on": {**saved["fitted_on"], "class_names": names[:-1]}},
        {"fitted_on": {**saved["fitted_on"], "class_names": [*names, "one more"]}},
        {"fitted_on": {**saved["fitted_on"], "class_names": []}},
        {"fitted_on": None},
        *([{"state": {}}] if saved["state"] else []),
        {"checksum": "0" * 32},
    ):
        path.write_text(json.dumps({**saved, **change}))
        with pytest.raises(VlmcalError, match=r"s\.json"):
            KINDS[kind].load(path)


def made(name, encoder, seed=1, n_classes=3):
    kind = LEARNERS.get(name)
    classes = ClassContext(encoder, ("cat", "dog", "bird")[:n_classes], ("a photo of a {}.",))
    return kind(classes, kind.Config(**kind.small), torch_generator(seed, "init")).eval()


@pytest.mark.parametrize("name", LEARNERS.names())
def test_a_damaged_learner_is_refused(name, tiny_encoder, tmp_path):
    save_learner(made(name, tiny_encoder), tmp_path)
    head, tensors = tmp_path / "learner.json", tmp_path / "learner.safetensors"
    load = lambda: load_learner(tmp_path, tiny_encoder)  # noqa: E731
    load()
    for path in (head, tensors):
        good = path.read_bytes()
        for bad in (*flipped(good, 6), good[:-1].rstrip(b"\n}"), b""):
            path.write_bytes(bad)
            with pytest.raises(VlmcalError):
                load()
        path.write_bytes(good)
    told, good = json.loads(head.read_text()), tensors.read_bytes()
    for change in (
        {"format": 3},
        {"format": True},
        {"method": "os:system"},
        {"config": {"unknown": 1}},
        {"class_names": ["cat", "dog"]},
        {"class_names": ["cat", "dog", "dog"]},
        {"class_names": "cat"},
        {"templates": ["a photo"]},
        {"backbone_fingerprint": 1},
        {"precision": "float15"},
        {"checksum": "0" * 32},
    ):
        head.write_text(json.dumps({**told, **change}))
        with pytest.raises(VlmcalError):
            load()
    # Without a checksum, as the first version of the format wrote it, the tensors themselves must fit.
    head.write_text(json.dumps({k: v for k, v in {**told, "format": 1}.items() if k != "checksum"}))
    load()
    state = load_file(tensors)
    others = [{**state, "more": torch.zeros(1)}]
    for key, value in [*state.items()][:2]:
        others.append({k: v for k, v in state.items() if k != key})
        others.append(
            {**state, key: value.to(torch.float16 if value.is_floating_point() else torch.int32)}
        )
        others.append({**state, key: value.new_zeros((*value.shape, 2))})
        if value.is_floating_point() and value.numel():
            others.append({**state, key: torch.full_like(value, float("nan"))})
    for other in others:
        save_file(other, tensors)
        with pytest.raises(VlmcalError, match=r"learner\.safetensors cannot be loaded .*repeat it"):
            load()
    tensors.write_bytes(good)
    load()


def test_tensors_of_another_learner_of_the_same_kind_are_refused(tiny_encoder, tmp_path):
    for seed in (1, 2):
        save_learner(made("coop", tiny_encoder, seed), tmp_path / str(seed))
    other = (tmp_path / "2" / "learner.safetensors").read_bytes()
    (tmp_path / "1" / "learner.safetensors").write_bytes(other)
    with pytest.raises(VlmcalError, match="do not match their checksum"):
        load_learner(tmp_path / "1", tiny_encoder)


@pytest.mark.parametrize("part", ["p.safetensors", "p.json"])
@pytest.mark.parametrize("what", ["rows", "sets"])
def test_a_changed_bit_in_rows_and_label_sets_is_noticed(what, part, tmp_path):
    path = tmp_path / "p.safetensors"
    if what == "rows":
        rows = Predictions(
            logits=[[2.0, 0.5]] * 3, labels=[0, 1, 0], ids=list("abc"), groups=list("xyx")
        )
        save_predictions(rows, path)
    else:
        save_prediction_sets(
            PredictionSets(sets=[[True, False]] * 3, labels=[0, 1, 0], alpha=0.1), path
        )
    load = load_predictions if what == "rows" else load_prediction_sets
    assert_every_flip_is_noticed(tmp_path / part, lambda: load(path))


def test_files_of_a_learner_from_before_checksums_still_load():
    from vlmcal.backbones import load_backbone

    folder = OLD / "learner"
    encoder = load_backbone("pocket")
    learner = load_learner(folder, encoder)
    head, rows = load_head(folder), load_predictions(folder / "predictions.safetensors")
    weight = learner.linear_head().weight.detach().numpy()
    np.testing.assert_allclose(weight, head.weight, atol=1e-6)
    assert rows.labels.tolist() == [0, 1]
    checkpoint = load_checkpoint(folder / "checkpoint.safetensors")
    assert checkpoint is not None
    assert checkpoint.epoch == 2
    assert torch.equal(checkpoint.learner["ctx"], learner.state_dict()["ctx"])
