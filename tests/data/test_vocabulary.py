"""The shipped nouns, their plurals, and which words name a class."""

import gzip
import hashlib
import importlib.util
from importlib import resources
from pathlib import Path

import pytest

from vlmcal.data.vocabulary import OutlierVocabulary, name_forms
from vlmcal.data.wordnet import nouns, singulars
from vlmcal.errors import DataError

ROOT = Path(__file__).parent.parent.parent


def build_script():
    path = ROOT / "scripts" / "build_wordnet_nouns.py"
    spec = importlib.util.spec_from_file_location("build_wordnet_nouns", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_shipped_list_is_the_one_its_readme_describes():
    folder = resources.files("vlmcal.data.wordnet")
    readme = (folder / "README.md").read_text()
    for name in ("nouns", "irregular_plurals"):
        text = gzip.decompress((folder / f"{name}.txt.gz").read_bytes())
        assert hashlib.sha256(text).hexdigest() in readme
    assert f"{len(nouns()):,}".replace(",", " ") in readme
    assert sum(p.stat().st_size for p in Path(str(folder)).glob("*.gz")) < 1_000_000
    licence = (folder / "LICENSE.txt").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence
    assert "ALL copies of the software" in licence


def test_nouns_are_clean_sorted_and_distinct():
    words = nouns()
    assert list(words) == sorted(set(words))
    assert all(word == word.lower().strip() and "_" not in word for word in words)
    assert all(any(letter.isalpha() for letter in word) for word in words)
    assert {"aardvark", "polar bear", "t-shirt", "zymurgy"} <= set(words)
    assert not {"24/7", "1000", ".22"} & set(words)


def test_the_build_script_reads_wordnets_format():
    index = [
        "  1 This software and database is provided",
        "  2   ",
        "24/7 n 1 0 1 0 15157225  ",
        "Polar_bear n 1 2 @ #m 1 0 02134084  ",
        "ant n 1 2 @ ~ 1 1 02219486  ",
    ]
    script = build_script()
    assert script.lemmas(index) == ["ant", "polar bear"]
    assert script.licence(index) == "This software and database is provided\n\n"


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("cats", {"cat"}),
        ("churches", {"church"}),
        ("boxes", {"box"}),
        ("brushes", {"brush"}),
        ("babies", {"baby"}),
        ("firemen", {"fireman"}),
        ("buses", {"bus"}),
        ("waltzes", {"waltz"}),
        ("mice", {"mouse"}),
        ("oxen", {"ox"}),
        ("amici curiae", {"amicus curiae"}),
        ("aurar", {"eyir", "eyrir"}),  # stands twice in WordNet's list
        ("boxesful", {"boxful"}),
        ("glass", set()),
        ("ass", set()),  # WordNet has "as", but words in "ss" are singular
        ("bus", set()),
        ("as", set()),
        ("qwertys", set()),
    ],
)
def test_singulars_as_wordnet_gives_them(noun, expected):
    assert set(singulars(noun)) == expected


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("Polar_Bears", "polar bear", True),
        ("T-shirt", "t shirts", True),
        ("tea leaves", "tea leaf", True),
        ("mice", "mouse", True),
        ("attorneys-general", "attorney general", True),
        ("amici_curiae", "amicus curiae", True),  # only the list of irregular plurals knows
        ("cat", "tiger cat", False),
        ("car", "automobile", False),
        ("bus", "bu", False),
    ],
)
def test_overlap_is_symmetric(one, other, overlap):
    assert (not name_forms(one).isdisjoint(name_forms(other))) is overlap
    words = OutlierVocabulary((one,), "test")
    assert words.apart_from([other]).tolist() == [not overlap]
    assert OutlierVocabulary((other,), "test").apart_from([one, "zebra"]).tolist() == [not overlap]


def test_a_users_list(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("polar_bear\n\n  Cat \nCat\nété\n", encoding="utf-8")
    words = OutlierVocabulary.load(str(path))
    assert words.words == ("polar bear", "Cat", "été")
    packed = tmp_path / "words.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert OutlierVocabulary.load(str(packed)).digest == words.digest
    path.write_text("Cat\npolar bear\nété\n", encoding="utf-8")
    assert OutlierVocabulary.load(str(path)).digest != words.digest


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, ["none.txt", "cannot be read", '"wordnet"']),
        ("blank.txt", b"\n \n", ["blank.txt", "no name"]),
        ("bytes.txt", b"\xff\xfe\x00", ["bytes.txt", "UTF-8"]),
        ("plain.gz", b"cat\n", ["plain.gz", "cannot be read"]),
    ],
)
def test_an_unusable_list_is_explained(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as error:
        OutlierVocabulary.load(str(path))
    assert all(word in str(error.value) for word in words)
