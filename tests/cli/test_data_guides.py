"""The commands of the guides on data, as shown, on small data of each kind."""

import io
import json
import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scans import dicom, nifti

GUIDES = Path(__file__).parents[2] / "docs" / "guides"


def commands(name: str) -> list[str]:
    blocks = re.findall(r"^```\n(.*?)^```", (GUIDES / name).read_text(), re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("vlmcal ")]


def coloured(seed: int, base: int) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 60, (20, 20, 3))
    return Image.fromarray((base + noise).astype(np.uint8))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    rows = ["file,finding,patient"]
    for name, base in (("ill", 20), ("well", 160)):
        for n in range(10):
            file = tmp_path / "photos" / name / f"{n}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            coloured(base + n, base).save(file)
            rows.append(f"photos/{name}/{n}.png,{name},{name}-{n // 2}")
            grey = np.asarray(coloured(base + n, base).convert("L")).astype(np.uint16) * 4
            deep = tmp_path / "deep" / name / f"{n}.png"
            deep.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(deep)
            dicom(tmp_path / "scans" / name / f"{n}.dcm", grey, patient=f"{name}{n // 2}",
                  WindowCenter=500, WindowWidth=1000)  # fmt: skip
            volume = np.random.default_rng(base + n).integers(0, 99, (5, 5, 3), dtype=np.int16)
            nifti(tmp_path / "volumes" / name / f"{n}.nii.gz", volume)
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "pictures-0.tar", "w") as archive:
        for n, file in enumerate(sorted((tmp_path / "photos").rglob("*.png"))):
            for end, content in (("png", file.read_bytes()), ("cls", file.parent.name.encode())):
                about = tarfile.TarInfo(f"{n}.{end}")
                about.size = len(content)
                archive.addfile(about, io.BytesIO(content))
    split = {"train": [["crc-prim-he-07_001.tif", 0, "a"]], "val": [],
             "test": [["crc-prim-he-07_002.tif", 0, "a"]]}  # fmt: skip
    (tmp_path / "split_CHMNIST.json").write_text(json.dumps(split))
    return tmp_path


@pytest.mark.parametrize("guide", ["your-own-data.md", "medical.md"])
def test_every_command_does_what_the_guide_says(guide, here, vlmcal, tiny_folder):
    shown = commands(guide)
    assert len(shown) >= 6
    run = ""
    for line in shown:
        words = [str(tiny_folder) if word == "pocket" else word for word in shlex.split(line)[1:]]
        if words[0] == "train":
            words += ["--backbone", str(tiny_folder), "--epochs", "1", "--store", "runs"]
            words += [] if "--shots" in words else ["--shots", "1"]
        told = vlmcal(*(run if word == "RUN" else word for word in words))
        assert told.code == 0, f"{line}\n{told.out}{told.err}"
        found = re.findall(r"predict with: vlmcal predict (\S+)", told.out)
        run = found[-1] if found else run
    if guide == "your-own-data.md":
        assert (here / "audit.html").is_file()
        assert json.loads((here / "audit.json").read_text())["name"] == "photos"
