"""``vlmcal data check`` and ``vlmcal train`` on data as people have them."""

import json
import shutil
from pathlib import Path

import pytest

from vlmcal import fit
from vlmcal.data import load_dataset
from vlmcal.data.base import DATASETS, accepts
from vlmcal.data.data_cards import data_card
from vlmcal.data.folder import folder
from vlmcal.data.sound import require_sound
from vlmcal.errors import DataError


@pytest.fixture
def renamed(small_images, tmp_path):
    """A table whose columns have other names, of images in another folder."""
    lines = ["image_path,class,patient_id"]
    for i, path in enumerate(sorted(small_images.rglob("*.png"))):
        lines.append(f"{path.relative_to(small_images)},{path.parent.name},{i // 2}")
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(lines) + "\n")
    return table


def test_columns_can_be_named_at_the_command_line(
    vlmcal, refused, renamed, small_images, tiny_folder, tmp_path
):
    hint = refused("data", "check", renamed, words=["--option image=NAME", "--option label=NAME"])
    assert "missing-column" in hint.out
    again = refused("train", renamed, "--store", tmp_path / "s", words=["--option image=NAME"])
    assert "pass image" not in again.err
    columns = ("--root", small_images, "--option", "image=image_path", "--option", "label=class")
    checked = vlmcal("data", "check", renamed, *columns)
    assert checked.code == 0, checked.out + checked.err
    assert "0 errors" in checked.out
    words = ("--backbone", tiny_folder, "--shots", 1, "--epochs", 1, "--store", tmp_path / "s")
    trained = vlmcal("train", renamed, *columns, *words)
    assert trained.code == 0, trained.err
    refused("train", renamed, "--option", "imge=x", words=['no option "imge"', '"image"'])
    refused("data", "check", renamed, "--option", "image", words=["KEY=VALUE"])


def test_a_column_of_patients_is_offered_and_never_used(vlmcal, small_images, renamed):
    columns = [
        *("--option", "image=image_path", "--option", "label=class"),
        *("--root", small_images),
    ]
    said = vlmcal("data", "check", renamed, *columns)
    assert said.code == 0
    assert 'column "patient_id" has 24 values for 48 images and the split that is drawn' in said.out
    assert "--option group=patient_id; else pass --option ignore=patient_id" in said.out
    for more in ("group=patient_id", "ignore=patient_id"):
        quiet = vlmcal("data", "check", renamed, *columns, "--option", more)
        assert "patient_id" not in quiet.out, quiet.out


def test_the_image_folder_of_a_split_file(vlmcal, small_images, tmp_path):
    names = sorted({p.parent.name for p in small_images.rglob("*.png")})
    rows = [
        [str(p.relative_to(small_images)), names.index(p.parent.name), p.parent.name]
        for p in sorted(small_images.rglob("*.png"))
    ]
    split = tmp_path / "elsewhere" / "split_zhou_Toy.json"
    split.parent.mkdir()
    split.write_text(json.dumps({"train": rows[::2], "val": [], "test": rows[1::2]}))
    checked = vlmcal("data", "check", split, "--root", small_images)
    assert checked.code == 0, checked.out + checked.err
    assert f"Toy: {len(rows)} images, 0 errors" in checked.out


def test_data_by_name_with_options(vlmcal, refused):
    checked = vlmcal(
        "data", "check", "shapes(n_train=1, n_val=1, n_test=1)", "--option", "n_classes=3"
    )
    assert "9 images" in checked.out
    refused("data", "check", "shapes(n_train=one)", words=["n_train", "a whole number", "'one'"])


