"""Files that are nested without end are refused in one sentence by every verb that reads JSON."""

import pytest

DEEP = "[" * 200_000


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("rows.jsonl", ["evaluate", "rows.jsonl", "--probs"]),
        ("rows.json", ["evaluate", "rows.json", "--probs"]),
        ("rows.jsonl", ["data", "check", "rows.jsonl"]),
        ("rows.json", ["data", "check", "rows.json"]),
        ("answers.jsonl", ["vqa", "import", "answers.jsonl", "-o", "out"]),
        ("log.json", ["vqa", "import", "log.json", "-o", "out"]),
    ],
)
def test_a_text_nested_without_end_is_one_clear_error(
    tmp_path, monkeypatch, refused, name, command
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_text(DEEP)
    refused(*command, words=[name, "nested too deeply"])
