"""Text files: UTF-8 with or without marks, or an error that names the encoding."""

import codecs
import re
from pathlib import Path
from typing import Final

from vlmcal.errors import DataError

# UTF-32 before UTF-16, whose mark its own begins with.
MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
LARGEST: Final = 1 << 28
"""Bytes of a text that is read whole; a device has no end."""
_MARK: Final = "\ufeff"
# Of the encodings in which one letter is two bytes, and of one whose bytes beyond ASCII are all letters.
_OTHERS: Final = {
    "Shift-JIS": "cp932",
    "EUC-JP": "euc_jp",
    "GBK": "gbk",
    "Big5": "big5",
    "EUC-KR": "cp949",
    "Windows-1251": "cp1251",
}
_LOOKED_AT: Final = 1 << 20
# Windows-1252: dots, quotes, dashes and hard spaces, which stand beside letters.
_SIGNS: Final = bytes([0x85, *range(0x91, 0x98), 0xA0, 0xAB, 0xBB])


def read_text(path: Path) -> str:
    r"""A file as UTF-8 text without byte order marks, wherever they stand.

    Raises:
        OSError: As of opening it.
        DataError: Not UTF-8, or more than :data:`LARGEST` bytes; names the file and the encoding.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "names.txt")
        >>> _ = file.write_bytes(codecs.BOM_UTF8 + "für".encode())
        >>> read_text(file)
        'für'
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    if len(content) > LARGEST:
        raise DataError(f"{path}: more than {LARGEST:,} bytes, which is no text of this kind")
    require_narrow(content, path)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: {not_utf8(error)}") from error
    return unmarked(text).replace("\r\n", "\n")


def text_lines(file: Path) -> list[str]:
    """The lines of a text file that say something, without the space around them.

    Raises:
        DataError: No such file, or it is not UTF-8.
    """
    try:
        text = read_text(file)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def require_narrow(content: bytes, path: Path) -> None:
    """Refuse UTF-16 and UTF-32 of ASCII letters without a mark, which is UTF-8 with zeros, too.

    Raises:
        DataError: It is one of them.
    """
    if not marked(content) and (wide := unstated(content)):
        raise DataError(
            f"{path}: not UTF-8 text, but {wide[:6].upper()} without its mark; save it as UTF-8"
        )


def unmarked(text: str) -> str:
    r"""Text without byte order marks, which programs leave at its start, and within where files were joined.

    Example:
        >>> unmarked("\ufeffid,label\n\ufeff1,cat")
        'id,label\n1,cat'
    """
    return text.replace(_MARK, "") if _MARK in text else text


def marked(content: bytes) -> str:
    r"""The encoding that the first bytes of a text state, or "".

    Example:
        >>> marked("label".encode("utf-16")), marked(b"label")
        ('utf-16', '')
    """
    return next((name for mark, name in MARKS.items() if content.startswith(mark)), "")


def unstated(content: bytes) -> str:
    r"""The wide encoding of a text that is mostly ASCII, by where its zeros are; "" if there are too few.

    Example:
        >>> unstated("id,label".encode("utf-16-le")), unstated("id,label".encode("utf-32-be"))
        ('utf-16-le', 'utf-32-be')
    """
    head = content[:4096]
    for name, zeros in (
        ("utf-32-le", (1, 2, 3)),
        ("utf-32-be", (0, 1, 2)),
        ("utf-16-le", (1,)),
        ("utf-16-be", (0,)),
    ):
        step = 4 if len(zeros) == 3 else 2
        if head and all(head[z::step].count(0) > 0.8 * len(head[z::step]) for z in zeros):
            return name
    return ""


def is_western(content: bytes) -> bool:
    r"""Whether a text that is not UTF-8 can be Windows-1252: accented letters stand mostly by themselves.

    Example:
        >>> is_western("für große Zebras".encode("cp1252")), is_western("猫,犬".encode("gbk"))
        (True, False)
    """
    runs = re.findall(rb"[\x80-\xff]+", content[:_LOOKED_AT])
    letters = [run.strip(_SIGNS) for run in runs]
    # Two in a row are small ones: "größe", "créée".
    alone = [
        len(run)
        for run, rest in zip(runs, letters, strict=True)
        if len(rest) < 2 or (len(rest) == 2 and min(rest) >= 0xDF)
    ]
    return 2 * sum(alone) >= sum(map(len, runs))


def not_utf8(error: UnicodeDecodeError) -> str:
    r"""What to tell of a text that is not UTF-8: its encoding, as far as its bytes show it.

    Example:
        >>> try:
        ...     "für".encode("latin-1").decode()
        ... except UnicodeDecodeError as error:
        ...     print(not_utf8(error))
        not UTF-8 text (byte 0xfc at 1), but probably Windows-1252 or Latin-1; save it as UTF-8
    """
    content = error.object
    at = f"byte 0x{content[error.start]:02x} at {error.start}"
    return f"not UTF-8 text ({at}), but {_encoding(content)}; save it as UTF-8"


def _encoding(content: bytes) -> str:
    if stated := marked(content):
        return stated.upper()
    if wide := unstated(content):
        return f"{wide[:6].upper()} without its mark"
    if is_western(content):
        return "probably Windows-1252 or Latin-1"
    return f"probably {foreign(content)}"


def foreign(content: bytes) -> str:
    """Names of the encodings of other letters than Western ones in which the bytes are text.

    Example:
        >>> foreign("кошка".encode("cp1251"))
        'Windows-1251'
    """
    fitting = [name for name, codec in _OTHERS.items() if _fits(content, codec)]
    return " or ".join(fitting) or "damaged"


def _fits(content: bytes, codec: str) -> bool:
    try:
        content.decode(codec)
    except UnicodeDecodeError:
        return False
    return True
