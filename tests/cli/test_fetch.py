"""Downloads that somebody asked for, from a server of this test."""

import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from vlmcal.data.data_cards import data_card
from vlmcal.data.fetch import downloads, fetch, permitted
from vlmcal.errors import DataError


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.npz").write_bytes(b"x" * 3_000_000)
    handler = partial(Quiet, directory=str(tmp_path / "served"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def card_of(url, **more):
    lines = f"curl -L -o breastmnist.npz '{url}/a.npz'\ncurl -L -O {url}/missing.npz   # larger"
    return replace(data_card("breastmnist"), fetch=lines, **more)


def test_the_first_file_and_no_more(served, tmp_path):
    seen = []
    card = card_of(served)
    made = fetch(card, tmp_path / "d", progress=lambda *at: seen.append(at))
    assert [p.relative_to(tmp_path).as_posix() for p in made] == ["d/breastmnist/breastmnist.npz"]
    assert made[0].stat().st_size == 3_000_000
    assert seen[-1] == (3_000_000, 3_000_000)
    made[0].write_bytes(b"mine")
    assert fetch(card, tmp_path / "d")[0].read_bytes() == b"mine"


def test_what_cannot_be_had_leaves_nothing(served, tmp_path):
    with pytest.raises(DataError, match=r"missing\.npz: not downloaded .*404"):
        fetch(card_of(served), tmp_path / "d", only="missing.npz")
    assert [p for p in (tmp_path / "d").rglob("*") if p.is_file()] == []
    with pytest.raises(
        DataError, match=r'no file "other.npz"; it has breastmnist\.npz, missing\.npz'
    ):
        fetch(card_of(served), tmp_path / "d", only="other.npz")


def test_what_needs_an_agreement_is_not_downloaded(served, tmp_path, refused, vlmcal, monkeypatch):
    with pytest.raises(DataError, match=r"is not downloaded from here .licence: non-commercial"):
        fetch(card_of(served, licence="non-commercial research"), tmp_path)
    refused("data", "fetch", "imagenet", "--yes", words=["vlmcal data fetch imagenet"])
    monkeypatch.setattr("vlmcal.data.data_cards.data_card", lambda name: card_of(served))
    told = vlmcal("data", "fetch", "breastmnist", "--yes", "--root", tmp_path / "d")
    assert told.code == 0, told.err
    assert (tmp_path / "d" / "breastmnist" / "breastmnist.npz").is_file()


def test_commands_are_read_from_the_cards():
    assert [d.name for d in downloads(data_card("eurosat"))] == ["EuroSAT.zip"]
    assert all(d.url.startswith("http") for d in downloads(data_card("dtd")))
    assert permitted(data_card("pneumoniamnist"))
    assert not permitted(data_card("rsna18"))
