"""``vlmcal data audit``: a page with pictures, numbers as JSON, questions as well as images."""

import json
import shutil

import pytest
from PIL import Image


@pytest.fixture
def copied(small_images, tmp_path, monkeypatch):
    """Three classes, with the picture of one mirrored on the other side."""
    monkeypatch.setenv("VLMCAL_CACHE", str(tmp_path / "cache"))
    root = tmp_path / "mine"
    for split, part in (("train", slice(0, 6)), ("test", slice(6, 12))):
        for folder in sorted(small_images.iterdir()):
            (root / split / folder.name).mkdir(parents=True)
            for file in sorted(folder.iterdir())[part]:
                shutil.copy(file, root / split / folder.name / file.name)
    source = next((root / "train" / "red cat").iterdir())
    mirrored = Image.open(source).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    mirrored.save(root / "test" / "red cat" / "copy.png")
    return root


def test_page_and_numbers(vlmcal, copied, tmp_path):
    told = vlmcal(
        "data", "audit", copied, "--report", tmp_path / "a.html", "--json", tmp_path / "a.json"
    )
    assert told.code == 0, told.out
    assert "[near-duplicate] 1 image looks the same" in told.out
    page = (tmp_path / "a.html").read_text()
    assert "Pictures of two splits that look the same" in page
    assert "data:image/jpeg;base64," in page
    kinds = {p["kind"]: p for p in json.loads((tmp_path / "a.json").read_text())["problems"]}
    assert "copy.png" in kinds["near-duplicate"]["items"][0]
    assert (tmp_path / "cache" / "looks.sqlite").is_file()
    streamed = vlmcal("data", "audit", copied, "--json", "-")
    assert json.loads(streamed.out)["images"] == 49


def test_labels_are_doubted_where_a_backbone_is_named(vlmcal, copied, tiny_folder, tmp_path):
    shutil.move(
        next((copied / "train" / "blue bird").iterdir()), copied / "train" / "grey fish" / "x.png"
    )
    told = vlmcal(
        "data", "audit", copied, "--backbone", tiny_folder, "--report", tmp_path / "a.html"
    )
    assert told.code == 0, told.out
    assert "label-doubt" in told.out or "near-features" in told.out


def test_questions_about_images_of_both_sides(vlmcal, tmp_path):
    rows = [("1.png", "Is it large?", "yes", "train"), ("1.png", "Which side?", "left", "test"),
            ("2.png", "Is it small?", "no", "test")]  # fmt: skip
    lines = ["image,question,answer,split", *(",".join(row) for row in rows)]
    (tmp_path / "q.csv").write_text("\n".join(lines) + "\n")
    told = vlmcal("data", "audit", tmp_path / "q.csv")
    assert told.code == 2
    assert "1 of 2 test images are also in train: 1.png" in told.out
