import shutil

import numpy as np
import pytest
from PIL import Image

from vlmcal.data.audit import audit, audit_source
from vlmcal.data.manifest import manifest
from vlmcal.errors import SpecError
from vlmcal.types.dataset import Dataset


def found(report):
    return {problem.kind: problem for problem in report.problems}


def toy(
    labels=(0, 1, 0, 1), splits=("train", "train", "test", "test"), names=("a", "b"), groups=None
):
    images = np.random.default_rng(0).integers(0, 256, (len(labels), 4, 4), dtype=np.uint8)
    return Dataset(
        name="toy", images=images, labels=labels, splits=splits, class_names=names, groups=groups
    )


def test_a_sound_data_set_has_no_problems():
    report = audit(toy(), shots=1)
    assert report.ok
    assert report.to_text() == "toy: 4 images, 0 errors, 0 warnings"


def test_everything_at_once(draw, tmp_path):
    draw("1.png", "2.png", "3.png", "4.png", "5.png")
    shutil.copy(tmp_path / "1.png", tmp_path / "same.png")
    shutil.copy(tmp_path / "2.png", tmp_path / "twin.png")
    Image.open(tmp_path / "4.png").save(tmp_path / "other_format.bmp")
    (tmp_path / "zero.png").touch()
    (tmp_path / "half.png").write_bytes((tmp_path / "3.png").read_bytes()[:60])
    (tmp_path / "m.csv").write_text(
        "image,label,split,group\n"
        "1.png,hot_dog,train,p1\n"
        "same.png,hot_dog,test,p1\n"
        "2.png,Hot dog,train,p2\n"
        "twin.png,Hot dog,train,p2\n"
        "4.png,cat,train,p3\n"
        "other_format.bmp,hot_dog,train,p3\n"
        "gone.png,cat,test,p4\n"
        "zero.png,cat,test,p5\n"
        "half.png,cat,val,p6\n"
        "5.png,catt,test,p7\n"
        "3.png,cat,tets,p8\n"
    )
    spec = {"path": tmp_path / "m.csv", "class_names": ["hot_dog", "Hot dog", "cat", "emu"]}
    report = audit_source(spec, shots=2)
    kinds = found(report)
    assert {kind: p.severity for kind, p in kinds.items()} == {
        "bad-label": "error",
        "unknown-split": "error",
        "missing-file": "error",
        "empty-file": "error",
        "unreadable-image": "error",
        "duplicate-across": "error",
        "duplicate-label": "error",
        "duplicate-within": "warning",
        "class-name": "error",
        "empty-class": "error",
        "absent-class": "warning",
        "too-few": "error",
        "group-leak": "error",
    }
    assert not report.ok
    assert report.n_images == 9
    assert kinds["missing-file"].items == (str(tmp_path / "gone.png"),)
    assert kinds["empty-file"].items == (str(tmp_path / "zero.png"),)
    assert "half.png: not a readable image" in kinds["unreadable-image"].message
    assert kinds["duplicate-across"].items == ("1.png (train) = same.png (test)",)
    assert kinds["duplicate-within"].items[0] == "2.png (train) = twin.png (train)"
    assert kinds["duplicate-label"].items == ("4.png (cat) = other_format.bmp (hot_dog)",)
    assert "same text: hot_dog, Hot dog; merge" in kinds["class-name"].message
    assert kinds["empty-class"].items == ("emu",)
    assert kinds["too-few"].items == ("cat (1)", "emu (0)")
    assert kinds["group-leak"].items == ("p1 (test, train)",)
    assert 'label "catt" in data rows 10' in kinds["bad-label"].message
    lines = report.to_text().splitlines()
    assert lines[0].startswith("m: 9 images, 11 errors, ")
    severities = [line.split()[0] for line in lines[1:]]
    assert severities == sorted(severities)


def test_missing_columns_are_in_the_report(tmp_path):
    (tmp_path / "m.csv").write_text("imgae,lable\na.png,x\n")
    report = audit_source(tmp_path / "m.csv")
    assert [p.message for p in report.errors] == [
        'no column "image"; rename a column or pass image=NAME: did you mean "imgae"?',
        'no column "label"; rename a column or pass label=NAME: did you mean "lable"?',
    ]


def test_an_unreadable_source_is_a_report_too(tmp_path):
    report = audit_source(tmp_path / "gone.csv")
    assert found(report)["unreadable-source"].message.endswith("no such file or folder")
    with pytest.raises(SpecError, match="did you mean"):
        audit_source("digitss")


def test_without_reading_images_only_files_are_checked(draw, tmp_path):
    draw("a.png", "b.png")
    (tmp_path / "bad.png").write_text("no image")
    (tmp_path / "m.csv").write_text(
        "image,label,split\na.png,x,train\nb.png,x,test\nbad.png,x,test\ngone.png,x,test\n"
    )
    data = manifest(tmp_path / "m.csv")
    assert set(found(audit(data, read_images=False))) == {"missing-file"}
    assert set(found(audit(data))) == {"missing-file", "unreadable-image"}


def test_absent_classes_name_split_and_class():
    report = audit(toy(labels=(0, 1, 0, 0)))
    assert report.ok
    assert [p.message for p in report.warnings] == ['1 of 2 classes are absent from "test": b']


def test_labels_of_one_class_below_the_shots():
    report = audit(toy(), shots=2)
    assert found(report)["too-few"].items == ("a (1)", "b (1)")


def test_unknown_splits_are_warned_of_and_no_test_images_are_an_error():
    report = audit(toy(splits=("train", "train", "unknown", "unknown")))
    assert {kind: p.severity for kind, p in found(report).items()} == {
        "unknown-split": "warning",
        "no-test": "error",
    }


@pytest.mark.parametrize("names", [("sea_lion", "sea lion"), ("Cat", "cat"), ("a-b", "a b")])
def test_names_that_read_alike(names):
    assert (
        "read these class names as the same text"
        in found(audit(toy(names=names)))["class-name"].message
    )


def test_blank_name():
    assert found(audit(toy(names=("a", " "))))["class-name"].items == ("' '",)


def test_different_pictures_of_equal_bytes_are_no_duplicates(tmp_path):
    flat = np.arange(16, dtype=np.uint8)
    Image.fromarray(flat.reshape(2, 8)).save(tmp_path / "wide.png")
    Image.fromarray(flat.reshape(8, 2)).save(tmp_path / "tall.png")
    (tmp_path / "m.csv").write_text("image,label,split\nwide.png,x,train\ntall.png,x,test\n")
    assert audit_source(tmp_path / "m.csv").problems == ()


def test_embedded_digits_are_sound():
    report = audit_source("digits", shots=16)
    assert report.problems == ()
