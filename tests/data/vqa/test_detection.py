import gzip
import io
import json

import pytest
from PIL import Image

from vlmcal.data.vqa import load_questions
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.layouts import layout_of, rules, told_by
from vlmcal.errors import DataError, SpecError

SLAKE = {
    "qid": 1,
    "img_name": "x1/source.jpg",
    "q_lang": "en",
    "question": "What?",
    "answer": "lung",
}
OMNI = {
    "question_id": "D_1",
    "question": "What is it?",
    "gt_answer": "CT",
    "option_A": "CT",
    "option_B": "MR",
    "image_path": "Images/d/1.png",
}
PMC = {
    "Figure_path": "P_1.jpg",
    "Question": "What?",
    "Choice A": "A: x",
    "Choice B": "B: y",
    "Choice C": "C: z",
    "Choice D": "D: w",
    "Answer": "B",
}
MMMU = {
    "id": "dev_Art_1",
    "question": "<image 1>?",
    "options": "['a', 'b']",
    "answer": "A",
    "question_type": "multiple-choice",
    "image_1": "1.png",
}
MINE = {"image": "1.png", "question": "Large?", "answer": "no"}


def test_every_layout_has_a_rule_and_every_rule_a_layout():
    assert {rule.layout for rule in rules()} == set(VQA_LAYOUTS.names())


@pytest.mark.parametrize(
    ("row", "layout"),
    [
        (SLAKE, "slake"),
        (OMNI, "omni_med_vqa"),
        (MMMU, "mmmu"),
        (MINE, "manifest"),
        (PMC, "pmc_vqa"),
    ],
)
@pytest.mark.parametrize("name", ["q.json", "q.jsonl", "q.csv", "q.parquet", "q.json.gz"])
def test_the_first_record_tells_the_layout(files, row, layout, name):
    write = {".jsonl": files.lines, ".csv": files.table, ".parquet": files.parquet}
    path = write.get(name[name.index(".") :], files.json)(name, [row])
    assert layout_of(path) == layout
    assert len(load_questions(path, check_images=False)) == 1
    assert len(load_questions(path.parent, check_images=False)) == 1


def test_vqa_rad_and_pipes(files, rad_row):
    assert layout_of(files.json("rad.json", [rad_row(1)])) == "vqa_rad"
    assert layout_of(files.put("qa.txt", "s1|what?|lung\n")) == "vqa_med"


def test_a_file_that_fits_nothing_names_the_nearest(files):
    path = files.table("mine.csv", [{"picture": "1.png", "question": "Large?"}])
    with pytest.raises(DataError, match="the nearest, manifest, also needs image") as error:
        load_questions(path)
    for layout in VQA_LAYOUTS.names():
        assert f"\n  {layout}: " in str(error.value)
    with pytest.raises(DataError, match=r"no column \"image\"; valid: picture, question"):
        load_questions({"name": "manifest", "path": path})


def test_a_file_that_fits_two_layouts_is_not_guessed(files, tmp_path):
    out = io.BytesIO()
    Image.new("RGB", (4, 4)).save(out, format="PNG")
    image = {"bytes": out.getvalue(), "path": None}
    path = files.parquet("test.parquet", [{"image": image, "question": "Large?", "answer": "No"}])
    with pytest.raises(DataError, match="fits path_vqa and vqa_rad; name the layout"):
        load_questions(path, images=tmp_path / "out")
    named = load_questions({"name": "vqa_rad", "path": path}, images=tmp_path / "out")
    assert named.questions[0].gold == ("no",)


def test_the_shallowest_folder_decides(files):
    files.json("train.json", [SLAKE])
    files.json("validate.json", [SLAKE | {"qid": 2}])
    files.json("imgs/x1/question.json", [SLAKE | {"qid": 3}])
    files.json("dataset_infos.json", {"not": "a list"})
    files.put("README.txt", b"caf\xe9 | not UTF-8\n")
    found = load_questions(files.root, check_images=False)
    assert [(q.id, q.split) for q in found] == [("train-1", "train"), ("val-2", "val")]


