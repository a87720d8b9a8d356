"""docs/python.md and the programs of the README do what they show."""

import doctest
import io
import re
from contextlib import redirect_stdout
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_page_on_python_is_true():
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    page = ROOT / "docs" / "python.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, optionflags=flags)
    assert tried > 50
    assert failed == 0


@pytest.mark.slow
def test_the_programs_of_the_readme_print_what_they_say(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    programs = re.findall(r"```python\n(.*?)```", text, re.S)
    assert len(programs) >= 2
    names: dict[str, object] = {}
    for program in programs:
        said = [line.split("# -> ")[1] for line in program.splitlines() if "# -> " in line]
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(program, "README.md", "exec"), names)
        assert printed.getvalue().splitlines() == said
