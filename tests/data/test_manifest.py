import gzip
import json

import pytest

from vlmcal.data.base import load_dataset
from vlmcal.data.manifest import manifest
from vlmcal.data.problems import InvalidDataError
from vlmcal.errors import DataError

ROWS = "a.png,cat,train\nb.png,dog,train\nc.png,cat,test\n"


@pytest.fixture
def table(tmp_path):
    def write(text, name="m.csv"):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def test_names_are_sorted_and_paths_start_at_the_file(table, tmp_path):
    data = manifest(table("image,label,split\n" + ROWS))
    assert data.class_names == ("cat", "dog")
    assert data.labels.tolist() == [0, 1, 0]
    assert data.images == (tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png")
    assert data.ids.tolist() == ["a.png", "b.png", "c.png"]
    assert data.name == "m"


def test_image_root_and_absolute_paths(table, tmp_path):
    data = manifest(
        table("image,label\n/abs/a.png,x\nb.png,x\nc.png,x\n"), image_root=tmp_path / "r"
    )
    assert [str(p) for p in data.images] == [
        "/abs/a.png",
        f"{tmp_path}/r/b.png",
        f"{tmp_path}/r/c.png",
    ]


def test_given_class_list_sets_the_order_and_may_have_absent_classes(table):
    data = manifest(table("image,label,split\n" + ROWS), class_names=["emu", "dog", "cat"])
    assert data.labels.tolist() == [2, 1, 2]
    assert data.class_names == ("emu", "dog", "cat")


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet", "jsonl"])
def test_all_formats_give_the_same(tmp_path, suffix):
    import pandas as pd

    frame = pd.DataFrame(
        {"image": ["a.png", "b c.png", "d.png"], "label": [1, 0, 1], "class": ["café", "tea, hot", "café"],
         "split": ["train", "Validation", "test"], "group": ["p1", "p2", "p3"], "id": ["x", "y", "z"]}
    )  # fmt: skip
    file = tmp_path / f"m.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(file)
    elif suffix == "jsonl":
        frame.to_json(file, orient="records", lines=True, force_ascii=False)
    else:
        frame.to_csv(file, sep="," if suffix == "csv" else "\t", index=False)
    data = load_dataset(file)
    assert data.class_names == ("tea, hot", "café")
    assert data.labels.tolist() == [1, 0, 1]
    assert data.splits.tolist() == ["train", "val", "test"]
    assert data.groups.tolist() == ["p1", "p2", "p3"]
    assert data.ids.tolist() == ["x", "y", "z"]


def test_other_column_names(table):
    text = "file,target,fold,patient,key\na.png,x,train,p,k1\nb.png,y,test,q,k2\n"
    data = manifest(
        table(text), image="file", label="target", split="fold", group="patient", id="key"
    )
    assert (data.groups.tolist(), data.ids.tolist()) == (["p", "q"], ["k1", "k2"])


def test_without_splits_groups_stay_together(table):
    rows = [f"{i}.png,{'ab'[i % 2]},p{i // 4}" for i in range(80)]
    data = manifest(table("image,label,group\n" + "\n".join(rows)))
    sides = {}
    for group, split in zip(data.groups.tolist(), data.splits.tolist(), strict=True):
        sides.setdefault(group, set()).add(split)
    assert all(len(found) == 1 for found in sides.values())
    assert [len(data.of_split(s)) for s in ("train", "val", "test")] == [40, 16, 24]


def test_byte_order_mark_and_windows_line_ends(tmp_path):
    file = tmp_path / "m.csv"
    file.write_bytes(b"\xef\xbb\xbfimage,label,split\r\na.png,cat,test\r\n")
    assert manifest(file).class_names == ("cat",)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("image,lable\na.png,cat\n", {}, 'no column "label"; .* pass label=NAME: did you mean "lable"'),
        ("img,label\na.png,cat\n", {"split": "fold"}, 'no column "fold"'),
        ("image,label\na.png,3\n", {}, "holds integers, and what they mean is not guessed; pass class_names"),
        ("image,label\na.png,2\n", {"class_names": ["x", "y"]}, "1 .*: values 2, first in data row 1"),
        ("image,label\na.png,-1\n", {"class_names": ["x", "y"]}, "outside 0 to 1"),
        ("image,label\na.png,1.0\n", {}, r"holds decimal numbers \(1.0\); write integers from 0"),
        ("image,label\na.png,1\n", {"class_names": ["1", "2"]}, "integers and so are class names"),
        ("image,label\na.png,catt\n", {"class_names": ["cat"]}, '"catt" in data rows 1 .* mean "cat"'),
        ("image,label,class\na.png,1,x\nb.png,2,y\n", {}, r"no class name for 0 \(labels run from 1 to 2\)"),
        ("image,label,class\na.png,0,x\nb.png,0,y\n", {}, "label 0 has several class names: x, y"),
        ("image,label,split\na.png,x,trian\n", {}, '"trian" in data rows 1; did you mean "train"'),
        ("image,label\na.png,x\na.png,x\n", {}, "1 ids occur more than once: a.png; list every image once"),
        ("image,label\n,x\nb.png,\n", {}, 'column "image" is empty in data rows 1'),
        ("image,label,Splits\na.png,x,train\n", {}, '"Splits" is not used but looks like "split"; .*ignore='),
        ("image,label,group\na.png,x,\n", {}, 'column "group" is empty in data rows 1'),
    ],
)  # fmt: skip
def test_bad_content(table, text, options, message):
    with pytest.raises(InvalidDataError, match=message):
        manifest(table(text), **options)


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "m.csv", r"the file is empty \(0 bytes\)"),
        ("image,label\n", "m.csv", "has a header but no rows"),
        ("image,label\na,b,c\n", "m.csv", "header has 2 columns, but line 2 has 3; put cells"),
        ("image,image\na,b\n", "m.csv", "column names repeat: image, image"),
        ('image,label\n"a,b\n', "m.csv", "line 2 cannot be read"),
        ('{"image": "a"}\n{oops\n', "m.jsonl", "line 2 is not JSON"),
        ('["a", 1]\n', "m.jsonl", "line 1: expected an object such as"),
        ("PAR1 no", "m.parquet", "not a readable Parquet file"),
        ("x", "m.txt", 'unknown kind of manifest ".txt"; expected one of .csv, .tsv'),
    ],
)
def test_unreadable_files(table, text, name, message):
    with pytest.raises(DataError, match=message):
        manifest(table(text, name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("m.csv", "image,label\na.png,café\n"),
        ("m.jsonl", '{"image": "a.png", "label": "café"}\n'),
    ],
)
def test_latin_1_is_named_as_the_cause(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=rf"{name}: not UTF-8 text .* save it as UTF-8"):
        manifest(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"gone.csv: no such file"):
        manifest(tmp_path / "gone.csv")


