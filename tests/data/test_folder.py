import os

import pytest

from vlmcal.data.folder import folder
from vlmcal.data.problems import InvalidDataError
from vlmcal.errors import DataError


def test_splits_above_classes(draw):
    root = draw("Training/cat/2.png", "Training/cat/10.png", "valid/dog/1.jpg", "test/ape/x/y.png")
    data = folder(root)
    assert data.class_names == ("ape", "cat", "dog")
    assert data.ids.tolist() == [
        "Training/cat/10.png", "Training/cat/2.png", "valid/dog/1.jpg", "test/ape/x/y.png",
    ]  # fmt: skip
    assert data.splits.tolist() == ["train", "train", "val", "test"]
    assert data.labels.tolist() == [1, 1, 2, 0]


def test_classes_only_gets_a_stratified_seeded_split(draw):
    root = draw(*[f"{c}/{i}.png" for c in ("cat", "dog") for i in range(10)])
    data, again, other = folder(root), folder(root), folder(root, split_seed=1)
    for label in (0, 1):
        mine = data.splits[data.labels == label].tolist()
        assert [mine.count(s) for s in ("train", "val", "test")] == [5, 2, 3]
    assert data.splits.tolist() == again.splits.tolist() != other.splits.tolist()


def test_hidden_and_foreign_files_are_ignored(draw):
    root = draw(
        "cat/a.png", "cat/.b.png", "cat/.cache/c.png", ".git/d.png", "__MACOSX/e.png", "cat/F.PNG"
    )
    (root / "cat" / "notes.txt").touch()
    assert sorted(folder(root).ids.tolist()) == ["cat/F.PNG", "cat/a.png"]


def test_class_names_from_a_file_and_a_mapping(draw, tmp_path):
    root = draw("n01/a.png", "n02/b.png", root=tmp_path / "images")
    names = tmp_path / "classnames.txt"
    names.write_text("n02 great white shark\nn01 tench\n\nn99 unused\n")
    assert folder(root, class_names=names).class_names == ("tench", "great white shark")
    assert folder(root, class_names={"n01": "one", "n02": "two"}).class_names == ("one", "two")
    with pytest.raises(InvalidDataError, match="no class name is given for the folders n02"):
        folder(root, class_names={"n01": "one"})
    with pytest.raises(InvalidDataError, match="several folders have the same class name: one"):
        folder(root, class_names={"n01": "one", "n02": "one"})


def test_a_class_may_be_called_like_a_split_if_said_so(draw):
    root = draw("test/a.png", "train/b.png", "train/c.png")
    assert folder(root, layout="classes").class_names == ("test", "train")
    with pytest.raises(InvalidDataError, match=r"1 images lie directly in .*test"):
        folder(root)


def test_mixture_of_splits_and_classes_is_refused(draw):
    root = draw("train/cat/a.png", "extra/cat/a.png")
    with pytest.raises(
        DataError, match=r"named like splits \(train\) and others are not \(extra\)"
    ):
        folder(root)
    assert folder(root, layout="splits").ids.tolist() == ["train/cat/a.png"]


def test_two_spellings_of_one_split(draw):
    root = draw("val/cat/a.png", "valid/cat/b.png")
    with pytest.raises(InvalidDataError, match='val, valid all stand for "val"; keep one'):
        folder(root)


def test_all_problems_of_a_folder_at_once(draw):
    root = draw("train/cat/a.png", "train/stray.png")
    (root / "train/dog").mkdir()
    (root / "train/scan").mkdir()
    (root / "train/scan/1.mp4").touch()
    with pytest.raises(InvalidDataError) as caught:
        folder(root)
    text = str(caught.value)
    assert "1 images lie directly in" in text
    assert "dog has no images (no files)" in text
    assert "scan has no images (only files with .mp4)" in text
    assert caught.value.partial.ids.tolist() == ["train/cat/a.png"]


def test_no_folder_and_empty_folder(tmp_path):
    with pytest.raises(DataError, match="gone: no such folder"):
        folder(tmp_path / "gone")
    with pytest.raises(DataError, match="no class folders in it; expected"):
        folder(tmp_path)


def test_links_that_lead_back_up_are_passed_over(draw):
    root = draw("cat/a.png", "dog/b.png", "elsewhere/c.png")
    whole = root / "photos"
    whole.mkdir()
    for name in ("cat", "dog"):
        (root / name).rename(whole / name)
    (whole / "cat" / "up").symlink_to("..")
    (whole / "cat" / "self").symlink_to(".")
    (whole / "cat" / "more").symlink_to(root / "elsewhere")
    assert sorted(folder(whole).ids.tolist()) == ["cat/a.png", "cat/more/c.png", "dog/b.png"]


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX only")
def test_names_that_are_no_text_are_listed(draw):
    root = draw("cat/a.png", "dog/b.png")
    try:
        os.rename(os.fsencode(root / "dog" / "b.png"), os.fsencode(root / "dog") + b"/\xff.png")
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    with pytest.raises(InvalidDataError, match=r"not UTF-8: dog/\\udcff.png"):
        folder(root)