def test_a_layout_of_a_plug_in_is_reached_by_both_verbs(
    vlmcal, small_images, tiny_folder, tmp_path, monkeypatch
):
    monkeypatch.setitem(
        DATASETS._entries,
        "marked",
        accepts(lambda path: (path / "MARK").is_file())(
            lambda root: folder(root / "inside", name="marked")
        ),
    )
    root = tmp_path / "data"
    shutil.copytree(small_images, root / "inside")
    (root / "MARK").touch()
    assert "marked: " in vlmcal("data", "check", root).out
    words = ("--backbone", tiny_folder, "--shots", 1, "--epochs", 1, "--store", tmp_path / "s")
    assert vlmcal("train", root, *words).code == 0


def test_a_picture_under_two_labels_stops_every_verb(
    vlmcal, refused, small_images, tiny_folder, tmp_path
):
    root, store = tmp_path / "data", tmp_path / "s"
    shutil.copytree(small_images, root)
    shutil.copy(root / "red cat" / "00.png", root / "green dog" / "twin.png")
    refused("data", "check", root, words=["duplicate-label", "labelled in two ways"])
    words = ("--backbone", tiny_folder, "--shots", 1, "--epochs", 1, "--store", store)
    refused("train", root, *words, words=["duplicate-label", "labelled in two ways"])
    assert not store.exists()
    assert vlmcal("train", root, *words, "--unchecked").code == 0

    spec = tmp_path / "e.yaml"
    spec.write_text(
        f"data: {root}\nbackbone: {tiny_folder}\nmethod: [zero_shot, coop]\nshots: 1\n"
        "train: {epochs: 1}\nevaluate: {resamples: 100}\n"
    )
    said = refused("run", spec, "--store", tmp_path / "r", words=["labelled in two ways"]).err
    assert said.count("labelled in two ways") == 1
    assert "[2/2]" in said
    assert "failed for the same reason" in said
    many = refused("run", spec, "seed=1..9", "--store", tmp_path / "m", words=["10 of 10"]).err
    assert many.count("failed for the same reason") == 4
    assert f"told no more; `vlmcal status {tmp_path / 'm'}` names all" in many
    assert vlmcal("run", spec, "--store", tmp_path / "r", "--unchecked").code == 0
    settings = {"shots": 1, "epochs": 1, "backbone": str(tiny_folder), "store": tmp_path / "f"}
    with pytest.raises(DataError, match="labelled in two ways"):
        fit(str(root), **settings)
    with pytest.raises(DataError, match="labelled in two ways"):
        fit(load_dataset(root), **settings)
    assert fit(str(root), **settings, unchecked=True).class_names


def test_data_found_sound_are_not_read_again(small_images, tmp_path, monkeypatch):
    data = load_dataset(small_images)
    require_sound(data, "a" * 64, cache_dir=tmp_path)
    monkeypatch.setattr("vlmcal.data.looks.read_image", None)
    require_sound(data, "a" * 64, cache_dir=tmp_path)
    with pytest.raises(TypeError):
        require_sound(data, "b" * 64, cache_dir=tmp_path)


def test_check_shows_what_there_is(vlmcal, small_images):
    lines = vlmcal("data", "check", small_images).out.splitlines()
    assert lines[1:3] == [
        "4 classes; images: train 24, val 8, test 16",
        "  blue bird: train 6, val 2, test 4",
    ]
    assert lines[-1] == "image sizes: 20 x 20 (48 of 48)"


def test_a_cell_that_fails_leaves_no_folder(refused, small_images, tmp_path):
    spec = tmp_path / "e.yaml"
    spec.write_text(f"data: {small_images}\nmethod: coop\nshots: 40\n")
    refused("run", spec, "--store", tmp_path / "s", words=["fewer than 40"])
    assert list((tmp_path / "s" / "runs").iterdir()) == []


