"""The commands that the guide shows for structured extraction."""

import csv
import json
import random

from PIL import Image

SCHEMA = {
    "properties": {
        "fracture": {"type": "boolean", "description": "Is a bone broken?"},
        "side": {"enum": ["left", "right"]},
        "size": {"type": "number", "unit": "cm"},
    }
}


def test_forms_are_asked_measured_and_calibrated_by_field(tmp_path, vlmcal):
    (tmp_path / "schema.json").write_text(json.dumps(SCHEMA))
    draw = random.Random(0)
    rows, rules = [], []
    for number in range(40):
        name = f"{number}.png"
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / name)
        rows.append(
            {"image": name, "fracture": "yes", "side": draw.choice(["left", "right"]), "size": 3}
        )
        stated = {
            "fracture": {"value": draw.random() < 0.8, "confidence": draw.choice([70, 80, 90])},
            "side": {"value": "left", "confidence": draw.choice([50, 60, 95])},
            "size": {"value": draw.choice([3, 3.0, 4]), "confidence": draw.choice([20, 70])},
        }
        rules.append(json.dumps(stated))
    with (tmp_path / "records.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    # One reply for all will do for the way; answers differ by the gold of each image.
    (tmp_path / "model.jsonl").write_text(
        json.dumps({"contains": "Fill in this form", "reply": rules[0]})
    )
    out = tmp_path / "answers"
    asked = (
        "vqa",
        "elicit",
        tmp_path / "records.csv",
        "--option",
        "schema=schema.json",
        "-e",
        "extract",
    )
    model = ("--model", f"scripted:{tmp_path / 'model.jsonl'}", "-o", out)
    assert "at most 40 calls about 40 images" in vlmcal(*asked, *model, "--dry-run").out
    told = vlmcal(*asked, *model)
    assert told.code == 0, told.err
    assert "a form of 3 fields about each of 40 records" in told.err
    told = vlmcal("vqa", "evaluate", out, "--by", "kind", "-o", tmp_path / "report.html")
    assert told.code == 0, told.err
    page = (tmp_path / "report.html").read_text()
    assert all(name in page for name in ("fracture", "side", "size"))
    told = vlmcal(
        "vqa", "calibrate", out, "-m", "platt", "--by", "kind", "-o", tmp_path / "calibrated.csv"
    )
    assert told.code == 0, told.err
    with (tmp_path / "calibrated.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert len(lines) == 120
    assert {line["id"].rpartition(":")[2] for line in lines} == {"fracture", "side", "size"}
