"""Every command on every page is one that there is: its verb, and each of its options."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from vlmcal.cli import ALLOW_CODE, allowing_first
from vlmcal.cli.app import app
from vlmcal.cli.review import START

ROOT = Path(__file__).parent.parent
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "generated" not in page.parts),
]
VERBS = typer.main.get_command(app)
SHOWN = re.compile(r"`(?:\$ )?(vlmcal [^`\n]+)`|^[ #]*(?:\$ )?(vlmcal [^`\n]+)$", re.M)


def commands(page):
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    return ["".join(found) for found in SHOWN.findall(text)]


def unknown(command):
    """Words of a command that are no verb or no option of its verb."""
    words = allowing_first(shlex.split(command, comments=True)[1:])
    words = words[1:] if words[:1] == [ALLOW_CODE] else words
    verb = VERBS
    while verbs := getattr(verb, "commands", None):
        if not words or words[0].startswith("-"):
            break
        if words[0] in verbs:
            verb = verbs[words.pop(0)]
        elif START in verbs:  # `vlmcal review SOURCE`
            verb = verbs[START]
        else:
            return words[:1]
    valid = {name for each in verb.params for name in (*each.opts, *each.secondary_opts)}
    valid |= {"--help", "--install-completion", "--show-completion"}
    options = (word.partition("=")[0] for word in words if re.match("--?[a-zA-Z]", word))
    return [option for option in options if option not in valid]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_are_there(page):
    assert {command: bad for command in commands(page) if (bad := unknown(command))} == {}


def test_the_check_sees_what_is_not_there():
    assert sum(len(commands(page)) for page in PAGES) > 200
    assert unknown("vlmcal evaluat rows.csv") == ["evaluat"]
    assert unknown("vlmcal run grid.yaml --worker 2 -o a.html") == ["--worker"]
    assert unknown("vlmcal review rows.csv --probs --user a.csv") == ["--user"]
    assert unknown("vlmcal train images --method my:Own --allow-code") == []
