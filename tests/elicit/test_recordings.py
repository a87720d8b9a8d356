"""Answers as other programs record them; small files of the same form as theirs."""

import base64
import io
import json
import zipfile

import pytest
from PIL import Image

from vlmcal.elicit import Columns, bring
from vlmcal.elicit.cells import cell
from vlmcal.errors import DataError, SpecError


def lines(path, records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def read(asked):
    return [(a.question, a.reading.answer, a.reading.confidence, a.correct) for a in asked.answers]


def test_generated_samples_of_lm_eval(tmp_path):
    records = [
        {
            "doc_id": i,
            "doc": {"question": "Which?", "choices": ["cat", "dog"]},
            "target": "B",
            "resps": [[said]],
            "filtered_resps": [filtered],
            "exact_match": 1.0,
        }
        for i, (said, filtered) in enumerate(
            [("The answer is B.", "B"), ("A. cat", "A"), ("dog", "[invalid]")]
        )
    ]
    found = bring(lines(tmp_path / "samples_x.jsonl", records))
    assert read(found) == [
        ("0", "dog", None, True),
        ("1", "cat", None, False),
        ("2", "dog", None, True),
    ]


@pytest.mark.parametrize("form", ["filtered", "nested", "text"])
def test_log_likelihoods_of_lm_eval(tmp_path, form):
    values = [-3.0, -1.0]
    given = [[value, value == -1.0] for value in values]
    if form == "text":
        given = [[str(value), str(greedy)] for value, greedy in given]
    record = {
        "doc_id": 7,
        "doc": {"query": "Which?", "choices": {"text": ["cat", "dog"], "label": ["A", "B"]}},
        "target": 1,
        "arguments": [["Which?", " A"], ["Which?", " B"]],
        "resps": [[pair] for pair in given] if form == "nested" else given,
        "filtered_resps": given,
        "acc": 1.0,
    }
    ((question, answer, confidence, correct),) = read(bring(lines(tmp_path / "s.jsonl", [record])))
    assert (question, answer, correct) == ("7", "dog", True)
    assert confidence == pytest.approx(0.8807970779778823)  # 1 / (1 + exp(-2))


def sheet(path, rows):
    """A small .xlsx file as spreadsheets write it: shared strings and numbers."""
    texts = sorted({cell for row in rows for cell in row if isinstance(cell, str)})
    body = ""
    for r, row in enumerate(rows, 1):
        cells = ""
        for c, value in enumerate(row):
            place = f"{chr(65 + c)}{r}"
            if isinstance(value, str):
                cells += f'<c r="{place}" t="s"><v>{texts.index(value)}</v></c>'
            elif value is not None:
                cells += f'<c r="{place}"><v>{value}</v></c>'
        body += f'<row r="{r}">{cells}</row>'
    space = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
    shared = "".join(f"<si><t>{text}</t></si>" for text in texts)
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr(
            "xl/worksheets/sheet1.xml",
            f"<worksheet {space}><sheetData>{body}</sheetData></worksheet>",
        )
        packed.writestr("xl/sharedStrings.xml", f"<sst {space}>{shared}</sst>")
    return path


ROWS = [
    ["index", "question", "A", "B", "C", "answer", "prediction", "category"],
    [0, "Which?", "cat", "dog", "owl", "B", "B. dog", "animals"],
    [1, "Which?", "cat", "dog", "owl", "C", "The answer is C", "animals"],
    [2, "Is it?", "yes", "no", None, "A", "Failed to obtain answer via API.", "other"],
]


def test_predictions_of_vlmevalkit_as_table_and_sheet(tmp_path):
    table = tmp_path / "p.tsv"
    table.write_text(
        "\n".join("\t".join("" if c is None else str(c) for c in row) for row in ROWS) + "\n"
    )
    for path in (table, sheet(tmp_path / "p.xlsx", ROWS)):
        found = bring(path)
        assert [(q.options, q.kind) for q in found.questions][:1] == [
            (("cat", "dog", "owl"), "animals")
        ]
        assert [a.correct for a in found.answers] == [True, True, None]
        assert found.answers[2].reading.status == "failed"
    named = bring(table, Columns(answer="prediction", gold="answer", rest={"id": "index"}))
    assert [q.options for q in named.questions][2] == ("yes", "no")
    chosen = bring(
        table, Columns(answer="prediction", gold="answer", rest={"id": "index", "options": "A,B"}),
        where={"index": "0"},
    )  # fmt: skip
    assert next(iter(chosen.questions)).options == ("cat", "dog")


def test_verdicts_of_vlmevalkit_are_kept(tmp_path):
    rows = [
        ["index", "question", "answer", "prediction", "hit"],
        [0, "What?", "lung", "the lungs", 1],
    ]
    found = bring(sheet(tmp_path / "p.xlsx", rows))
    assert read(found) == [("0", "the lungs", None, True)]


def test_images_in_base64_become_files(tmp_path):
    buffer = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(buffer, "PNG")
    code = base64.b64encode(buffer.getvalue()).decode()
    assert len(code) > 1024
    rows = [
        "index\timage\tquestion\tA\tB\tanswer\tprediction",
        f"5\t{code}\tWhich?\tcat\tdog\tA\tA",
        "1000005\t5\tWhich?\tdog\tcat\tB\tB",
    ]
    (tmp_path / "m.tsv").write_text("\n".join(rows) + "\n")
    found = bring(tmp_path / "m.tsv", folder=tmp_path / "a")
    (one,), (other,) = (q.images for q in found.questions)
    assert one == other
    assert Image.open(one).size == (40, 40)
    assert len({q.group for q in found.questions}) == 1


def test_logs_of_inspect(tmp_path):
    def sample(name, said, **more):
        output = {"choices": [{"message": {"role": "assistant", "content": said}}]}
        return {"id": name, "epoch": 1, "input": "Which?", "output": output, **more}

    samples = [
        sample("x", "ANSWER: B", choices=["cat", "dog"], target="B"),
        sample(
            "y",
            [{"type": "reasoning", "reasoning": "A?"}, {"type": "text", "text": "no"}],
            target="no",
        ),
        sample("z", "", target="yes", error={"message": "time-out"}),
    ]
    log = {"version": 2, "eval": {"task": "t", "model": "m"}, "samples": samples}
    (tmp_path / "log.json").write_text(json.dumps(log))
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as packed:
        packed.writestr("header.json", "{}")
        for each in samples:
            packed.writestr(f"samples/{each['id']}_epoch_1.json", json.dumps(each))
    for name in ("log.json", "log.eval"):
        found = bring(tmp_path / name)
        assert read(found)[:2] == [("x", "dog", None, True), ("y", "no", None, True)]
        assert (found.answers[2].reading.status, found.answers[2].reading.note) == (
            "failed",
            "time-out",
        )


def batch(tmp_path):
    body = {"choices": [{"message": {"content": "Answer: Yes\nConfidence: 90"}}]}
    records = [
        {
            "id": "r1",
            "custom_id": "q1",
            "response": {"status_code": 200, "body": body},
            "error": None,
        },
        {
            "id": "r2",
            "custom_id": "q2",
            "response": {"status_code": 500, "body": {}},
            "error": None,
        },
    ]
    (tmp_path / "gold.csv").write_text("name,gold,organ\nq1,yes,lung\nq2,no,heart\n")
    return lines(tmp_path / "out.jsonl", records)


def test_a_batch_with_its_gold_in_another_file(tmp_path):
    found = bring(batch(tmp_path), join=tmp_path / "gold.csv", on=("custom_id", "name"))
    assert read(found)[0] == ("q1", "yes", None, True)
    assert found.answers[1].reading.note == "status 500"


def test_the_gold_column_of_the_joined_file_may_be_called_as_the_answers(tmp_path):
    (tmp_path / "other.csv").write_text("name,answer\nq1,no\nq2,no\n")
    source = batch(tmp_path)
    found = bring(
        source, Columns(gold="answer"), join=tmp_path / "other.csv", on=("custom_id", "name")
    )
    assert read(found)[0] == ("q1", "yes", None, False)
    with pytest.raises(DataError, match="name it with --gold"):
        bring(source, join=tmp_path / "other.csv", on=("custom_id", "name"))
    with pytest.raises(SpecError, match="both the answers and the gold"):
        bring(tmp_path / "other.csv", Columns(gold="answer"))


def test_results_of_anthropics_batches(tmp_path):
    batch(tmp_path)
    said = [{"type": "thinking", "thinking": "no?"}, {"type": "text", "text": "Yes."}]
    records = [
        {"custom_id": "q1", "result": {"type": "succeeded", "message": {"content": said}}},
        {"custom_id": "q2", "result": {"type": "expired"}},
    ]
    source = lines(tmp_path / "results.jsonl", records)
    found = bring(source, join=tmp_path / "gold.csv", on=("custom_id", "name"))
    assert read(found)[0] == ("q1", "yes", None, True)
    assert found.answers[1].reading.note == "expired"


def test_cells_by_path_and_confidences_inside_the_reply(tmp_path):
    path = "response.body.choices.0.message.content"
    source = batch(tmp_path)
    columns = Columns(answer=path, confidence=(path,), scale="percent", rest={"id": "custom_id"})
    found = bring(source, columns, join=tmp_path / "gold.csv", on=("custom_id", "name"))
    assert read(found)[0] == ("q1", "yes", 0.9, True)
    with pytest.raises(DataError, match=r'holds an object with .* such as "response\.'):
        bring(source, Columns(answer="response", rest={"id": "custom_id"}), join=tmp_path / "gold.csv",
              on=("custom_id", "name"))  # fmt: skip
    (tmp_path / "gold.csv").write_text("name,gold\nq1,yes\n")
    with pytest.raises(DataError, match="no row for 1 ids"):
        bring(source, join=tmp_path / "gold.csv", on=("custom_id", "name"))
    assert cell({"a": [{"b": 1}]}, "a.1.b") is None


def test_mixed_scales_are_left_unread_and_told(tmp_path):
    (tmp_path / "t.csv").write_text(
        "answer,gold,c\nyes,yes,90%\nyes,yes,85\nyes,yes,0.9\nyes,yes,9e1\n"
    )
    found = bring(tmp_path / "t.csv", Columns(confidence=("c",), scale="percent"))
    assert [a.reading.confidence for a in found.answers] == [0.9, 0.85, None, 0.9]
    assert any(note.startswith("1 of 4 confidences") for note in found.notes)
    # Whole numbers that a program wrote with zeros are whole numbers; beside fractions, 1.0 is none.
    (tmp_path / "t.csv").write_text("answer,gold,c\nyes,yes,9.0\nyes,yes,1.0\n")
    zeros = bring(tmp_path / "t.csv", Columns(confidence=("c",), scale="ten"))
    assert [a.reading.confidence for a in zeros.answers] == [0.9, 0.1]
    (tmp_path / "t.csv").write_text("answer,gold,c\nyes,yes,0.9\nyes,yes,1.0\n")
    unit = bring(tmp_path / "t.csv", Columns(confidence=("c",), scale="ten"))
    assert [a.reading.confidence for a in unit.answers] == [None, None]


def test_formats_are_known_by_name(tmp_path):
    with pytest.raises(SpecError, match='did you mean "lm_eval"'):
        bring(batch(tmp_path), kind="lm-eval")
    (tmp_path / "o.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match="got an object with a"):
        bring(tmp_path / "o.json")
