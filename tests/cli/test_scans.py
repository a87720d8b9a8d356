"""Medical images on the command line: stated once, remembered by the run, and nobody's name anywhere."""

import json

import numpy as np
from PIL import Image

from scans import dicom


def grey(seed: int, base: int) -> np.ndarray:
    return (base + np.random.default_rng(seed).integers(0, 200, (16, 16))).astype(np.uint16)


def test_the_window_of_training_is_that_of_prediction(vlmcal, refused, tiny_folder, tmp_path):
    for base in (200, 700):
        for i in range(8):
            file = tmp_path / "deep" / f"n{base}" / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey(base + i, base)).save(file)
    words = ["16 images have more grey values", "not guessed: pass --option window=LOW..HIGH"]
    refused("train", tmp_path / "deep", "--shots", 1, "--store", tmp_path / "s", words=words)
    told = ("--option", "window=0..1000", "--backbone", tiny_folder, "--method", "zero_shot")
    trained = vlmcal("train", tmp_path / "deep", *told, "--store", tmp_path / "s")
    assert trained.code == 0, trained.err
    run = next((tmp_path / "s" / "runs").iterdir())
    image = tmp_path / "deep" / "n200" / "0.png"

    def probabilities(*more):
        said = vlmcal("predict", run, image, "--calibrator", "none", "--json", *more)
        assert said.code == 0, said.err
        return json.loads(said.out)["probabilities"]

    assert probabilities() == probabilities("--option", "window=0..1000")
    assert probabilities() != probabilities("--option", "window=0..399")
    refused("predict", run, image, "--option", "widow=0..9", words=["widow", "window"])


def test_patients_are_kept_apart_and_no_identity_is_written(vlmcal, tiny_folder, tmp_path):
    for base in (200, 700):
        for i in range(12):
            file = tmp_path / "scans" / f"n{base}" / f"{i}.dcm"
            patient = f"SECRET-{base}-{i // 2}"
            dicom(file, grey(base + i, base), patient=patient, WindowCenter=500, WindowWidth=1000)
    checked = vlmcal("data", "check", tmp_path / "scans")
    assert checked.code == 0, checked.out
    assert "24 images of 12 patients by their DICOM files" in checked.out
    told = ("--backbone", tiny_folder, "--shots", 1, "--epochs", 1, "--store", tmp_path / "s")
    report = tmp_path / "r.html"
    trained = vlmcal("train", tmp_path / "scans", *told, "--report", report)
    assert trained.code == 0, trained.err
    written = [path.read_bytes() for path in (tmp_path / "s").rglob("*") if path.is_file()]
    written += [report.read_bytes(), (checked.out + trained.out + trained.err).encode()]
    for secret in (b"SECRET", b"Doe", b"ACC-777"):
        assert not any(secret in content for content in written), secret
