"""Every verb shows examples in its help; they work as shown, on the files of ``examples/inputs.py``."""

import pytest
import typer

import shown
from vlmcal.cli.app import app
from vlmcal.cli.examples import EXAMPLES, verbs

VERBS = dict(verbs(typer.main.get_command(app)))


@pytest.fixture(scope="module")
def page(tmp_path_factory, private_cache):
    with pytest.MonkeyPatch.context() as patch:
        for name in ("VLMCAL_CACHE", "COLUMNS", "HF_HUB_OFFLINE"):
            patch.setenv(name, "1")
        yield shown.session(tmp_path_factory.mktemp("inputs"))


def test_every_verb_has_examples_and_no_other():
    assert set(EXAMPLES) == set(VERBS)


@pytest.mark.parametrize("verb", EXAMPLES)
def test_the_help_shows_them(verb, vlmcal):
    told = vlmcal(*verb.split(), "--help").out
    assert " object at 0x" not in told  # of a default
    for line in EXAMPLES[verb]:
        assert f"  {line}\n" in told
        assert line.startswith(f"vlmcal {verb}")


@pytest.mark.slow
def test_they_work(page):
    for verb, lines in EXAMPLES.items():
        for line in lines if verb != "demo" else ():  # which tests/cli/test_demo.py runs
            page.command(line)


def test_completion_in_a_shell(vlmcal, monkeypatch):
    monkeypatch.setenv("_VLMCAL_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "vlmcal cal")
    monkeypatch.setenv("COMP_CWORD", "1")
    assert vlmcal().out.split() == ["calibrate"]
    monkeypatch.setenv("_VLMCAL_COMPLETE", "source_bash")
    assert "_VLMCAL_COMPLETE=complete_bash" in vlmcal().out


def test_no_words_are_the_help(vlmcal):
    told = vlmcal()
    assert told.code == 2
    assert "Usage: vlmcal" in told.out + told.err
