"""Nicknames, cards and the places where models are looked for."""

import re

import pytest

from nicknames import ASKED_FOR
from tiny_towers import make_tiny_tower
from vlmcal.backbones import hub, load_backbone
from vlmcal.backbones.families.base import BACKBONES
from vlmcal.backbones.model_cards import card_of, model_cards
from vlmcal.errors import BackboneError


def test_every_card_is_complete_and_of_a_known_family():
    cards = model_cards()
    assert set(ASKED_FOR) <= cards.keys()
    for name, card in cards.items():
        assert card.family in BACKBONES, name
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert card.hub or card.download, name
        assert len(card.mean) == len(card.std)
        assert "not tried here" in card.verified, name
        assert card.command in card.text() or card.download


def test_a_nickname_stands_for_its_hub_id(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_BACKBONES", str(tmp_path / "none"))
    folder = make_tiny_tower("openclip_timm_bert", tmp_path / "hub")
    asked = []

    def cached(*, repo_id, **_):
        asked.append(repo_id)
        return str(folder)

    monkeypatch.setattr(hub, "snapshot_download", cached)
    encoder = load_backbone("BiomedCLIP")
    assert set(asked) == {card_of("biomedclip").hub}
    assert (encoder.name, encoder.family) == ("BiomedCLIP", "open_clip")


def test_what_is_not_on_the_hub_is_looked_for_in_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_BACKBONES", str(tmp_path))
    with pytest.raises(
        BackboneError, match=rf"(?s)put its files into {tmp_path}/medclip.*hf download emily"
    ):
        load_backbone("medclip")
    make_tiny_tower("medclip_swin", tmp_path / "medclip")
    assert load_backbone("medclip").family == "medclip"


def test_a_gated_models_tokenizer_may_lie_in_the_folder_of_its_nickname(tmp_path, monkeypatch):
    monkeypatch.setenv("VLMCAL_BACKBONES", str(tmp_path / "own"))
    folder = make_tiny_tower("conch", tmp_path / "hub")
    place = tmp_path / "own" / "conch"
    place.mkdir(parents=True)
    name = "conch_byte_level_bpe_uncased.json"
    (folder / name).rename(place / name)
    monkeypatch.setattr(hub, "snapshot_download", lambda **_: str(folder))
    assert load_backbone("conch").family == "conch"


def test_a_typo_in_a_nickname():
    with pytest.raises(BackboneError, match='did you mean "biomedclip"'):
        load_backbone("biomed-clip")
