"""Files written by the first version of the format give what they gave when they were written."""

from pathlib import Path

import numpy as np
import pytest

from vlmcal.calibrators.base import Calibrator
from vlmcal.conformal.base import ConformalPredictor
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

FOLDER = Path(__file__).parent / "format_1"
CALIBRATOR_FILES = sorted(p.stem for p in FOLDER.glob("calibrator_*.json"))
CONFORMAL_FILES = sorted(p.stem for p in FOLDER.glob("conformal_*.json"))
INPUT_OF = {
    "calibrator_hac_platt": "hac",
    "calibrator_hac_gate": "hac",
    "calibrator_fusion": "fusion",
    "calibrator_with_arrays": "many",
}


@pytest.fixture(scope="module")
def inputs():
    with np.load(FOLDER / "inputs.npz") as archive:
        return dict(archive)


@pytest.fixture(scope="module")
def expected():
    with np.load(FOLDER / "expected.npz") as archive:
        return dict(archive)


def predictions(inputs, kind, prefix):
    start = f"{kind}.extra."
    logits = inputs[f"{kind}.logits"]
    binary = kind in ("hac", "fusion")
    return Predictions(
        logits=logits,
        labels=inputs[f"{kind}.labels"],
        ids=[f"{prefix}{i}" for i in range(len(logits))],
        kind="log_probs" if binary else "logits",
        class_names=("wrong", "right") if binary else (),
        groups=inputs.get(f"{kind}.groups"),
        extras={k.removeprefix(start): v for k, v in inputs.items() if k.startswith(start)},
    )


@pytest.mark.parametrize("name", CALIBRATOR_FILES)
def test_calibrators(name, inputs, expected):
    fitted = Calibrator.load(FOLDER / f"{name}.json")
    if name == "calibrator_of_confidences":
        ids = [f"t{i}" for i in range(len(inputs["confidence"]))]
        rows = Confidences(confidence=inputs["confidence"], correct=inputs["correct"], ids=ids)
        np.testing.assert_allclose(fitted.transform(rows).confidence, expected[name], atol=1e-12)
        return
    rows = predictions(inputs, INPUT_OF.get(name, "scores"), "t")
    np.testing.assert_allclose(fitted.transform(rows).probabilities(), expected[name], atol=1e-12)


@pytest.mark.parametrize("name", CONFORMAL_FILES)
def test_conformal_methods(name, inputs, expected):
    fitted = ConformalPredictor.load(FOLDER / f"{name}.json")
    rows = predictions(inputs, "sets", "new ")
    np.testing.assert_array_equal(fitted.predict(rows).sets, expected[name])
