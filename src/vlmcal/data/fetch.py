"""Downloading what a card's commands get, where the licence permits it and somebody asked for it."""

import shlex
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from vlmcal.data.data_cards import DataCard
from vlmcal.errors import DataError

# licences that ask for no agreement before a download
_OPEN: Final = ("CC BY", "CC0", "MIT", "Apache")
_CHUNK: Final = 1 << 20


class Download(NamedTuple):
    """One file.

    Attributes:
        url: Where it comes from.
        name: What it is called on disk.
    """

    url: str
    name: str


def downloads(card: DataCard) -> list[Download]:
    """The files that the commands of a card get with curl: the smaller version where a note says so.

    Example:
        >>> from vlmcal.data.data_cards import data_card
        >>> [file.name for file in downloads(data_card("breastmnist"))]
        ['breastmnist.npz', 'breastmnist_224.npz']
    """
    found = []
    for line in card.fetch.splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["curl"]:
            url = words[-1] if "://" in words[-1] else ""
            name = words[words.index("-o") + 1] if "-o" in words else url.rpartition("/")[2]
            found += [Download(url, name)] if url else []
    return found


def permitted(card: DataCard) -> bool:
    """Whether a licence lets anybody download, without agreeing to terms at the source.

    Example:
        >>> from vlmcal.data.data_cards import data_card
        >>> permitted(data_card("breastmnist")), permitted(data_card("imagenet"))
        (True, False)
    """
    return card.licence.startswith(_OPEN) and bool(downloads(card))


def fetch(
    card: DataCard,
    root: Path,
    *,
    only: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Download the files of a card into its folder below ``root``; what is there stays.

    A file appears when it is whole. Archives are not unpacked.

    Args:
        card: The data set.
        root: Folder of data sets.
        only: Name of the one file that is wanted; default: the first of an NPZ set, else all.
        progress: Called with (bytes so far, bytes in all or 0).

    Raises:
        DataError: The licence asks for an agreement, there is no such file, or the server refuses.
    """
    if not permitted(card):
        raise DataError(
            f"{card.name} is not downloaded from here (licence: {card.licence}); the commands and pages are "
            f"those of: vlmcal data fetch {card.name}"
        )
    files = downloads(card)
    names = [file.name for file in files]
    wanted = [only] if only else names[:1] if card.kind == "npz" else names
    if only and only not in names:
        raise DataError(f'{card.name} has no file "{only}"; it has {", ".join(names)}')
    made = []
    for file in files:
        if file.name in wanted:
            target = root / card.folders[0] / file.name
            if not target.exists():
                _download(file.url, target, progress)
            made.append(target)
    return made


def _download(url: str, target: Path, progress: Callable[[int, int], None] | None) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=60) as answer, part.open("wb") as stream:
            total, done = int(answer.headers.get("Content-Length") or 0), 0
            while chunk := answer.read(_CHUNK):
                stream.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total or done)
        if total and done < total:
            raise OSError(f"{done} of {total} bytes came")
        part.replace(target)
    except (OSError, ValueError) as error:
        part.unlink(missing_ok=True)
        raise DataError(
            f"{url}: not downloaded ({error}); try again, or use the command"
        ) from error
