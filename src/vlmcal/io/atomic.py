"""Writing files so that a reader sees either all of them or nothing."""

import errno
import io
import os
import secrets
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, TextIO

from vlmcal.errors import StoreError

STANDARD_OUTPUT: Final = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_REFUSED: Final = (errno.EACCES, errno.EPERM, errno.EROFS)
# What names of files that are not UTF-8 hold, which no text can.
_HALVES: Final = "backslashreplace"


def atomic_write(path: str | Path, content: bytes | str) -> None:
    """Write a file in one step: to a temporary neighbour, flushed to disk, then renamed over ``path``.

    An interrupted or failed write leaves what was at ``path`` untouched. Missing parent folders are made.
    A device, a pipe and standard output are written into, never replaced; of a link to another file in the
    same folder that file is replaced.

    Args:
        path: Where the file goes; "-" is standard output.
        content: Its bytes, or its text (UTF-8, line ends as given).

    Raises:
        StoreError: The folder cannot be written to or the disk is full; says where, and that the
            previous content is intact. Or the path is a link that leads out of its folder.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp(), "a", "note.txt")
        >>> atomic_write(target, "half a file is no file")
        >>> target.read_text()
        'half a file is no file'
    """
    data = _bytes(content) if isinstance(content, str) else content
    if is_stream(path):
        _write_into(Path(path), data)
        return
    target = _led_to(Path(path))
    with _appearing(target) as temporary, _translated(target), temporary.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


@contextmanager
def atomic_file(path: str | Path) -> Iterator[TextIO]:
    """A text file that is written piece by piece and becomes ``path`` when the block ends without an error.

    Raises:
        StoreError: The folder cannot be written to or the disk is full; what was at ``path`` is intact.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp(), "rows.txt")
        >>> with atomic_file(target) as stream:
        ...     _ = stream.write("1")
        ...     print(target.exists())
        False
        >>> target.read_text()
        '1'
    """
    if is_stream(path):
        whole = io.StringIO(newline="")
        yield whole
        _write_into(Path(path), _bytes(whole.getvalue()))
        return
    target = _led_to(Path(path))
    with _appearing(target) as temporary:
        with _translated(target):
            stream = temporary.open("x", encoding="utf-8", errors=_HALVES, newline="")
        # Other errors of the block than a full disk are the caller's own affair.
        with stream, _translated(target, _FULL):
            yield stream
            stream.flush()
            os.fsync(stream.fileno())


def require_place(path: str | Path) -> None:
    """Refuse, before anything is computed, a name under which nothing could be written.

    Raises:
        StoreError: A folder, a link that leads out of its folder, or below something that is no folder or
            cannot be written to.

    Example:
        >>> require_place("table.csv")
        >>> require_place("/dev/null/table.csv")
        Traceback (most recent call last):
        ...
        vlmcal.errors.StoreError: /dev/null/table.csv: a part of this path is a file, not a folder ...
    """
    if is_stream(path):
        return
    target = _led_to(Path(path))
    try:
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, "is a folder")
        folder = target.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "is a file", str(folder))
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "not writable")
    except OSError as error:
        raise _store_error(target, error, "nothing was computed yet") from error


def is_output(path: str | Path) -> bool:
    """Whether it is this program's standard output.

    Example:
        >>> is_output("-"), is_output("a.csv")
        (True, False)
    """
    return str(path) in STANDARD_OUTPUT


def is_stream(path: str | Path) -> bool:
    """Whether what is written there goes on to somebody: standard output, a device, a pipe or a socket.

    Example:
        >>> is_stream("-"), is_stream("/dev/null"), is_stream("table.csv")
        (True, True, False)
    """
    if is_output(path):
        return True
    with suppress(OSError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _bytes(text: str) -> bytes:
    return text.encode(errors=_HALVES)


def _write_into(path: Path, data: bytes) -> None:
    with _translated(path):
        if is_output(path):
            sys.stdout.flush()
            # What replaces standard output (a notebook, a test) may take text only.
            binary = getattr(sys.stdout, "buffer", None)
            if binary is None:
                sys.stdout.write(data.decode(errors="replace"))
            else:
                binary.write(data)
            sys.stdout.flush()
            return
        if stat.S_ISSOCK(os.stat(path).st_mode):
            with socket.socket(socket.AF_UNIX) as line:
                line.connect(str(path))
                line.sendall(data)
            return
        with path.open("wb", buffering=0) as stream:
            rest = memoryview(data)
            while rest:
                rest = rest[stream.write(rest) :]


def _led_to(path: Path) -> Path:
    """The file that a link in its folder leads to; any other path as it is."""
    if not path.is_symlink():
        return path
    place = Path(os.path.realpath(path))
    if place.is_symlink():
        raise StoreError(f"{path}: a link that leads to itself; name a file")
    if place.parent != Path(os.path.realpath(path.parent)):
        raise StoreError(f"{path}: a link that leads out of its folder, to {place}; name that file")
    return place


@contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """A temporary neighbour that becomes ``target`` when the block ends without an error."""
    temporary = target.parent / f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        with _translated(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with _translated(target):
            temporary.replace(target)
            _sync_folder(target.parent)
    finally:
        # The error that led here matters more than a leftover that cannot be removed.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def _translated(target: Path, only: tuple[int, ...] = ()) -> Iterator[None]:
    """Errors of the operating system, or of the kinds ``only``, as those of the store."""
    try:
        yield
    except OSError as error:
        if only and error.errno not in only:
            raise
        raise _store_error(target, error) from error


_INTACT: Final = "nothing was lost: what was there before is intact, the temporary file is removed"


def _store_error(target: Path, error: OSError, intact: str = _INTACT) -> StoreError:
    folder = target.parent
    if error.errno in _FULL:
        why = f"no space left on the disk that holds {folder}; free some space and repeat"
    elif error.errno in _REFUSED:
        why = f"the folder {folder} cannot be written to; change its permissions or choose another"
    elif error.errno in (errno.ENOTDIR, errno.EEXIST):
        why = f"a part of this path is a file, not a folder ({error.filename}); choose another path"
    elif error.errno == errno.EISDIR:
        why = "this is a folder; give a file name"
    else:
        why = f"cannot be written ({error.strerror or error})"
    return StoreError(f"{target}: {why} ({intact})")


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        # Some network file systems cannot flush a folder; the rename itself has happened.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(handle)