def test_a_broken_file_in_a_folder_is_not_passed_over(files):
    files.json("train.json", [SLAKE])
    files.put("test.json", '[{"img_name": "x1/source.jpg",\n "q_lang": ]')
    with pytest.raises(DataError, match=r"test.json: line 2 is not JSON"):
        load_questions(files.root, check_images=False)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("q.jsonl", json.dumps(MINE) + '\n{"image": ', "q.jsonl: line 2 is not JSON"),
        ("q.jsonl", json.dumps(MINE) + "\n[1]\n", "line 2: expected an object"),
        ("q.csv", b"image,question\n1.png,caf\xe9?\n", "not UTF-8 text"),
        ("q.jsonl", b'{"image": "1.png", "question": "caf\xe9?"}\n', "not UTF-8 text"),
        ("q.csv", "image,question\n1.png,a,b\n", "line 2 has 3 cells, the header has 2"),
        ("q.csv", 'image,question\n1.png,"open\n', "line 3 cannot be read|line 2 cannot be read"),
        ("q.csv", "image,image,question\n1,2,3\n", 'two columns are called "image"'),
        ("q.json.gz", gzip.compress(b"[]", mtime=0)[:-4], "damaged .gz"),
        ("q.json.gz", b"no gzip", "damaged .gz"),
        ("q.parquet", b"PAR1 nothing", "not a readable Parquet file"),
        ("q.csv", b"", "the file is empty"),
        ("q.zip", b"PK", "unpack it"),
        ("q.xlsx", b"PK", "unknown kind of file"),
        ("q.json", "{}", "fits none of the layouts"),
        ("q.csv", "image,question\n", "fits none of the layouts"),
    ],
)
def test_damaged_files_say_what_and_where(files, name, content, message):
    with pytest.raises(DataError, match=message):
        load_questions(files.put(name, content), check_images=False)


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(files):
    text = "image,question,answer\r\n1.png,Größe?,3 cm\r\n\r\n2.png,Large?,Yes\r\n"
    found = load_questions(files.put("q.csv", b"\xef\xbb\xbf" + text.encode()), check_images=False)
    assert [(q.question, q.gold) for q in found] == [("Größe?", ("3 cm",)), ("Large?", ("yes",))]
    lines = "\r\n".join(json.dumps(MINE | {"id": str(i)}) for i in range(2))
    found = load_questions(
        files.put("q.jsonl", b"\xef\xbb\xbf" + lines.encode()), check_images=False
    )
    assert [q.id for q in found] == ["0", "1"]


def test_wrong_names_are_told_the_nearest(files):
    path = files.table("mine.csv", [MINE])
    with pytest.raises(SpecError, match='unknown question layout "slakee"; did you mean "slake"'):
        load_questions({"name": "slakee", "path": path})
    with pytest.raises(SpecError, match='no option "image"; did you mean "images"'):
        load_questions(path, image="x")
    with pytest.raises(SpecError, match='need "path"'):
        load_questions({"name": "slake"})
    with pytest.raises(SpecError, match="unknown split"):
        load_questions(path, split="tset")
    with pytest.raises(DataError, match=r'no question of the split "test"; the splits are'):
        load_questions(path, split="test")
    with pytest.raises(SpecError, match='defects must be one of "error", "skip"'):
        load_questions(path, defects="ignore")
    with pytest.raises(DataError, match="no such file or folder"):
        load_questions(files.root / "nowhere")


def test_a_missing_image_is_found_before_asking(files):
    files.images("1.png")
    files.put("images.zip", b"PK")
    rows = [
        MINE | {"image": name} for name in ("1.png", "2.png", "3.png", "2.png", "4.png", "5.png")
    ]
    path = files.table("mine.csv", rows)
    with pytest.raises(DataError) as error:
        load_questions(path)
    message = str(error.value)
    assert "mine: 4 of 5 images are missing" in message
    assert all(name in message for name in ("2.png", "3.png", "4.png"))
    assert "5.png" not in message
    assert f"looked in: {files.root}" in message
    assert f"not unpacked yet: {files.root / 'images.zip'}" in message
    assert "images=FOLDER" in message
    assert len(load_questions(path, check_images=False)) == 6
    with pytest.raises(DataError, match="unpack them and give the folder"):
        load_questions(path, images=files.root / "images.zip")
    with pytest.raises(DataError, match="got a file"):
        load_questions(path, images=path)


def test_a_named_folder_of_images_is_the_only_one_searched(files, tmp_path):
    files.images("1.png")
    path = files.table("mine.csv", [MINE])
    with pytest.raises(DataError, match=r"looked in: .*elsewhere \(no such folder\)"):
        load_questions(path, images=str(tmp_path / "elsewhere"))


def test_a_layout_of_a_plug_in_is_told_by_its_columns(files, monkeypatch):
    @told_by("picture, ask, reply")
    def mine(path, *, images=None, split=None):
        same = files.table("as_manifest.csv", [MINE])
        return load_questions({"name": "manifest", "path": same}, check_images=False)

    monkeypatch.setitem(VQA_LAYOUTS._entries, "mine", mine)
    path = files.table("theirs.csv", [{"picture": "1.png", "ask": "Large?", "reply": "no"}])
    assert layout_of(path) == "mine"
    assert len(load_questions(path, check_images=False)) == 1
