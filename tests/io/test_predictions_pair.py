import json

import numpy as np
import pytest

from vlmcal.errors import DataError
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.types.predictions import Predictions

LOGITS = np.array([[2.0, 0.5, -1.25], [0.1, 1e-7, 3.0]])


def sample(**changes):
    return Predictions(**{"logits": LOGITS, "labels": [0, 2]} | changes)


def test_own_format_is_exact(tmp_path):
    file = tmp_path / "run" / "p.safetensors"
    first = Predictions(
        logits=np.array([[-np.inf, 0.0], [-0.1, -800.0]], dtype=np.float32),
        labels=[0, 1],
        ids=["x", "y"],
        class_names=("1", "label"),
        kind="log_probs",
        split="calibration",
        groups=["g", "g"],
        extras={
            "image_features": np.arange(6, dtype=np.float16).reshape(2, 3),
            "text_features": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "big_endian": np.arange(3, dtype=">f8"),
        },
        resolution=0.01,
        provenance={"run": "é", "steps": [{"name": "temperature", "t": 0.1 + 0.2}], "none": None},
    )
    save_predictions(first, file)
    again = load_predictions(file)
    assert again.logits.tobytes() == first.logits.tobytes()
    assert again.logits.dtype == np.float32
    for name in ("labels", "ids", "groups"):
        assert getattr(again, name).tolist() == getattr(first, name).tolist()
    for name in ("class_names", "kind", "split", "resolution", "provenance"):
        assert getattr(again, name) == getattr(first, name)
    assert set(again.extras) == set(first.extras)
    for name, array in first.extras.items():
        assert np.array_equal(again.extras[name], array)
    assert again.extras["image_features"].dtype == np.float16


def test_half_a_pair(tmp_path):
    file = tmp_path / "p.safetensors"
    save_predictions(sample(), file)
    (tmp_path / "p.json").rename(tmp_path / "away.json")
    with pytest.raises(DataError, match=r"p.json: no such file; it belongs to the .safetensors"):
        load_predictions(file)


def test_halves_of_two_saves(tmp_path):
    file = tmp_path / "p.safetensors"
    save_predictions(sample(), file)
    old = (tmp_path / "p.json").read_bytes()
    save_predictions(sample(logits=LOGITS + 1), file)
    (tmp_path / "p.json").write_bytes(old)
    with pytest.raises(DataError, match=r"damaged, or not from the same save as p.json"):
        load_predictions(file)


def test_truncated_tensors(tmp_path):
    file = tmp_path / "p.safetensors"
    save_predictions(sample(), file)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(DataError, match=r"damaged, or not from the same save"):
        load_predictions(file)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, 'not a description of predictions .*"vlmcal.predictions"'),
        ({"version": 2}, "version 2 of the format, this program reads version 1"),
    ],
)
def test_other_descriptions(tmp_path, change, message):
    file = tmp_path / "p.safetensors"
    save_predictions(sample(), file)
    record = json.loads((tmp_path / "p.json").read_text()) | change
    (tmp_path / "p.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        load_predictions(file)


def test_own_format_contradictions(tmp_path):
    file = tmp_path / "p.safetensors"
    save_predictions(sample(split="val"), file)
    with pytest.raises(
        DataError, match=r"scores is 'logits' in the file, but 'probs' was asked for"
    ):
        load_predictions(file, scores="probs")
    with pytest.raises(DataError, match=r"this format knows its own columns; drop labels="):
        load_predictions(file, labels="label")


def test_provenance_must_be_plain(tmp_path):
    with pytest.raises(DataError, match=r"the provenance must be plain data"):
        save_predictions(sample(provenance={"x": {1, 2}}), tmp_path / "p.safetensors")
    assert list(tmp_path.iterdir()) == []
