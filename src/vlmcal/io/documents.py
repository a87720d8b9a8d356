"""Small JSON documents by name, in a folder or at an fsspec URL; some are made by one process only."""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from vlmcal.errors import StoreError
from vlmcal.io.json_files import read_json, write_json
from vlmcal.io.json_text import parse_json


class Documents(Protocol):
    """Documents by names like "plans/ab12.json"."""

    def read(self, name: str) -> dict[str, Any] | None:
        """A document, or None where there is none."""
        ...

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Put a document, in one step, over the one that is there."""
        ...

    def create(self, name: str, data: Mapping[str, Any]) -> bool:
        """Put a document unless there is one; of several that try, one succeeds."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of the documents below a folder, sorted."""
        ...

    def remove(self, name: str) -> None:
        """Take a document away, if it is there."""
        ...


@dataclass(frozen=True)
class FolderDocuments:
    """Documents in a folder, of this machine or of a network.

    Example:
        >>> import tempfile
        >>> documents = FolderDocuments(Path(tempfile.mkdtemp()))
        >>> documents.create("a/b.json", {"n": 1}), documents.create("a/b.json", {"n": 2})
        (True, False)
        >>> documents.names("a"), documents.read("a/b.json")
        (['a/b.json'], {'n': 1})
    """

    root: Path

    def read(self, name: str) -> dict[str, Any] | None:
        """A document, or None where there is none."""
        path = self.root / name
        try:
            return read_json(path)
        except StoreError:
            if path.is_file():
                raise
            return None

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Put a document, in one step, over the one that is there."""
        write_json(self.root / name, data)

    def create(self, name: str, data: Mapping[str, Any]) -> bool:
        """Put a document unless there is one; of several that try, one succeeds."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        whole = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
        write_json(whole, data)
        try:
            os.link(whole, path)  # fails where there is one, also over NFS
        except FileExistsError:
            return False
        finally:
            whole.unlink(missing_ok=True)
        return True

    def names(self, folder: str) -> list[str]:
        """Names of the documents below a folder, sorted."""
        found = (self.root / folder).rglob("*.json")
        return sorted(p.relative_to(self.root).as_posix() for p in found if p.name[0] != ".")

    def remove(self, name: str) -> None:
        """Take a document away, if it is there."""
        (self.root / name).unlink(missing_ok=True)


@dataclass(frozen=True)
class UrlDocuments:
    """Documents at an fsspec URL: a bucket, the memory of this process, ...

    Attributes:
        url: Such as "s3://bucket/store".
    """

    url: str

    @cached_property
    def system(self) -> Any:
        """The file system of fsspec.

        Raises:
            StoreError: fsspec or the package for this kind of URL is missing, or nobody knows the kind.
        """
        kind = self.url.partition("://")[0]
        try:
            import fsspec

            # What other machines write must be seen at once.
            return fsspec.url_to_fs(self.url, use_listings_cache=False)[0]
        except ImportError as error:
            raise StoreError(
                f"{self.url} needs {error.name or 'a package'} ({error}); install the extra: pip install "
                f"'vlmcal[cloud]'"
                + ("" if kind in ("s3", "memory") else ", and fsspec's package for it")
            ) from error
        except ValueError as error:
            raise StoreError(
                f'{self.url}: no kind of store is called "{kind}" ({error})'
            ) from error

    @cached_property
    def base(self) -> str:
        """Path of the store in its file system."""
        return str(self.system._strip_protocol(self.url)).rstrip("/")

    def path(self, name: str) -> str:
        """Path of a document in the file system."""
        return f"{self.base}/{name}"

    def attempt(self, what: Callable[[], Any]) -> Any:
        """Do something with the file system; its troubles are those of the store.

        Raises:
            StoreError: It cannot be reached, or refuses.
        """
        try:
            return what()
        except (FileNotFoundError, FileExistsError):
            raise
        except Exception as error:  # every kind of store has exceptions of its own
            raise StoreError(
                f"the store {self.url} cannot be used ({type(error).__name__}: {error}); check the address, "
                "the credentials and the network, and run the same command again"
            ) from error

    def read(self, name: str) -> dict[str, Any] | None:
        """A document, or None where there is none."""
        try:
            content = self.attempt(lambda: self.system.cat_file(self.path(name)))
        except FileNotFoundError:
            return None
        return self._parsed(name, content)

    def read_all(self, names: list[str]) -> dict[str, dict[str, Any]]:
        """Several documents at once; those that are gone or damaged are left out."""
        paths = {self.path(name): name for name in names}
        found = self.attempt(lambda: self.system.cat(list(paths), on_error="omit")) if paths else {}
        back = {path.lstrip("/"): name for path, name in paths.items()}
        read = {}
        for path, content in found.items():
            name = back[str(path).lstrip("/")]
            with suppress(StoreError):
                read[name] = self._parsed(name, content)
        return read

    def _parsed(self, name: str, content: bytes) -> dict[str, Any]:
        try:
            data = parse_json(content.decode())
        except ValueError as error:
            raise StoreError(f"{self.url}/{name} is damaged ({error}); remove it") from error
        if not isinstance(data, dict):
            raise StoreError(f"{self.url}/{name}: expected a mapping; remove it")
        return data

    def write(self, name: str, data: Mapping[str, Any]) -> None:
        """Put a document, in one step, over the one that is there."""
        self.attempt(lambda: self.system.pipe_file(self.path(name), _bytes(data)))

    def create(self, name: str, data: Mapping[str, Any]) -> bool:
        """Put a document unless there is one; of several that try, one succeeds (a conditional put)."""
        try:
            self.attempt(
                lambda: self.system.pipe_file(self.path(name), _bytes(data), mode="create")
            )
        except FileExistsError:
            return False
        except StoreError as error:
            if "PreconditionFailed" in str(error) or "At least one of the pre" in str(error):
                return False
            raise
        # Where a kind of store knows no conditional put, the last one to write is the one that has it.
        return bool(self.read(name) == json.loads(_bytes(data)))

    def names(self, folder: str) -> list[str]:
        """Names of the documents below a folder, sorted."""
        self.system.invalidate_cache()
        try:
            found = self.attempt(lambda: self.system.find(self.path(folder)))
        except FileNotFoundError:
            return []
        start = len(self.base.lstrip("/")) + 1
        return sorted(str(p).lstrip("/")[start:] for p in found if str(p).endswith(".json"))

    def remove(self, name: str) -> None:
        """Take a document away, if it is there."""
        with suppress(FileNotFoundError):
            self.attempt(lambda: self.system.rm_file(self.path(name)))


def _bytes(data: Mapping[str, Any]) -> bytes:
    return json.dumps(data, indent=1, sort_keys=True, allow_nan=False).encode()
