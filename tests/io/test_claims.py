"""Claims: one owner at a time, a dead one is followed by one other."""

import threading
import time
import uuid

import pytest

from vlmcal.io import claims
from vlmcal.io.claims import claimed, claims_of, newest
from vlmcal.io.documents import FolderDocuments, UrlDocuments


@pytest.fixture(params=["folder", "memory"])
def documents(request, tmp_path):
    if request.param == "folder":
        return FolderDocuments(tmp_path)
    pytest.importorskip("fsspec")
    return UrlDocuments(f"memory://{uuid.uuid4()}")


def test_documents_are_written_read_listed_and_removed(documents):
    assert documents.read("a/x.json") is None
    assert documents.names("a") == []
    documents.write("a/x.json", {"n": 1})
    documents.write("a/x.json", {"n": 2})
    documents.write("a/b/y.json", {"n": 3})
    assert documents.read("a/x.json") == {"n": 2}
    assert documents.names("a") == ["a/b/y.json", "a/x.json"]
    assert not documents.create("a/x.json", {"n": 4})
    assert documents.create("a/z.json", {"n": 4})
    documents.remove("a/x.json")
    documents.remove("a/x.json")
    assert documents.names("a") == ["a/b/y.json", "a/z.json"]


def test_one_of_many_gets_the_claim_and_the_next_after_it(documents):
    inside, most, order = [0], [0], []
    guard = threading.Lock()

    def work(number):
        with claimed(documents, "claims/r", {"key": str(number)}, wait=True, stale=1) as mine:
            assert mine
            with guard:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            time.sleep(0.01)
            order.append(number)
            with guard:
                inside[0] -= 1

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [1]
    assert sorted(order) == [0, 1, 2, 3]
    assert newest(documents, "claims/r") == (0, None)


def test_a_dead_owner_is_followed_by_one_other(documents, monkeypatch):
    dead = {"host": "elsewhere", "pid": 1, "since": 0.0, "key": "k", "token": "t"}
    documents.write("claims/r/00001.json", {**dead, "beat": time.time()})
    assert claims_of(documents)[0]["alive"]
    with claimed(documents, "claims/r", {}, wait=False) as mine:
        assert not mine
    documents.write("claims/r/00001.json", {**dead, "beat": time.time() - claims.STALE - 1})
    assert not claims_of(documents)[0]["alive"]
    with claimed(documents, "claims/r", {"key": "k"}, wait=False) as mine:
        assert mine
        assert newest(documents, "claims/r")[0] == 2
        assert documents.names("claims/r") == ["claims/r/00002.json"]
        with claimed(documents, "claims/r", {}, wait=False) as other:
            assert not other


def test_an_owner_of_this_machine_that_has_ended_is_known_at_once(documents):
    gone = {**claims.who(), "pid": 2**22 - 1, "beat": time.time(), "token": "t"}
    documents.write("claims/r/00001.json", gone)
    with claimed(documents, "claims/r", {}, wait=False) as mine:
        assert mine


def test_a_claim_beats_and_is_not_brought_back_once_it_was_taken_over(documents):
    with claimed(documents, "claims/r", {}, wait=False, beat=0.02) as mine:
        assert mine
        first = newest(documents, "claims/r")[1]["beat"]
        time.sleep(0.2)
        assert newest(documents, "claims/r")[1]["beat"] > first
        documents.create("claims/r/00002.json", {"token": "other"})
        documents.remove("claims/r/00001.json")
        time.sleep(0.1)
        assert documents.names("claims/r") == ["claims/r/00002.json"]
