"""One process at a time: a lock on a file, on every operating system."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

_NETWORK = (
    *("nfs", "cifs", "smb", "lustre", "gpfs", "beegfs", "ceph", "glusterfs", "afs"),
    "fuse.sshfs",
)


@contextmanager
def exclusive(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold a lock against other processes; yields False if another one has it and ``wait`` is off.

    The lock is the operating system's where it has one: it vanishes with its owner, even after ``kill -9``.

    Args:
        path: The lock's own file, in a folder that exists; its content means nothing.
        wait: Wait until the lock is free.

    Raises:
        OSError: The file cannot be made.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "run.lock")
        >>> with exclusive(path, wait=False) as first, exclusive(path, wait=False) as second:
        ...     print(first, second)
        True False
    """
    # Not per thread: who releases it may be another thread of the owner.
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def on_network(path: Path) -> bool:
    """Whether a folder is on a network, where locks of one machine may mean nothing to another.

    Known on Linux; elsewhere the answer is no.

    Example:
        >>> on_network(Path("/proc"))
        False
    """
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    place = path.absolute()
    mounts = [line.split()[1:3] for line in lines]
    under = [(len(at), kind) for at, kind in mounts if place.is_relative_to(at)]
    return max(under, default=(0, ""))[1].startswith(_NETWORK)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait for one's turn against other threads and processes, in the order of asking.

    :func:`exclusive` looks again from time to time, so that among busy writers one may never find it free;
    here the operating system keeps the queue. Where it has none (Windows), this waits for nothing, and what
    is inside must have a lock of its own.

    Args:
        path: The lock's own file, in a folder that exists.

    Raises:
        OSError: The file cannot be made.

    Example:
        >>> import tempfile
        >>> with in_turn(Path(tempfile.mkdtemp(), "turn.lock")):
        ...     print("mine")
        mine
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    with path.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
