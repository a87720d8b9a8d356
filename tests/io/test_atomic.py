import errno
import os
import pathlib
import stat

import pytest

from vlmcal.errors import StoreError
from vlmcal.io.atomic import atomic_file, atomic_write


def names(folder):
    return sorted(entry.name for entry in folder.iterdir())


def fill(target, error):
    with atomic_file(target) as stream:
        stream.write("x")
        raise error


@pytest.fixture
def full_disk(monkeypatch):
    """Every flush to disk fails as on a full disk."""

    def fail(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)


@pytest.mark.parametrize("content", ["grün\n", b"\x00\xff"])
def test_writes_text_and_bytes_and_replaces(tmp_path, content):
    file = tmp_path / "deep" / "er" / "a.txt"
    atomic_write(file, "old")
    atomic_write(file, content)
    expected = content.encode() if isinstance(content, str) else content
    assert file.read_bytes() == expected
    assert names(file.parent) == ["a.txt"]


def test_new_files_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write(tmp_path / "a", "x")
        with atomic_file(tmp_path / "rows"):
            pass
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640
    assert stat.S_IMODE((tmp_path / "rows").stat().st_mode) == 0o640


def test_full_disk_keeps_the_old_file_and_cleans_up(tmp_path, full_disk):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(StoreError) as caught:
        atomic_write(file, "new")
    message = str(caught.value)
    assert message.startswith(
        f"{file}: no space left on the disk that holds {tmp_path}; free some space"
    )
    assert "nothing was lost" in message
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_full_disk_while_writing_in_pieces(tmp_path):
    with pytest.raises(StoreError, match=r"no space left on the disk .*nothing was lost"):
        fill(tmp_path / "rows", OSError(errno.ENOSPC, "No space left on device"))
    assert names(tmp_path) == []


def test_unwritable_folder(tmp_path, monkeypatch):
    # The super-user ignores permissions, so the refusal is simulated.
    def refuse(self, mode="r", *rest, **options):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(pathlib.Path, "open", refuse)
    with pytest.raises(
        StoreError, match=f"the folder {tmp_path} cannot be written to; change its perm"
    ):
        atomic_write(tmp_path / "a.txt", "x")
    monkeypatch.undo()
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs an ordinary user")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(StoreError, match=r"cannot be written to"):
            atomic_write(tmp_path / "a.txt", "x")
    finally:
        tmp_path.chmod(0o700)


def test_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"a part of this path is a file, not a folder"):
        atomic_write(tmp_path / "file" / "a.txt", "x")


def test_target_that_is_a_folder(tmp_path):
    with pytest.raises(StoreError, match=r"this is a folder; give a file name"):
        atomic_write(tmp_path, "x")


@pytest.mark.parametrize(
    "error", [ValueError("x"), KeyboardInterrupt(), FileNotFoundError("other")]
)
def test_error_in_the_block_passes_through_and_leaves_nothing(tmp_path, error):
    with pytest.raises(type(error)):
        fill(tmp_path / "rows", error)
    assert names(tmp_path) == []
