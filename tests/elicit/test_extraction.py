"""Structured extraction: a form about each image, one reply, one confidence and verdict for each field."""

import json

import numpy as np
import pytest
from PIL import Image

from elicit.fault_server import FaultServer, Manner
from vlmcal.data.vqa.base import load_questions
from vlmcal.elicit import ask
from vlmcal.elicit.asking import question_set, ways_of
from vlmcal.elicit.costs import planned
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.elicit.parse.record import read_field
from vlmcal.errors import DataError
from vlmcal.io.questions import read_questions, save_questions
from vlmcal.posthoc.answers import measure_answers
from vlmcal.types.form import FormField, form_of
from vlmcal.types.question import Question

SCHEMA = {
    "type": "object",
    "properties": {
        "fracture": {"type": "boolean", "description": "Is a bone broken?"},
        "side": {"enum": ["left", "right", "both sides"]},
        "lesion": {
            "type": "object",
            "properties": {
                "size": {"type": ["number", "null"], "unit": "cm"},
                "site": {"type": "string"},
            },
        },
        "devices": {"type": "array", "items": {"enum": ["tube", "line", "pacemaker"]}},
    },
}
TABLE = (
    "image,id,group,fracture,side,lesion.size,lesion.site,devices\n"
    "a.png,r1,p1,true,left,3.50,upper lobe,tube|line\n"
    "b.png,r2,p2,no,Both Sides,null,,\n"
)


@pytest.fixture
def records(tmp_path):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "records.csv").write_text(TABLE)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (8, 8), (len(name), 0, ord(name[0]))).save(tmp_path / name)
    return tmp_path / "records.csv"


def filled(value="left", confidence=80):
    return json.dumps(
        {
            "fracture": {"value": True, "confidence": "90%"},
            "side": {"value": value, "confidence": confidence},
            "lesion": {"size": {"value": 3.5, "confidence": 60}, "site": {"value": "upper lobe"}},
            "devices": {"value": ["line", "Tube"], "confidence": 7.5e1},
        }
    )


def test_every_field_is_a_question_of_its_own(records, tmp_path):
    asked = load_questions({"name": "extraction", "path": records})
    assert [(q.id, q.answer_type, q.gold, q.group) for q in asked][:5] == [
        ("r1:fracture", "yes_no", ("yes",), "p1"),
        ("r1:side", "choice", ("left",), "p1"),
        ("r1:lesion.size", "open", ("3.5",), "p1"),
        ("r1:lesion.site", "open", ("upper lobe",), "p1"),
        ("r1:devices", "open", ("line; tube",), "p1"),
    ]
    second = [q.gold for q in asked if q.group == "p2"]
    assert second == [("no",), ("both sides",), ("none",), (), ()]
    assert "a form of 5 fields about each of 2 records" in asked.definition
    save_questions(tmp_path / "saved.jsonl", asked)
    assert read_questions(tmp_path / "saved.jsonl").questions == asked.questions


def test_one_reply_answers_a_form_and_the_same_machinery_measures_it(records):
    asked = load_questions(records, schema="schema.json")
    said = ask(asked, model=ScriptedModel(lambda request: filled()), elicitors="extract")
    assert said.about["calls"] == 2
    assert said.about["costs"][0]["calls"] == 2
    got = {a.question: (a.reading.answer, a.reading.confidence, a.correct) for a in said.answers}
    assert got["r1:fracture"] == ("yes", 0.9, True)
    assert got["r2:fracture"] == ("yes", 0.9, False)
    assert got["r1:side"] == ("left", 0.8, True)
    assert got["r1:lesion.size"] == ("3.5", 0.6, True)
    assert got["r2:lesion.size"] == ("3.5", 0.6, False)
    assert got["r1:lesion.site"] == ("upper lobe", None, True)
    assert got["r1:devices"] == ("line; tube", 0.75, True)
    (measured,) = measure_answers(said.questions, said.answers, stratum="kind", resamples=0)
    assert measured.rows.states.asked == 10
    assert set(np.unique(measured.rows.parsed.kinds)) == {
        "fracture",
        "side",
        "lesion.size",
        "devices",
    }


