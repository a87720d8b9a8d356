"""A linear head predicts what its learner predicts, or is refused with the reason."""

import json
import re
import sys

import numpy as np
import pytest
import torch

from vlmcal.errors import DataError, MissingExtraError, SpecError, StoreError
from vlmcal.export.head import linear_head, load_head, save_head, save_onnx
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.seeding import torch_generator
from vlmcal.types.features import Features

NAMES = ("cat", "the dog", "photo")
REFUSED = {
    "cocoop": "text features depend on the image",
    "dept": "adds a head on raw features",
    "clip_adapter": "changes the image features",
    "bayes_coop": "more than inner products",
    "bpl": "more than inner products",
    "tip_adapter": "more than inner products",
    "tip_adapter_f": "more than inner products",
}


def support(width):
    draw = np.random.default_rng(0)
    return Features(
        image_features=draw.normal(size=(9, 1, width)).astype(np.float32),
        labels=np.arange(9) % 3,
        ids=np.arange(9).astype(str),
        views=np.zeros((9, 1, 5)),
    )


def made(learner):
    try:
        return linear_head(learner), ""
    except SpecError as error:
        return None, str(error)


@pytest.mark.parametrize("name", LEARNERS.names())
def test_head(name, tiny_encoder, tmp_path):
    kind = LEARNERS.get(name)
    classes = ClassContext(tiny_encoder, NAMES, ("a photo of a {}.",))
    options = kind.Config(**kind.small)
    learner = kind(classes, options, torch_generator(1, "init")).eval()
    train = support(tiny_encoder.embed_dim)
    learner.begin(train, train)
    reason = "changes the image tower" if kind.consumes == "pixels" else REFUSED.get(name, "")
    head, refusal = made(learner)
    if head is None:
        assert re.search(rf"has no linear head: .*{reason}", refusal)
        return
    assert not reason
    features = train.image_features[:, 0]
    batch = Batch(image_features=torch.tensor(features), labels=torch.tensor(train.labels))
    want = learner.predict([batch]).numpy()
    np.testing.assert_allclose(head.logits(features), want, rtol=2e-5, atol=2e-5)
    save_head(head, tmp_path)
    again = load_head(tmp_path)
    assert np.array_equal(again.logits(features), head.logits(features))
    assert again.class_names == NAMES
    assert again.about["method"] == name
    assert again.about["backbone_fingerprint"] == tiny_encoder.fingerprint


def coop_head(tiny_encoder):
    kind = LEARNERS.get("coop")
    return linear_head(kind(ClassContext(tiny_encoder, NAMES, ("{}",)), kind.Config(n_ctx=2)))


def test_damage_is_noticed(tiny_encoder, tmp_path):
    head = coop_head(tiny_encoder)
    with pytest.raises(DataError, match=r"expected shape \(N, 24\), got \(2, 3\)"):
        head.logits(np.zeros((2, 3)))
    with pytest.raises(StoreError, match="no readable head"):
        load_head(tmp_path)
    save_head(head, tmp_path)
    text = json.loads((tmp_path / "head.json").read_text())
    (tmp_path / "head.json").write_text(json.dumps(text | {"class_names": ["a"]}))
    with pytest.raises(StoreError, match="1 class names but a weight of shape"):
        load_head(tmp_path)
    (tmp_path / "head.json").write_text(json.dumps(text | {"format": 7}))
    with pytest.raises(StoreError, match="format 7"):
        load_head(tmp_path)


def test_onnx(tiny_encoder, tmp_path):
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    head, path = coop_head(tiny_encoder), tmp_path / "head.onnx"
    save_onnx(head, path)
    onnx.checker.check_model(str(path), full_check=True)
    features = support(24).image_features[:, 0]
    (logits,) = ReferenceEvaluator(str(path)).run(None, {"image_features": features})
    np.testing.assert_allclose(logits, head.logits(features), rtol=1e-5, atol=1e-4)


def test_onnx_names_its_extra(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"vlmcal\[onnx\]"):
        save_onnx(coop_head(tiny_encoder), tmp_path / "head.onnx")
