"""Make the noun list that ships with the package from WordNet's own files.

    apt-get download wordnet-base && dpkg -x wordnet-base_*.deb wordnet
    python scripts/build_wordnet_nouns.py wordnet/usr/share/wordnet

Reads ``index.noun`` (one lemma per line after the licence) and ``noun.exc`` (irregular plurals). Every
lemma is kept in lower case with underscores as spaces, except those without any letter from a to z
("24/7", "1000"). Plurals stay as they are: a plural, then its singulars. Writes nouns.txt.gz,
irregular_plurals.txt.gz and LICENSE.txt, and prints counts and the SHA-256 of each uncompressed text.
"""

import argparse
import gzip
import hashlib
import re
from collections.abc import Iterable
from pathlib import Path

TARGET = Path(__file__).parent.parent / "src" / "vlmcal" / "data" / "wordnet"
LETTER = re.compile("[a-z]")
LICENCE_LINE = re.compile(r"^  \d+ ?(.*?) *$")  # the licence stands in numbered, indented lines


def lemmas(lines: Iterable[str]) -> list[str]:
    """Sorted lemmas of an index file, without the licence and without pure numbers."""
    entries = (line.split(" ", 1)[0] for line in lines if not line.startswith("  "))
    words = {entry.lower().replace("_", " ") for entry in entries}
    return sorted(word for word in words if LETTER.search(word))


def licence(lines: Iterable[str]) -> str:
    """The licence as the index file states it."""
    found = (LICENCE_LINE.match(line.rstrip("\n")) for line in lines)
    return "\n".join(match[1] for match in found if match) + "\n"


def write(name: str, lines: list[str]) -> None:
    """Write a compressed text without a date, so that the same words give the same bytes."""
    text = ("\n".join(lines) + "\n").encode()
    packed = gzip.compress(text, compresslevel=9, mtime=0)
    (TARGET / f"{name}.txt.gz").write_bytes(packed)
    print(f"{name}: {len(lines)} lines, {len(packed)} bytes, {hashlib.sha256(text).hexdigest()}")


def main() -> None:
    """Read WordNet's files and write the package's."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with index.noun and noun.exc")
    folder = parser.parse_args().folder
    index = (folder / "index.noun").read_text(encoding="ascii").splitlines()
    plurals = (folder / "noun.exc").read_text(encoding="ascii").splitlines()
    TARGET.mkdir(parents=True, exist_ok=True)
    (TARGET / "LICENSE.txt").write_text(licence(index), encoding="ascii")
    write("nouns", lemmas(index))
    write("irregular_plurals", sorted(line.strip() for line in plurals))


if __name__ == "__main__":
    main()