def test_a_plan_counts_forms_and_fields_can_be_asked_one_by_one(records):
    asked = question_set(load_questions(records, schema="schema.json"))
    (extract, single), _ = planned(asked, ways_of("extract, verbalized", None))
    assert (extract.calls, single.calls) == (2, 10)
    said = ask(
        asked, model=ScriptedModel(lambda r: "Answer: A\nConfidence: 70%"), elicitors="verbalized"
    )
    assert {a.question: a.reading.answer for a in said.answers}["r1:side"] == "left"


def test_ordinary_questions_are_no_forms():
    asked = ask(
        [Question(id="1", question="Where?")],
        model=ScriptedModel(lambda r: filled()),
        elicitors="extract",
    )
    assert asked.answers == ()
    assert any("no field of a form" in note for note in asked.notes)


def test_a_server_that_is_guided_gets_the_schema_of_the_reply(records):
    asked = load_questions(records, schema="schema.json")
    with FaultServer(manner=Manner(guide="structured_outputs")) as server:
        ask(
            asked,
            model=server.url,
            elicitors="extract",
            loading={"guided": True},
            names={"subject": "tiny-vlm"},
        )
    (schema,) = {json.dumps(b["response_format"]) for b in server.bodies if "response_format" in b}
    told = json.loads(schema)["json_schema"]["schema"]["properties"]
    assert told["side"]["properties"]["value"]["enum"] == ["left", "right", "both sides"]
    assert told["lesion.size"]["properties"]["value"]["anyOf"][1] == {"type": "null"}


FORM = form_of(SCHEMA)


def field(name):
    made = next(f for f in FORM if f.name == name)
    kind = {"yes_no": "yes_no", "choice": "choice"}.get(made.kind, "open")
    return Question(
        id=f"1:{name}", question="?", answer_type=kind, options=made.options if kind == "choice" else (),
        form=tuple(f.to_text() for f in FORM), field=name,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "answer", "confidence"),
    [
        ("side", filled("RIGHT"), "right", 0.8),
        (
            "side",
            f"Here it is:\n```json\n{filled('both_sides')}\n```\nGood luck.",
            "both sides",
            0.8,
        ),
        ("side", f"<think>{filled('right')}</think>{filled('left')}", "left", 0.8),
        ("side", '{"side": "left", "side_confidence": 80}', "left", 0.8),
        ("side", '{"side": "left", "confidence": {"side": "4/5"}}', "left", 0.8),
        ("side", '{"report": {"side": {"answer": "left", "probability": 80}}}', "left", 0.8),
        ("side", '{"side": {"value": "left", "confidence": 80,},}', "left", 0.8),
        ("side", '{"side": {"value": "left", "confidence": 180}}', "left", None),
        ("side", '{"side": {"value": "middle", "confidence": 80}}', None, 0.8),
        ("side", '{"side": {"value": ["left", "right"], "confidence": 80}}', None, 0.8),
        ("side", '{"side": {"value": "B", "confidence": 80}}', None, 0.8),
        ("side", f"{filled('left')} or {filled('right')}", None, None),
        ("side", '{"side": "left", "side": "right"}', None, None),
        ("fracture", '{"Fracture": {"Value": "No", "Confidence": 80}}', "no", 0.8),
        ("fracture", '{"fracture": {"value": 1, "confidence": 80}}', None, 0.8),
        ("fracture", '{"fracture": {"value": null, "confidence": 80}}', None, 0.8),
        ("lesion.size", '{"lesion.size": {"value": "3,5 cm", "confidence": 80}}', "3.5", 0.8),
        ("lesion.size", '{"lesion": {"size": 3.0, "size_confidence": 80}}', "3", 0.8),
        ("lesion.size", '{"lesion": {"size": {"value": "35 mm", "confidence": 80}}}', None, 0.8),
        ("lesion.size", '{"lesion": {"size": {"value": null, "confidence": 80}}}', "none", 0.8),
        ("lesion.size", '{"lesion": {"size": {"value": "2-3", "confidence": 80}}}', None, 0.8),
        ("lesion.site", '{"lesion": {"site": {"value": "cannot be determined"}}}', None, None),
        ("devices", '{"devices": {"value": [], "confidence": 80}}', "none", 0.8),
        ("devices", '{"devices": {"value": ["tube", "stent"], "confidence": 80}}', None, 0.8),
    ],
)
def test_replies(name, text, answer, confidence):
    got = read_field(text, field(name), "percent")
    assert (got.parsed.answer, got.confidence) == (answer, confidence)
    assert answer is not None or got.parsed.status == "unparsed"


