import gzip
import json
from difflib import SequenceMatcher

import numpy as np
import pytest

from vlmcal.data.base import DATASETS, load_dataset
from vlmcal.data.digits import FORM_STARTS, digits
from vlmcal.data.shapes import combination, shapes
from vlmcal.data.templates import has_templates, source_of, templates_for, variants
from vlmcal.errors import DataError, SpecError


def test_registry_lists_every_loader():
    expected = {"arrays", "coop_split", "digits", "folder", "manifest", "shapes"}
    assert expected <= set(DATASETS.names())


# --- choosing a loader


def test_path_chooses_the_loader(tmp_path, draw):
    draw("cat/a.png", "cat/b.png", "cat/c.png", root=tmp_path / "photos")
    assert load_dataset(tmp_path / "photos").class_names == ("cat",)
    (tmp_path / "m.csv").write_text("image,label,split\nphotos/cat/a.png,cat,test\n")
    assert load_dataset(str(tmp_path / "m.csv")).name == "m"
    np.savez(
        tmp_path / "x.npz",
        images=np.zeros((3, 4, 4), np.uint8),
        labels=[0, 0, 0],
        class_names=["a"],
    )
    assert load_dataset({"path": tmp_path / "x.npz"}).class_names == ("a",)
    split = {"train": [["a.png", 0, "cat"]], "val": [], "test": []}
    (tmp_path / "split_zhou_Pets.json.gz").write_bytes(gzip.compress(json.dumps(split).encode()))
    assert load_dataset(tmp_path / "split_zhou_Pets.json.gz").name == "Pets"


def test_mapping_passes_parameters():
    data = load_dataset({"name": "shapes", "n_classes": 3, "n_train": 1, "n_val": 0, "n_test": 2})
    assert len(data) == 9


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        (
            "digit",
            SpecError,
            '"digit" is neither a data set nor a file or folder; did you mean "digits"',
        ),
        ("./nowhere/x.csv", DataError, "no such file or folder"),
        (
            {"name": "foldr", "root": "."},
            SpecError,
            'unknown data set "foldr"; did you mean "folder"',
        ),
        ({"name": "folder", "rot": "."}, SpecError, 'no option "rot"; did you mean "root"'),
        ({"name": "folder"}, SpecError, "missing a required argument: 'root'"),
        ({"root": "."}, SpecError, 'needs "name" .one of .*digits.* or "path", got .*root'),
    ],
)
def test_bad_specs(spec, error, message):
    with pytest.raises(error, match=message):
        load_dataset(spec)


def test_file_without_a_loader(tmp_path):
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(DataError, match=r'no loader for ".xlsx" files; expected a folder .* .csv'):
        load_dataset(tmp_path / "a.xlsx")


# --- digits


def test_digits_are_the_images_of_scikit_learn():
    from sklearn.datasets import load_digits

    source, data = load_digits(), digits()
    assert data.images.shape == (1797, 8, 8)
    assert data.images.dtype == np.uint8
    assert data.labels.tolist() == source.target.tolist()
    # 16 counts become 255; one count is 15.9375 grey levels, so rounding is undone by dividing.
    assert np.array_equal(np.rint(data.images / 15.9375), source.images)
    assert (data.images.min(), data.images.max()) == (0, 255)
    assert data.templates == ("a photo of the number {}.",)


def test_digits_split_keeps_forms_whole_and_classes_even():
    data = digits()
    assert [len(data.of_split(s)) for s in ("train", "val", "test")] == [646, 260, 891]
    assert len(set(data.groups.tolist())) == 14
    for form in set(data.groups.tolist()):
        assert len(set(data.splits[data.groups == form].tolist())) == 1
    for split in ("train", "val", "test"):
        counts = np.bincount(data.of_split(split).labels, minlength=10)
        assert counts.max() - counts.min() <= 7


def test_digits_forms_start_where_the_digit_sequence_starts_anew():
    text = "".join(map(str, digits().labels))
    ends = [*FORM_STARTS[1:], 1797]
    forms = [text[start:end] for start, end in zip(FORM_STARTS, ends, strict=True)]
    assert sum(form == forms[0] for form in forms) == 8
    assert all(122 <= len(form) <= 130 for form in forms)
    for form in forms:
        assert SequenceMatcher(None, forms[0], form, autojunk=False).ratio() > 0.96


# --- shapes


def test_all_combinations_differ():
    assert len({combination(i) for i in range(256)}) == 256


def test_shapes_use_every_word_in_both_halves():
    names = shapes(40, n_train=1, n_val=0, n_test=0).class_names
    assert len(set(names)) == 40
    for half in (names[:20], names[20:]):
        words = {word for name in half for word in name.split()}
        assert len(words) >= 8 + 7 + 3


def test_shapes_are_deterministic_and_extend_without_change():
    small = shapes(3, n_train=2, n_val=0, n_test=1, seed=5)
    large = shapes(5, n_train=4, n_val=1, n_test=1, seed=5)
    position = {name: i for i, name in enumerate(large.ids.tolist())}
    for name, image in zip(small.ids.tolist(), small.images, strict=True):
        assert np.array_equal(image, large.images[position[name]])
    other = shapes(3, n_train=2, n_val=0, n_test=1, seed=6)
    assert not np.array_equal(small.images, other.images)
    shifted = shapes(3, n_train=2, n_val=0, n_test=1, seed=5, shift=1.0)
    assert not np.array_equal(small.images, shifted.images)
    assert small.class_names == shifted.class_names == other.class_names


def test_shapes_refuse_bad_numbers():
    with pytest.raises(DataError, match=r"expected 2 to 256 classes, got 257"):
        shapes(257)
    with pytest.raises(DataError, match=r"counts of at least 0, not all 0"):
        shapes(3, n_train=0, n_val=0, n_test=0)