def test_all_problems_are_reported_at_once_and_good_rows_survive(table):
    text = "image,label,split\na.png,0,train\nb.png,9,train\nc.png,1,tset\n"
    text += "a.png,1,test\n,0,test\nd.png,1,test\n"
    with pytest.raises(InvalidDataError) as caught:
        manifest(table(text), class_names=["x", "y"])
    kinds = sorted(problem.kind for problem in caught.value.report.problems)
    assert kinds == ["bad-label", "duplicate-id", "empty-cell", "unknown-split"]
    assert caught.value.partial.ids.tolist() == ["a.png", "d.png"]
    assert str(caught.value).count("\n") == 4


def test_both_missing_columns_are_reported(table):
    with pytest.raises(InvalidDataError) as caught:
        manifest(table("img,lbl\na,b\n"))
    assert len(caught.value.report.errors) == 2


def test_ignored_column_may_look_similar(table):
    data = manifest(
        table("image,label,Splits\na.png,x,1\nb.png,x,2\nc.png,x,3\n"), ignore=["Splits"]
    )
    assert len(data) == 3


def test_json_lines_with_different_keys(table):
    lines = [{"image": "a", "label": "x", "split": "test"}, {"label": "x", "image": "b"}]
    with pytest.raises(InvalidDataError, match=r'column "split" is empty in data rows 2'):
        manifest(table("\n".join(map(json.dumps, lines)), "m.jsonl"))


@pytest.mark.parametrize("name", ["m.csv", "m.tsv", "m.jsonl"])
def test_packed_tables_are_read_as_if_unpacked(tmp_path, name):
    cells = [["image", "label", "split"], ["a.png", "cat", "train"], ["b.png", "01", "test"]]
    separator = "\t" if name == "m.tsv" else ","
    text = "\n".join(separator.join(line) for line in cells)
    if name == "m.jsonl":
        text = "\n".join(json.dumps(dict(zip(cells[0], line, strict=True))) for line in cells[1:])
    file = tmp_path / f"{name}.gz"
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    data = load_dataset(file)
    assert data.name == "m"
    assert data.class_names == ("01", "cat")
    assert data.labels.tolist() == [1, 0]
    assert data.images == (tmp_path / "a.png", tmp_path / "b.png")
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(
        DataError, match=rf"{name}\.gz: .*a damaged \.gz .*; fetch or pack it again"
    ):
        manifest(file)
