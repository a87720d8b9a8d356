"""Files packed by gzip: what is inside, and no more than memory is made for."""

import gzip
import zlib
from pathlib import Path
from typing import Final

from vlmcal.errors import DataError

# Of a packed file, once unpacked; and how often its own size it may then have where it is not small.
LARGEST_UNPACKED: Final = 8 << 30
_MOST_TIMES: Final = 200
_SMALL: Final = 64 << 20


def ending_of(file: Path) -> str:
    """The ending that says the kind: that before ``.gz``, in small letters.

    Example:
        >>> ending_of(Path("Rows.CSV.gz"))
        '.csv'
    """
    suffix = file.suffix.lower()
    return Path(file.stem).suffix.lower() if suffix == ".gz" else suffix


def content(file: Path) -> bytes:
    """The bytes of a file, unpacked if it ends in ``.gz``.

    Raises:
        DataError: No gzip file, or too large once unpacked.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "a.csv.gz")
        >>> _ = file.write_bytes(gzip.compress(b"a,b"))
        >>> content(file)
        b'a,b'
    """
    if file.suffix.lower() != ".gz":
        return file.read_bytes()
    most = _most(file.stat().st_size)
    try:
        with gzip.open(file) as stream:
            data = stream.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"not readable as a gzip file, a damaged .gz ({error}); fetch or pack it again"
        ) from error
    require_honest(len(data), file.stat().st_size)
    return data


def require_honest(unpacked: int, held: int) -> None:
    """Refuse a file that unpacks to so much more than it holds that it was made to exhaust memory.

    Args:
        unpacked: Bytes that it unpacks to, as far as it was read or as its header says.
        held: Bytes of the file.

    Raises:
        DataError: More than 64 MiB and 200 times its own size, or more than 8 GiB.

    Example:
        >>> require_honest(10**6, 5000)
        >>> require_honest(10**9, 10**6)
        Traceback (most recent call last):
        vlmcal.errors.DataError: unpacks to more than 200,000,000 bytes (200 times its own, ...); it...
    """
    most = _most(held)
    if unpacked > most:
        raise DataError(
            f"unpacks to more than {most:,} bytes ({_MOST_TIMES} times its own, at most 8 GiB); "
            "it was made to exhaust memory, or unpack and split it yourself"
        )


def _most(held: int) -> int:
    return min(LARGEST_UNPACKED, max(_SMALL, _MOST_TIMES * held))