def test_nothing_left_to_calibrate_on_is_said_by_check_and_train(
    vlmcal, refused, small_images, tiny_folder, tmp_path
):
    root, store = tmp_path / "data", tmp_path / "s"
    for part, numbers in {"train": range(2), "test": range(2, 5)}.items():
        for folder_ in small_images.iterdir():
            (root / part / folder_.name).mkdir(parents=True)
            for i in numbers:
                shutil.copy(folder_ / f"{i:02}.png", root / part / folder_.name)
    refused("data", "check", root, "--shots", 2, words=["nothing-held-out", "--calibration none"])
    words = ("--backbone", tiny_folder, "--shots", 2, "--epochs", 1, "--store", store)
    refused("train", root, *words, words=["nothing-held-out", "--calibration none"])
    for setting in ("none", "cross-fit"):
        assert vlmcal("data", "check", root, "--shots", 2, "--calibration", setting).code == 0
    refused("data", "check", root, "--calibration", "crossfit", words=['"cross-fit"'])
    done = vlmcal("train", root, *words, "--calibration", "none")
    assert done.code == 0, done.err
    command = done.out.splitlines()[-1].removeprefix("predict with: vlmcal ").split()
    image = root / "test" / "red cat" / "02.png"
    assert vlmcal(*(image if word == "IMAGE..." else word for word in command)).code == 0
    done = vlmcal("train", root, *words, "--calibration", "cross-fit")
    assert done.code == 0, done.err
    assert "8 train, 8 calibration, 12 test all images" in done.err
    assert (
        "fitted on the 8 training images, each predicted by training without its fold" in done.out
    )
    assert not list(store.rglob("checkpoint*"))


def test_published_data_by_name(vlmcal, refused, small_images, tiny_folder, tmp_path):
    listed = vlmcal("data", "list").out
    assert "caltech101" in listed
    assert "Objects of 100 categories" in listed
    shown = vlmcal("data", "show", "CHMNIST").out
    assert "every one of the 1504 test tiles" in shown
    assert "hf download" in vlmcal("data", "fetch", "chmnist").out
    refused("data", "show", "chmnits", words=["chmnist"])
    refused("data", "check", "busi", tmp_path, words=["split_BUSI.json", "vlmcal data fetch busi"])
    refused("data", "check", small_images, tmp_path, words=["busi"])

    names = data_card("busi").class_names
    top, rows = tmp_path / "BUSI", {}
    folders = sorted(small_images.iterdir())[:3]
    for part, numbers in (("train", range(4)), ("val", range(4, 6)), ("test", range(6, 9))):
        rows[part] = []
        for label, folder_ in enumerate(folders):
            for i in numbers:
                image = f"{folder_.name}/{i:02}.png"
                (top / "BUSI" / folder_.name).mkdir(parents=True, exist_ok=True)
                shutil.copy(folder_ / f"{i:02}.png", top / "BUSI" / image)
                rows[part].append([image, label, names[label]])
    (top / "split_BUSI.json").write_text(json.dumps(rows))
    said = refused(
        "data", "check", "busi", tmp_path, words=["published are 389", "not comparable"]
    ).out
    assert said.count("published are") == 3
    words = ("--backbone", tiny_folder, "--shots", 2, "--epochs", 1, "--store", tmp_path / "s")
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "published-data.md").read_text()
    lines = [line.split()[1:] for line in guide.splitlines() if line.startswith("vlmcal ")]
    assert len(lines) == 5
    for line in lines:
        call = [str(tmp_path) if word == "DATA" else word for word in line]
        done = vlmcal(*call, *(words if line[0] == "train" else ()))
        assert done.code == (2 if line[1] == "check" else 0), done.err
    assert '"train" has 12 images, published are 389' in done.out


def test_audit_takes_a_split_file_without_its_images(vlmcal, refused, tmp_path):
    rows = {"train": [["1_left.png", 0, "a"], ["2_left.png", 1, "b"]], "val": []}
    file = tmp_path / "split_Toy.json"
    file.write_text(json.dumps(rows | {"test": [["1_right.png", 0, "a"]]}))
    done = vlmcal("data", "audit", file)
    assert done.code == 0
    assert "1 of 1 such test images share theirs with a training image, for example 1" in done.out
    refused("data", "check", file, words=["3 of 3 files", "are not there"])