@pytest.mark.parametrize(
    ("text", "cut", "status"),
    [
        (filled()[:60], True, "cut"),
        (filled()[:60], False, "unparsed"),
        ("<think>{", False, "cut"),
        ("I'm sorry, I can't help with that.", False, "refused"),
        ("", False, "empty"),
        ('{"side": {"value": "I cannot provide a diagnosis."}}', False, "refused"),
    ],
)
def test_what_is_no_form_is_a_state(text, cut, status):
    assert read_field(text, field("side"), "percent", cut=cut).parsed.status == status


def test_schemas_of_pydantic_are_read():
    schema = {
        "$defs": {
            "Side": {"enum": ["L", "R"], "type": "string"},
            "Part": {"properties": {"n": {"type": "integer"}}},
        },
        "properties": {
            "side": {"allOf": [{"$ref": "#/$defs/Side"}], "description": "Side."},
            "note": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None},
            "part": {"$ref": "#/$defs/Part"},
        },
    }
    assert form_of(schema) == (
        FormField("side", "choice", ("L", "R"), about="Side."),
        FormField("note", "text", absent=True),
        FormField("part.n", "number"),
    )


@pytest.mark.parametrize(
    ("schema", "word"),
    [
        ({"type": "object"}, "properties"),
        ({"properties": {}}, "properties"),
        ({"properties": {"a": {"type": "strin"}}}, "string"),
        ({"properties": {"a": {"type": ["string", "number"]}}}, "a"),
        ({"properties": {"a": {"$ref": "#/$defs/B"}}}, "B"),
        ({"properties": {"a": {"enum": ["x", "X"]}}}, "differ"),
        ({"properties": {"a": {"type": "array", "items": {"type": "number"}}}}, "lists of texts"),
        (
            {
                "$defs": {"A": {"properties": {"a": {"$ref": "#/$defs/A"}}}},
                "properties": {"a": {"$ref": "#/$defs/A"}},
            },
            "hold itself",
        ),
    ],
)  # fmt: skip
def test_what_no_form_can_be_made_of_is_refused(schema, word):
    with pytest.raises(DataError, match=word):
        form_of(schema)


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("fracture,side", "fracture,sid", "side"),
        (",left,", ",middle,", "side"),
        ("3.50", "3 mm", "lesion.size"),
        ("true", "perhaps", "fracture"),
        ("image", "picture", "image"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(records, old, new, word):
    records.write_text(TABLE.replace(old, new, 1))
    with pytest.raises(DataError, match=word):
        load_questions(records, schema="schema.json")


def test_the_schema_may_be_missing(tmp_path, records):
    with pytest.raises(DataError, match="no such file"):
        load_questions(records, schema="other.json")


def test_gold_may_be_nested(records, tmp_path):
    rows = [{"image": "a.png", "lesion": {"size": 3.5, "site": None}, "devices": ["line"]}]
    (tmp_path / "records.jsonl").write_text("\n".join(map(json.dumps, rows)))
    golds = {
        q.field: q.gold for q in load_questions(tmp_path / "records.jsonl", schema="schema.json")
    }
    assert (golds["lesion.size"], golds["lesion.site"], golds["devices"]) == (
        ("3.5",),
        (),
        ("line",),
    )
