"""What file names give away, on names made like those of published sets."""

import json

from vlmcal.data.audit import audit_source
from vlmcal.data.file_names import name_groups


def split_file(tmp_path, **parts):
    """A split file of (name, class name) pairs."""
    names = sorted({name for rows in parts.values() for _, name in rows})
    content = {
        part: [[image, names.index(name), name] for image, name in parts.get(part, ())]
        for part in ("train", "val", "test")
    }
    path = tmp_path / "split_Toy.json"
    path.write_text(json.dumps(content))
    return path


def test_eyes_on_both_sides_and_an_ending_that_names_the_class(tmp_path):
    train = [(f"dr/{i}_left.jpeg", "ill") for i in range(10)]
    train += [(f"well/{i}_right.png", "well") for i in range(10)]
    test = [(f"dr/{i}_right.jpeg", "ill") for i in range(7, 17)]
    test += [(f"well/{i}_left.png", "well") for i in range(100, 110)]
    path = split_file(tmp_path, train=train, test=test)
    report = audit_source(path, names_alone=True)
    found = {problem.kind: problem.message for problem in report.problems}
    assert report.ok
    assert "3 of 20 such test images share theirs" in found["name-groups"]
    assert ".jpeg is ill, .png is well" in found["ending-leak"]
    assert "names, labels and splits alone" in found["no-files"]
    kinds = {problem.kind for problem in audit_source(path).errors}
    assert kinds == {"missing-file"}


def test_slides_videos_and_knees():
    ids = ["a/10A_CRC-Prim-HE-07.tif_Row_1_Col_2.tif", "b/20B_CRC-Prim-HE-07_031a.tif_Row_5.tif"]
    (slides,) = name_groups(ids, ["train", "test"])
    assert (slides.groups, slides.shared, slides.example) == (1, 1, "crc-prim-he-07")
    (video,) = name_groups(["v_Run_g01_c01.jpg", "v_Run_g01_c02.jpg"], ["train", "test"])
    assert video.shared == 1
    (knees,) = name_groups(
        ["9001400L.png", "9001400R.png", "9002000L.png"], ["test", "test", "train"]
    )
    assert (knees.groups, knees.test, knees.shared) == (2, 2, 0)
    assert name_groups(["cat_1.png", "cat_2.png", "dog_1.png"], ["train", "test", "test"]) == []
