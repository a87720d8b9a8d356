"""vlmcal findings: images with several findings each, from a table to calibrated probabilities and sets."""

import csv

import numpy as np
import pytest
from PIL import Image

from cli.conftest import Result
from tiny_towers import make_tiny_tower
from vlmcal.data.base import load_dataset


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """120 digits as files, and a table as CheXpert's and one as the NIH's."""
    folder = tmp_path_factory.mktemp("chest")
    digits = load_dataset("digits")
    columns, listed = [], []
    for at in range(120):
        Image.fromarray(digits.images[at]).save(folder / f"{at}.png")
        y, split = int(digits.labels[at]), ("val", "test")[at // 60]
        truth = {"three": int(y == 3), "even": int(y % 2 == 0), "big": int(y > 4)}
        names = [name for name, value in truth.items() if value]
        listed.append([f"{at}.png", "|".join(names) or "No Finding", at // 2, split])
        truth["even"] = -1 if at % 30 == 0 else truth["even"]
        truth["big"] = "" if at % 29 == 0 else truth["big"]
        columns.append([f"{at}.png", "Male", 33, int(not names), *truth.values(), split])
    heads = ["Path", "Sex", "Age", "No Finding", "three", "even", "big", "split"]
    write(folder / "chexpert.csv", [heads, *columns])
    write(folder / "nih.csv", [["Image Index", "Finding Labels", "Patient ID", "split"], *listed])
    return folder


def write(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


@pytest.fixture
def call(vlmcal, tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)

    def checked(*arguments) -> Result:
        result = vlmcal(*arguments)
        assert result.code == 0, result.out + result.err
        return result

    return checked


RULES = ("--uncertain", "ignore", "--blank", "negative")


def test_from_a_table_of_images_to_calibrated_findings_and_sets(call, pictures, tmp_path):
    out = call("findings", pictures / "chexpert.csv", *RULES, "-o", "out", "--resamples", 20).out
    assert "findings 3: three, even, big" in out
    assert "4 uncertain (-1) taken as unknown; 5 empty taken as absent" in out
    assert 'softmax over the two sentences: "{}" against "no {}"' in out
    rows = list(csv.DictReader((tmp_path / "out" / "val.csv").open()))
    assert len(rows) == 60
    assert rows[0]["even_true"] == ""
    command = out.split("calibrate with: vlmcal ")[1].split()
    assert "chosen: " in call(*command).out
    rest = ("--multi-label", "--blank", "ignore")
    call("calibrate", "fit", "out/val.csv", *rest, "-m", "platt", "-o", "f.json")
    call("calibrate", "apply", "f.json", "out/test.csv", *rest, "-o", "calibrated.csv")
    call("conformal", "fit", "out/val.csv", *rest, "-o", "sets.json")
    call("conformal", "apply", "sets.json", "out/test.csv", *rest, "-o", "sets.csv")
    call("evaluate", "calibrated.csv", *rest, "--resamples", 20, "--report", "page.html")
    assert "three" in (tmp_path / "page.html").read_text()


def test_names_in_one_column_with_patients_and_a_page(call, pictures, tmp_path):
    options = ("--option", "group=Patient ID", "--resamples", 20, "--report", "page.html")
    out = call("findings", pictures / "nih.csv", "--split", "test", *options, "-o", "t.csv").out
    assert 'names in column "Finding Labels"' in out
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert {name for name in rows[0] if name.endswith("_true")} == {
        "three_true", "even_true", "big_true",
    }  # fmt: skip
    assert len({row["group"] for row in rows}) == 30
    assert "Zero-shot findings of nih" in (tmp_path / "page.html").read_text()


def test_sigmoid_of_a_siglip_and_images_without_truths(call, pictures, tmp_path):
    siglip = make_tiny_tower("siglip", tmp_path / "siglip")
    asked = ("--findings", "cat,dog", "--template", "a photo of the {}.", "--backbone", siglip)
    images = [pictures / f"{at}.png" for at in range(3)]
    out = call("findings", *images, *asked, "--scores", "sigmoid", "-o", "p.csv").out
    assert 'sigmoid of each pair, with the bias of the model: "a photo of the {}."' in out
    sigmoid = list(csv.DictReader((tmp_path / "p.csv").open()))
    call("findings", *images, *asked, "-o", "q.csv")
    softmax = list(csv.DictReader((tmp_path / "q.csv").open()))
    assert [row["id"] for row in sigmoid] == [str(path) for path in images]
    values = [[float(row["prob_cat"]) for row in rows] for rows in (sigmoid, softmax)]
    assert not np.allclose(*values)


def test_what_is_not_said_is_refused(refused, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    twice, gone = tmp_path / "twice.csv", tmp_path / "gone.csv"
    write(twice, [["image", "three"], ["a.png", 1], ["a.png", 0], ["b.png", 0]])
    write(gone, [["image", "three", "split"], ["gone.png", 1, "val"], ["lost.png", 0, "test"]])
    chest, nih, picture = pictures / "chexpert.csv", pictures / "nih.csv", pictures / "1.png"
    for command, words in (
        ([chest, "-o", "x"], ["uncertain (-1)", "--uncertain ignore|positive|negative"]),
        ([chest, "-o", "x", "--uncertain", "ignore"], ["empty", "--blank ignore|negative"]),
        ([chest, "-o", "x", "--uncertain", "maybe"], ["uncertain", "maybe"]),
        ([nih, "-o", "x.csv"], ["test, val", "--split"]),
        ([nih, "-o", "x.csv", "--split", "tset"], ["tset", "test"]),
        ([nih, "-o", "x", "--option", "image=Path"], ["Path", "--option image=NAME"]),
        ([nih, "-o", "x", "--findings", "tree"], ["tree", "three"]),
        ([nih, "-o", "x", "--findings", "three,bigger"], ["never names", "bigger", "big"]),
        ([twice, "-o", "x"], ["1 ids occur more than once", "a.png"]),
        ([gone, "-o", "x"], ["2 of 2 images cannot be read", "gone.png"]),
        ([nih, "-o", "x", "--scores", "sigmoid"], ["bias", "negative sentence"]),
        ([nih, "-o", "x", "--scores", "sigmoid", "--negative", "no {}"], ["--negative"]),
        ([nih, "-o", "x", "--scores", "sofmax"], ["sofmax", "softmax"]),
        ([nih, "-o", "x", "--template", "edema"], ["exactly one {}"]),
        ([picture, "-o", "x.csv"], ["--findings"]),
        ([picture, "-o", "x.csv", "--findings", "a", "--blank", "ignore"], ["table with truths"]),
    ):
        refused("findings", *command, words=words)


def test_a_method_trained_for_each_finding(call, refused, pictures, tmp_path):
    table = tmp_path / "train.csv"
    rows = list(csv.reader((pictures / "chexpert.csv").open()))
    for at, row in enumerate(rows[1:]):
        row[0], row[-1] = str(pictures / row[0]), ("train", "val", "test")[at % 3]
    write(table, rows)
    recipe = ("--multi-label", *RULES, "--method", "linear_probe", "--shots", 2, "--epochs", 1)
    out = call("train", "train.csv", *recipe, "--json", "numbers.json").out
    assert "linear_probe, test, not calibrated:" in out
    commands = [line.split(": vlmcal ")[1] for line in out.splitlines() if ": vlmcal " in line]
    assert "chosen: " in call(*commands[2].split()).out
    folder = commands[3].split()[1]
    image = str(pictures / "5.png")
    call("predict", folder, image, "-o", "new.csv")
    (new,) = csv.DictReader((tmp_path / "new.csv").open())
    assert set(new) == {"id", "prob_three", "prob_even", "prob_big"}
    shown = call("predict", folder, rows[2][0], rows[3][0], "--calibrator", "none").out
    held = {row["id"]: row for row in csv.DictReader((tmp_path / folder / "val.csv").open())}
    for line in shown.splitlines():
        name, _, told = line.partition(": ")
        if name in held:
            wanted = [f"{n} {float(held[name]['prob_' + n]):.3f}" for n in ("three", "even", "big")]
            assert told == ", ".join(wanted)
    assert any(line.partition(": ")[0] in held for line in shown.splitlines())
    refused("predict", folder, image, "--classes", "a,b", words=["--classes", "findings"])
    refused("train", "train.csv", "--multi-label", words=["uncertain (-1)"])


def test_findings_of_an_npz_file_are_those_of_the_card(call, refused, tmp_path):
    rng = np.random.default_rng(0)
    content = {}
    for part, n in (("train", 4), ("val", 12), ("test", 12)):
        content[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        content[f"{part}_labels"] = rng.integers(0, 2, (n, 14), dtype=np.uint8)
    np.savez(tmp_path / "chestmnist.npz", **content)
    advice = "vlmcal findings chestmnist.npz"
    refused("train", "chestmnist", "--root", ".", words=["14 findings per image", advice])
    done = call("findings", "chestmnist.npz", "-o", "out", "--resamples", 20)
    assert "names of the card" in done.out
    with (tmp_path / "out" / "test.csv").open() as stream:
        rows = list(csv.reader(stream))
    assert len(rows) == 13
    np.savez(tmp_path / "mine.npz", **content)
    words = ["truths of 14 findings, and 0 names", "--findings"]
    refused("findings", "mine.npz", "-o", "out2", words=words)
    content["val_labels"] = content["val_labels"][:, :1] * 3
    np.savez(tmp_path / "chestmnist.npz", **content)
    refused("findings", "chestmnist.npz", "-o", "out3", words=["each 1, 0 or -1"])
