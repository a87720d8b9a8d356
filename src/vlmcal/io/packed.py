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
    most = min(LARGEST_UNPACKED, max(_SMALL, _MOST_TIMES * file.stat().st_size))
    try:
        with gzip.open(file) as stream:
            data = stream.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(
            f"not readable as a gzip file, a damaged .gz ({error}); fetch or pack it again"
        ) from error
    if len(data) > most:
        raise DataError(
            f"unpacks to more than {most:,} bytes ({_MOST_TIMES} times its own, at most 8 GiB); "
            "it was made to exhaust memory, or unpack and split it yourself"
        )
    return data