# --- arrays


def test_arrays_in_memory_get_a_stratified_split():
    data = load_dataset(
        {"name": "arrays", "images": np.zeros((20, 4, 4, 3), np.uint8), "labels": [0, 1] * 10,
         "class_names": ["ill", "well"]}
    )  # fmt: skip
    assert [len(data.of_split(s)) for s in ("train", "val", "test")] == [10, 4, 6]


def medmnist(n=4, **changes):
    content = {}
    for part in ("train", "val", "test"):
        content[f"{part}_images"] = np.full((n, 28, 28), len(part), np.uint8)
        content[f"{part}_labels"] = (np.arange(n) % 2)[:, None].astype(np.uint8)
    return content | changes


def test_medmnist_layout(tmp_path):
    np.savez(tmp_path / "pneumoniamnist.npz", **medmnist())
    data = load_dataset(
        {"path": tmp_path / "pneumoniamnist.npz", "class_names": ["normal", "pneumonia"]}
    )
    assert data.splits.tolist() == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
    assert data.labels.tolist() == [0, 1, 0, 1] * 3
    assert data.ids[[0, 4, 11]].tolist() == ["train/0", "val/0", "test/3"]
    assert data.images[4, 0, 0] == 3


IMAGES = np.zeros((3, 4, 4), np.uint8)
GOOD = {"images": IMAGES, "labels": np.array([0, 1, 0]), "class_names": np.array(["a", "b"])}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (GOOD | {"images": IMAGES / 255}, r"images must be uint8 .* got float64; .* \(255 \* images\)"),
        (GOOD | {"images": np.zeros((3, 3, 8, 8), np.uint8)}, r"channels first; use numpy.moveaxis"),
        (GOOD | {"images": np.zeros((3, 8, 8, 4), np.uint8)}, r"\(N, H, W\) or \(N, H, W, 3\), got"),
        (GOOD | {"labels": np.zeros((3, 14), int)}, "are read by: vlmcal findings"),
        (GOOD | {"labels": np.array([0, 1])}, r"one label per image, shape \(3,\), got \(2,\)"),
        (GOOD | {"labels": np.array([1, 2, 1])}, r"outside 0 to 1 \(2 classes\); first: 2 in row 1"),
        (GOOD | {"splits": np.array(["train", "tset", "val"])}, 'split "tset"; did you mean "test"'),
        ({"image": IMAGES, "labels": [0, 0, 0]}, 'no array "images"; .* did you mean "image"'),
        ({"images": IMAGES, "target": [0, 0, 0]}, 'no array "labels"; .*: valid: target'),
        ({k: v for k, v in GOOD.items() if k != "class_names"}, "no class_names; pass class_names="),
        (medmnist(val_images=np.zeros((4, 9, 9), np.uint8), class_names=["a", "b"]), "differ in shape"),
        ({"train_images": IMAGES, "class_names": ["a"]}, 'has "train_images" but no "train_labels"'),
        (GOOD | {"labels": np.array([0, None, 1], dtype=object)}, "holds pickled Python objects"),
    ],
)  # fmt: skip
def test_bad_npz(tmp_path, content, message):
    np.savez(tmp_path / "x.npz", **content)
    with pytest.raises(DataError, match=message):
        load_dataset(tmp_path / "x.npz")


def test_truncated_npz(tmp_path):
    file = tmp_path / "x.npz"
    np.savez(file, **GOOD)
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match=r"not a readable NPZ file .* may be truncated"):
        load_dataset(file)


def test_file_and_arrays_together(tmp_path):
    with pytest.raises(DataError, match=r"either a file or images, not both"):
        load_dataset({"name": "arrays", "path": tmp_path / "x.npz", "images": IMAGES})


# --- templates


def test_templates_of_the_papers():
    # Wordings as listed in Zhou et al. 2022 (CoOp code), Yao et al. 2023, Zhu et al. 2023, Yao et al. 2024.
    assert templates_for("OxfordPets") == ("a photo of a {}, a type of pet.",)
    assert templates_for("Food101", "prograd") == ("a type of food, a photo of {}.",)
    assert templates_for("fgvc_aircraft", "tcp") == ("a photo of an aircraft {}.",)
    assert {templates_for("dtd", v) for v in variants() if v != "calibprompt"} == {
        ("{} texture.",), ("a photo of a {}, a type of texture.",), ("a texture of {}.",),
        ("a photo of a {}.",),
    }  # fmt: skip
    assert templates_for("Kather", "calibprompt") == ("An H&E image of {}.",)
    assert "KgCoOp" in source_of("kgcoop")


def test_every_variant_covers_the_fifteen_natural_sets():
    names = "caltech101 pets cars flowers food aircraft sun dtd eurosat ucf imagenet imagenet_v2 "
    names += "imagenet_sketch imagenet_a imagenet_r"
    for variant in set(variants()) - {"calibprompt"}:
        for name in names.split():
            assert templates_for(name, variant)[0].count("{}") == 1


@pytest.mark.parametrize(
    ("name", "variant", "message"),
    [
        ("petz", "coop", 'no published templates for data set "petz"; did you mean "pets"'),
        ("pets", "kgcop", 'unknown template variant "kgcop"; did you mean "kgcoop"'),
        (
            "kather",
            "coop",
            'variant "coop" has no template for "kather"; variants that do: calibprompt',
        ),
    ],
)
def test_unknown_templates(name, variant, message):
    assert not has_templates(name, variant)
    with pytest.raises(SpecError, match=message):
        templates_for(name, variant)
