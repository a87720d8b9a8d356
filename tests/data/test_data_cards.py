"""Cards of published data sets: facts that hold together, and data of each layout read by name."""

import json

import numpy as np
import pytest
from PIL import Image

from vlmcal.data import load_dataset
from vlmcal.data.data_cards import data_card, data_cards, find_card
from vlmcal.data.published import reader
from vlmcal.data.templates import templates_for, variants
from vlmcal.errors import DataError, SpecError

CARDS = data_cards()
GENERAL = (
    *("imagenet", "caltech101", "oxford_pets", "stanford_cars", "oxford_flowers", "food101"),
    *("fgvc_aircraft", "sun397", "dtd", "eurosat", "ucf101"),
)


def draw(*paths):
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_holds_together(name):
    card = CARDS[name]
    assert all((card.summary, card.licence, card.source, card.fetch, card.cite, card.traps))
    assert card.n_classes == len(set(card.class_names) or range(card.n_classes))
    assert set(card.sizes) <= {"train", "val", "test"}
    assert all(n > 0 for n in card.sizes.values())
    assert all(template.count("{}") == 1 for template in card.templates())
    for word in (card.name, *card.aliases):
        assert find_card(word) is card
    assert card.layout[0].split(".")[0] in card.text()
    with pytest.raises(DataError, match="nothing is downloaded"):
        reader(card)("no/such/place")


def test_the_sets_of_the_literature_have_cards():
    medical = ("covid", "rsna18", "kather", "pannuke", "digestpath", "busi", "btmri", "chmnist")
    more = ("covid_19", "ctkidney", "kneexray", "kvasir", "lungcolon", "octmnist", "retina")
    assert {*GENERAL, *medical, *more} <= CARDS.keys()
    assert {f"imagenet_{end}" for end in ("v2", "sketch", "a", "r")} <= CARDS.keys()
    words = [word.lower().replace("_", "") for c in CARDS.values() for word in (c.name, *c.aliases)]
    assert sum(CARDS["chmnist"].sizes.values()) == 8 * 625
    assert CARDS["eurosat"].class_names[0] == "Annual Crop Land"
    assert CARDS["caltech101"].class_names[0] == "face"  # labels follow ASCII order of old names
    assert "cars" in words


def test_a_split_file_in_its_usual_place(tmp_path):
    top = tmp_path / "DTD"
    names = CARDS["dtd"].class_names
    rows = {
        part: [[f"{names[i]}/{part}.png", i, names[i]] for i in range(47)]
        for part in ("train", "val", "test")
    }
    draw(*(top / "images" / row[0] for part in rows.values() for row in part))
    (top / "split_zhou_DescribableTextures.json").write_text(json.dumps(rows))
    for spec in (
        {"name": "dtd", "root": tmp_path},
        {"name": "DescribableTextures", "root": top},
        {"name": "dtd", "image_root": tmp_path},
    ):
        data = load_dataset(spec)
        assert (len(data), data.class_names) == (141, names)
        assert data.templates == ("{} texture.",)
        assert data.images[0].is_file()
    assert (
        'differs from the card of dtd: "train" has 47 images, published are 2,820' in data.remarks
    )
    kgcoop = load_dataset({"name": "dtd", "root": tmp_path, "variant": "kgcoop"})
    assert kgcoop.templates == templates_for("dtd", "kgcoop")
    with pytest.raises(SpecError, match="kgcop"):
        load_dataset({"name": "dtd", "root": tmp_path, "variant": "kgcop"})
    assert "kgcoop" in variants()


def test_folders_with_a_file_of_class_names_keep_the_published_order(tmp_path):
    top = tmp_path / "rsna18" / "images"
    folders = ("lung_opacity", "no_lung_opacity_not_normal", "normal")
    draw(*(top / part / name / "1.png" for part in ("train", "test") for name in folders))
    data = load_dataset({"name": "rsna18", "root": tmp_path})
    assert data.class_names == ("normal", "no lung opacity, not normal", "lung opacity")
    assert data.templates == ("A chest X-ray image of {} patient",)
    labels = {str(i): data.class_names[c] for i, c in zip(data.ids, data.labels, strict=True)}
    assert labels["images/test/normal/1.png"] == "normal"
    draw(top / "train" / "other" / "1.png")
    with pytest.raises(DataError, match="no class name for the folders other"):
        load_dataset({"name": "rsna18", "root": tmp_path})


def test_variants_of_imagenet_use_the_names_of_their_own_folders(tmp_path):
    names = tmp_path / "imagenet" / "classnames.txt"
    names.parent.mkdir()
    names.write_text("n02 shark\nn01 tench\nn03 hen\n")
    draw(tmp_path / "imagenet-a" / "imagenet-a" / "n03" / "1.png")
    draw(tmp_path / "imagenet-a" / "imagenet-a" / "n01" / "2.png")
    data = load_dataset({"name": "imagenet-adversarial", "root": tmp_path})
    assert data.class_names == ("tench", "hen")
    assert set(data.splits) == {"test"}
    v2 = tmp_path / "imagenetv2" / "imagenetv2-matched-frequency-format-val"
    draw(v2 / "0" / "1.png", v2 / "1" / "2.png", v2 / "2" / "3.png")
    data = load_dataset({"name": "imagenet_v2", "root": tmp_path})
    assert data.class_names == ("tench", "shark", "hen")


def test_aircraft_by_its_lists(tmp_path):
    top = tmp_path / "fgvc_aircraft"
    top.mkdir()
    (top / "variants.txt").write_text("707-320\nF/A-18\n")
    for part, line in (("train", "1 707-320"), ("val", "2 F/A-18"), ("test", "3 F/A-18")):
        (top / f"images_variant_{part}.txt").write_text(f"{line}\n")
    data = load_dataset({"name": "aircraft", "root": tmp_path})
    assert data.labels.tolist() == [0, 1, 1]
    assert data.images[2] == top / "images" / "3.jpg"


def test_medmnist_in_all_sizes(tmp_path):
    for end, side in (("", 28), ("_64", 64)):
        arrays = {}
        for part in ("train", "val", "test"):
            arrays[f"{part}_images"] = np.zeros((3, side, side), np.uint8)
            arrays[f"{part}_labels"] = np.array([[0], [1], [1]], np.uint8)
        np.savez(tmp_path / f"pneumoniamnist{end}.npz", **arrays)
    data = load_dataset({"name": "PneumoniaMNIST", "root": tmp_path})
    assert data.class_names == ("normal", "pneumonia")
    assert data.images.shape == (9, 28, 28)
    assert (
        load_dataset({"name": "pneumoniamnist", "root": tmp_path, "size": 64}).images.shape[1] == 64
    )
    with pytest.raises(DataError, match="no pneumoniamnist of 224 pixels"):
        load_dataset({"name": "pneumoniamnist", "root": tmp_path, "size": 224})


def test_unknown_names_are_told_the_nearest():
    with pytest.raises(DataError, match="oxford_pets"):
        data_card("oxford_petz")
