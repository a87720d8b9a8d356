"""Text files: their lines, and which encoding a text is in that is not UTF-8."""

import codecs
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


def marked(content: bytes) -> str:
    r"""The encoding that the first bytes of a text state, or "".

    Example:
        >>> marked("label".encode("utf-16")), marked(b"label")
        ('utf-16', '')
    """
    return next((name for mark, name in MARKS.items() if content.startswith(mark)), "")


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
    stated = marked(content).upper()
    if not stated and content[:400].count(0) > len(content[:400]) // 4:
        stated = "UTF-16 without its mark"
    told = stated or "probably Windows-1252 or Latin-1"
    at = f"byte 0x{content[error.start]:02x} at {error.start}"
    return f"not UTF-8 text ({at}), but {told}; save it as UTF-8"


def text_lines(file: Path) -> list[str]:
    """The lines of a text file that say something, without the space around them.

    Raises:
        DataError: No such file, or it is not UTF-8.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: {not_utf8(error)}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]
