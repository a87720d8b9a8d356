import pytest

from vlmcal.data.vqa import load_questions
from vlmcal.data.vqa.fields import by_options, listed
from vlmcal.errors import DataError, SpecError


@pytest.mark.parametrize(
    ("options", "gold", "expected"),
    [
        (["A:Lung", "B: Heart"], "A", ("Lung",)),
        ([" (A) Lung", "(B) Heart "], "B: Heart", ("Heart",)),
        (["A. Lung", "B. Heart"], "heart.", ("Heart",)),
        (["A: Lung", "Heart"], "A: Lung", ("A: Lung",)),
        (["B", "A"], "A", ("A",)),
        (["x", "y", None, ""], "(b)", ("y",)),
        (["No, it's normal.", "Yes"], "No, it's normal", ("No, it's normal.",)),
        (["left", "LEFT"], "left", ("left",)),
        (["a", "b"], "", ()),
        (["Vitamin A", "B cell"], "B", ("B cell",)),
    ],
)
def test_the_gold_is_a_text_or_else_a_letter(options, gold, expected):
    assert by_options(options, [gold]).gold == expected


@pytest.mark.parametrize(
    ("options", "gold", "message"),
    [
        (["x", "y"], "z", "is not among the options"),
        (["x", "y"], "C", "is not among the options"),
        (["x", "y"], "AB", "is not among the options"),
        (["x", "y"], ".", "is not among the options"),
        (["Left", "LEFT"], "left", "fits several"),
        (["x", "", "y"], "x", "option B is empty"),
    ],
)
def test_a_gold_that_is_no_option_is_an_error(options, gold, message):
    with pytest.raises(DataError, match=message):
        by_options(options, [gold])


def test_lists_in_cells():
    assert listed('["a", "b|c"]') == ["a", "b|c"]
    assert listed("['a', \"it's\"]") == ["a", "it's"]
    assert listed("a | b") == ["a", "b"]
    with pytest.raises(DataError, match="not a JSON or Python list"):
        listed("[__import__('os').getcwd()]")


def pmc(**changes):
    row = {
        "index": "7",
        "Figure_path": "PMC1_Fig1.jpg",
        "Caption": "a caption, with a comma",
        "Question": "What is shown?",
        "Choice A ": " A:Lung ",
        " Choice B": " B:Heart ",
        "Choice C": " C:Liver ",
        "Choice D": " D:Spleen ",
        "Answer": "B",
        "split": "test",
    }
    return row | changes


def test_pmc_vqa_by_letter_by_text_and_by_label(files):
    files.images("figures/PMC1_Fig1.jpg")
    (found,) = load_questions(files.table("test_clean.csv", [pmc()]))
    assert found.options == ("Lung", "Heart", "Liver", "Spleen")
    assert (found.gold, found.gold_letters, found.split) == (("Heart",), ("B",), "test")
    rows = [pmc(Answer="Liver", Answer_label="C"), pmc(index="8", Answer="", Answer_label="D")]
    found = load_questions(files.table("train.csv", rows))
    assert [q.gold for q in found] == [("Liver",), ("Spleen",)]
    assert [q.group for q in found] == ["PMC1_Fig1.jpg"] * 2
    wrong = files.table("bad.csv", [pmc(Answer="Liver", Answer_label="A")])
    with pytest.raises(DataError, match='line 2: Answer is "Liver", but Answer_label A is "Lung"'):
        load_questions(wrong)
    with pytest.raises(DataError, match=r"overlap .* bad.csv, test_clean.csv, train.csv"):
        load_questions(files.root)


def test_omni_med_vqa_reads_all_files_below_a_folder(files):
    row = {
        "dataset": "D",
        "question_id": "D_1",
        "question_type": "Modality Recognition",
        "question": "Which modality?",
        "gt_answer": "CT",
        "image_path": "Images/D/1.png",
        "option_A": "CT",
        "option_B": "MR",
        "modality_type": "CT(Computed Tomography)",
    }
    other = {k: v for k, v in row.items() if k != "modality_type"} | {
        "question_id": "E_1",
        "modality": "X-Ray",
        "gt_answer": "No",
        "option_A": "Yes",
        "option_B": "No",
        "option_C": "Unsure",
        "image_path": "Images/E/1.png",
    }
    files.json("QA_information/Open-access/D.json", [row])
    files.json("QA_information/Open-access/E.json", [other])
    files.images("Images/D/1.png", "Images/E/1.png")
    found = load_questions(files.root)
    assert [q.gold_letters for q in found] == [("A",), ("B",)]
    assert [len(q.options) for q in found] == [2, 3]
    assert [q.kind for q in found] == ["CT(Computed Tomography)", "X-Ray"]
    deep = load_questions(files.root / "QA_information" / "Open-access")
    assert [q.group for q in deep] == ["Images/D/1.png", "Images/E/1.png"]
    named = {"path": files.root, "name": "omni_med_vqa", "kind": "dataset"}
    assert [q.kind for q in load_questions(named)] == ["D", "D"]
    bad = files.json("bad.json", [row | {"gt_answer": "Ultrasound"}, row])
    with pytest.raises(DataError, match=r'item 1: the answer "Ultrasound" is not among'):
        load_questions(bad, check_images=False)
    assert len(load_questions(bad, check_images=False, defects="skip")) == 1
    only = files.json("only.json", [row | {"gt_answer": "Ultrasound"}])
    with pytest.raises(DataError, match="1 of 1 rows cannot be used"):
        load_questions(only, check_images=False, defects="skip")


def slake(qid, **changes):
    row = {
        "img_id": 1,
        "img_name": "xmlab1/source.jpg",
        "question": "Is there a lung?",
        "answer": "Yes",
        "q_lang": "en",
        "location": "Lung",
        "modality": "X-Ray",
        "answer_type": "CLOSED",
        "base_type": "vqa",
        "content_type": "Organ",
        "qid": qid,
    }
    return row | changes


def test_slake_by_language(files):
    files.images("imgs/xmlab1/source.jpg")
    rows = [
        slake(1),
        slake(2, question="这是肺吗?", answer="是", q_lang="zh"),
        slake(3, question="Left or right?", answer="Right"),
        slake(4, question="What?", answer="Lung", answer_type="OPEN", content_type="Plane"),
        slake(5, answer="No", answer_type="OPEN"),
    ]
    path = files.json("validate.json", rows)
    found = load_questions(path)
    assert [q.answer_type for q in found] == ["yes_no", "open", "open", "yes_no"]
    assert [q.kind for q in found] == ["CLOSED", "CLOSED", "OPEN", "OPEN"]
    assert "CLOSED (2 of 4), of which 1 have a yes/no gold" in found.definition
    assert {q.split for q in found} == {"val"}
    chinese = load_questions(path, language="zh", kind="content_type")
    assert [(q.answer_type, q.gold, q.kind) for q in chinese] == [("yes_no", ("yes",), "Organ")]
    assert len(load_questions(path, language="all")) == 5
    with pytest.raises(SpecError, match="unknown language"):
        load_questions(path, language="fr")
