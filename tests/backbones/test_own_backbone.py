"""The guide to a backbone of one's own, as it stands there: trained on, predicted with, found again."""

import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from vlmcal.api import Classifier
from vlmcal.backbones import load_backbone
from vlmcal.backbones.families.base import BACKBONES
from vlmcal.cli import main
from vlmcal.errors import SpecError

PAGE = Path(__file__).parent.parent.parent / "docs" / "guides" / "own-backbone.md"


@pytest.fixture
def module(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)
    assert len(code.splitlines()) <= 42
    (tmp_path / "my_encoder.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("VLMCAL_ALLOW_CODE", "")  # so that what a command allows ends with the test
    yield
    sys.modules.pop("my_encoder", None)


def test_the_commands_of_the_guide(module, tmp_path, small_images, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").symlink_to(small_images)
    (train,) = re.findall(r"^vlmcal (train images .*)$", PAGE.read_text(encoding="utf-8"), re.M)
    monkeypatch.setattr(sys, "argv", ["vlmcal", *train.split(), "--shots", "4", "--epochs", "2"])
    with suppress(SystemExit):
        main()
    out = capsys.readouterr().out
    (run,) = re.findall(r"predict with: vlmcal predict (\S+) IMAGE", out)
    sys.modules.pop("my_encoder")  # as in a new process
    classifier = Classifier.load(run)
    image = sorted((small_images / "red cat").glob("*.png"))[0]
    assert classifier.predict([image])[0].label == "red cat"
    assert classifier.learner.encoder.name == "my_encoder:Colours"


def test_it_can_be_registered_under_a_short_name(module, monkeypatch):
    import my_encoder

    BACKBONES.register("colours")(my_encoder.Colours)
    try:
        assert load_backbone("colours").embed_dim == 3
    finally:
        del BACKBONES._entries["colours"]
    with pytest.raises(SpecError, match="cannot be imported"):
        load_backbone("my_encoder:Nothing")
