"""Series, volumes and patients among the rows of folders and tables."""

import json

import numpy as np
import pytest
from PIL import Image

from scans import dicom, nifti
from vlmcal.data.audit import audit
from vlmcal.data.base import load_dataset
from vlmcal.data.problems import InvalidDataError
from vlmcal.io.fingerprint import dataset_fingerprint

PIXELS = np.zeros((4, 4), np.uint8)


def clinic(root, per_patient=2, patients=6):
    for label in ("ill", "well"):
        for patient in range(patients):
            for image in range(per_patient):
                value = np.full((4, 4), patient * 9 + image, np.uint8)
                name = f"MRN-{label}-{patient}"
                dicom(root / label / f"{patient}-{image}.dcm", value, patient=name)
    return root


def test_patients_of_dicom_files_are_the_groups(tmp_path):
    data = load_dataset(clinic(tmp_path / "scans"))
    assert len(data) == 24
    assert data.groups is not None
    assert set(data.groups.tolist()) == {f"patient {n}" for n in range(1, 13)}
    for patient in set(data.groups.tolist()):
        assert len(set(data.splits[data.groups == patient].tolist())) == 1
    assert any("24 images of 12 patients by their DICOM files" in line for line in data.remarks)
    alone = load_dataset({"path": str(tmp_path / "scans"), "by_patient": False})
    assert alone.groups is None


def test_no_identity_leaves_the_files(tmp_path):
    data = load_dataset(clinic(tmp_path / "scans"))
    report = audit(data)
    said = "\n".join(
        [report.to_text(), *report.overview, *data.remarks, *data.groups.tolist(), repr(data)]
    )
    said += json.dumps([problem.items for problem in report.problems])
    for secret in ("MRN", "Doe", "ACC-777"):
        assert secret not in said.replace(str(tmp_path), "")


def test_a_patient_on_two_sides_is_an_error(tmp_path):
    for split in ("train", "test"):
        dicom(tmp_path / "d" / split / "ill" / f"{split}.dcm", PIXELS, patient="A")
    problems = {p.kind: p for p in audit(load_dataset(tmp_path / "d")).errors}
    assert problems["group-leak"].items == ("patient 1 (test, train)",)


def test_files_without_a_patient_are_said(tmp_path):
    dicom(tmp_path / "d" / "train" / "ill" / "a.dcm", PIXELS, patient="")
    dicom(tmp_path / "d" / "test" / "ill" / "b.dcm", PIXELS + 1, patient="")
    data = load_dataset(tmp_path / "d")
    assert data.groups is None
    assert any("name no patient" in line for line in data.remarks)


def test_a_group_column_wins(tmp_path):
    dicom(tmp_path / "a.dcm", PIXELS, patient="A")
    (tmp_path / "m.csv").write_text("image,label,split,group\na.dcm,ill,train,eye 3\n")
    assert load_dataset(tmp_path / "m.csv").groups.tolist() == ["eye 3"]


def test_series_are_refused_or_chosen(tmp_path):
    frames = np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    root = tmp_path / "d"
    dicom(root / "train" / "ill" / "cine.dcm", frames, patient="")
    dicom(root / "train" / "ill" / "one.dcm", PIXELS, patient="")
    with pytest.raises(
        InvalidDataError, match=r"1 images are series or volumes: .*cine\.dcm \(3 fr"
    ):
        load_dataset(root)
    middle = load_dataset({"path": str(root), "frame": "middle"})
    assert [str(i).rpartition("/")[2] for i in middle.images] == ["cine.dcm[-1]", "one.dcm"]
    every = load_dataset({"path": str(root), "frame": "all"})
    assert every.ids.tolist() == [f"train/ill/cine.dcm[{n}]" for n in range(3)] + [
        "train/ill/one.dcm"
    ]
    assert every.groups.tolist() == ["train/ill/cine.dcm"] * 3 + ["train/ill/one.dcm"]
    assert dataset_fingerprint(every) != dataset_fingerprint(middle)


def test_frames_by_a_column(tmp_path):
    frames = np.arange(4, dtype=np.uint8)[:, None, None] * np.ones((1, 2, 2), np.uint8)
    dicom(tmp_path / "cine.dcm", frames)
    lines = ["image,label,split,slice", "cine.dcm,ill,train,0", "cine.dcm,well,train,3"]
    (tmp_path / "m.csv").write_text("\n".join(lines) + "\n")
    data = load_dataset({"path": str(tmp_path / "m.csv"), "frame_column": "slice"})
    assert data.ids.tolist() == ["cine.dcm[0]", "cine.dcm[3]"]
    assert set(data.groups.tolist()) == {"patient 1"}
    (tmp_path / "m.csv").write_text("image,label,split,slice\ncine.dcm,ill,train,x\n")
    with pytest.raises(InvalidDataError, match='column "slice": no number from 0 in data rows 1'):
        load_dataset({"path": str(tmp_path / "m.csv"), "frame_column": "slice"})


def test_volumes_become_slices(tmp_path):
    values = np.random.default_rng(0).integers(0, 99, (4, 4, 5), dtype=np.int16)
    for split in ("train", "test"):
        nifti(tmp_path / "d" / split / "ill" / f"{split}.nii.gz", values)
    with pytest.raises(InvalidDataError, match="of volumes also pass plane=axial"):
        load_dataset({"path": str(tmp_path / "d"), "frame": 2})
    spec = {"path": str(tmp_path / "d"), "frame": "all", "plane": "axial", "window": "0..99"}
    data = load_dataset(spec)
    assert len(data) == 10
    assert len(set(data.groups.tolist())) == 2
    kinds = {p.kind for p in audit(data).problems}
    assert "duplicate-across" in kinds  # the same volume on both sides
    assert "unreadable-image" not in kinds


def test_a_window_for_a_folder_of_sixteen_bits(tmp_path):
    for split, value in (("train", 300), ("test", 900)):
        file = tmp_path / "d" / split / "ill" / "a.png"
        file.parent.mkdir(parents=True)
        Image.fromarray(np.array([[0, value]], np.uint16)).save(file)
    assert "no-window" in {p.kind for p in audit(load_dataset(tmp_path / "d")).errors}
    assert audit(load_dataset({"path": str(tmp_path / "d"), "window": "0..1000"})).ok
