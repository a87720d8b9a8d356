"""A store at an fsspec URL: runs are made in a folder of this machine and published there in one step."""

import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vlmcal.errors import StoreError
from vlmcal.experiment.store import STATUS, WORKING, Store
from vlmcal.hashing import digest
from vlmcal.io.cache_dir import default_cache_dir
from vlmcal.io.claims import claimed, claims_of
from vlmcal.io.documents import UrlDocuments
from vlmcal.io.json_files import read_json, write_json, write_sealed
from vlmcal.io.state_files import SEAL, is_intact, sealed

_OWN = (".lock", WORKING, STATUS)  # of this machine
_PLACE = "place"  # key of a status: the folder that holds the files of its run


def store_at(place: str | Path) -> Store:
    """The store in a folder or at a URL (``s3://bucket/store``, ``gs://...``, ``memory://...``).

    Example:
        >>> store_at("runs").root, store_at("memory://runs").place
        (PosixPath('runs'), 'memory://runs')
    """
    if "://" not in str(place):
        return Store(Path(place))
    if str(place).startswith("file://"):
        return Store(Path(str(place).removeprefix("file://")))
    url = str(place).rstrip("/")
    return RemoteStore(default_cache_dir() / "stores" / digest(url)[:16], url)


def run_folder(run: str, store: str | Path) -> Path:
    """The folder of a run that is named by its folder, or by its id in a store.

    Example:
        >>> run_folder("0a61b1001ab49f5b", "results")
        PosixPath('results/runs/0a61b1001ab49f5b')
    """
    return Path(run) if Path(run).is_dir() else store_at(store).read(run)


@dataclass(frozen=True)
class RemoteStore(Store):
    """Runs at ``url/runs/<id>/``; a run exists once its ``status.json`` does, put there last and once.

    The files of a run go to a folder of their own, which its status names: of two processes that made the
    same run, one publishes, and nothing of the other one remains.

    Attributes:
        root: Folder of this machine in which runs are made and read.
        url: Where they are kept.
    """

    url: str = ""

    @property
    def place(self) -> str:
        """What a person calls the store."""
        return self.url

    @property
    def documents(self) -> UrlDocuments:
        """Plans, failures, claims and statuses."""
        return UrlDocuments(self.url)

    def require(self) -> None:
        """Refuse a store that is not there.

        Raises:
            StoreError: It is not.
        """
        if not self.documents.names("plans") and not self.documents.names("runs"):
            raise StoreError(
                f"there is no store at {self.url}; expected what --store names in `vlmcal run`"
            )

    def open(self) -> "RemoteStore":
        """Check that the store can be written.

        Raises:
            StoreError: It cannot.
        """
        super().open()
        probe = f".writable-{os.getpid()}-{secrets.token_hex(4)}.json"
        self.documents.write(probe, {})
        self.documents.remove(probe)
        return self

    def published(self, run: str) -> bool:
        """Whether the run is complete."""
        return self.documents.read(f"runs/{run}/{STATUS}") is not None

    def status(self, run: str) -> dict[str, Any]:
        """The status record of a published run.

        Raises:
            StoreError: The run is not there or its record is damaged.
        """
        found = self.documents.read(f"runs/{run}/{STATUS}")
        if found is None:
            raise StoreError(f"{self.url}/runs/{run} does not exist; is this a finished run?")
        return self._checked(run, found)

    def _checked(self, run: str, record: dict[str, Any]) -> dict[str, Any]:
        where = f"{self.url}/runs/{run}/{STATUS}"
        if SEAL in record and not is_intact(record):
            raise StoreError(
                f"{where} does not match its checksum; it was damaged or edited. Remove it and run again"
            )
        return {name: value for name, value in record.items() if name != SEAL}

    def statuses(self) -> dict[str, dict[str, Any]]:
        """The status records of all published runs, by id; damaged ones are left out."""
        names = [name for name in self.documents.names("runs") if name.endswith(f"/{STATUS}")]
        found = {}
        for name, data in self.documents.read_all(names).items():
            run = name.split("/")[1]
            with suppress(StoreError):
                found[run] = self._checked(run, data)
        return found

    def runs(self) -> list[str]:
        """Ids of all published runs, sorted."""
        names = self.documents.names("runs")
        return sorted(name.split("/")[1] for name in names if name.endswith(f"/{STATUS}"))

    def read(self, run: str) -> Path:
        """Folder of this machine that holds a published run; it is fetched if need be.

        Raises:
            StoreError: The run is not there, or cannot be fetched.
        """
        status, folder = self.status(run), self.folder(run)
        if self._mirrors(folder, status):
            return folder
        system, base = self.documents.system, self.documents.path(f"runs/{run}/{status[_PLACE]}")
        paths = self.documents.attempt(lambda: system.find(base))
        (folder / STATUS).unlink(missing_ok=True)
        for path in paths:
            target = folder / str(path).lstrip("/")[len(base.lstrip("/")) + 1 :]
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(f".{target.name}.{os.getpid()}")
            self.documents.attempt(partial(system.get_file, path, str(part)))
            part.replace(target)
        write_sealed(folder / STATUS, status)
        return folder

    @staticmethod
    def _mirrors(folder: Path, status: Mapping[str, Any]) -> bool:
        with suppress(StoreError):
            return bool(read_json(folder / STATUS).get(_PLACE) == status[_PLACE])
        return False

    def publish(self, run: str, status: Mapping[str, Any]) -> None:
        """Bring the run to the store and declare it complete, by one conditional put.

        Where another process was first, its run stays, and this one's files go.
        """
        folder, place = self.folder(run), secrets.token_hex(8)
        files = [
            path
            for path in sorted(folder.rglob("*"))
            if path.is_file() and _is_result(path, folder)
        ]
        system = self.documents.system
        for path in files:
            name = f"runs/{run}/{place}/{path.relative_to(folder).as_posix()}"
            target = self.documents.path(name)
            self.documents.attempt(partial(system.pipe_file, target, path.read_bytes()))
        record = sealed({**status, _PLACE: place})
        if self.documents.create(f"runs/{run}/{STATUS}", record):
            write_json(folder / STATUS, record)
        else:
            with suppress(StoreError, FileNotFoundError):
                base = self.documents.path(f"runs/{run}/{place}")
                self.documents.attempt(lambda: system.rm(base, recursive=True))
            shutil.rmtree(folder / "predictions", ignore_errors=True)
            self.read(run)
        self.drop_checkpoints(run)

    @contextmanager
    def lock(
        self, run: str, *, wait: bool, about: Mapping[str, Any] | None = None
    ) -> Iterator[bool]:
        """Hold the run against the processes of this machine and of others; see :mod:`vlmcal.io.claims`."""
        with super().lock(run, wait=wait) as here:
            if not here:
                yield False
                return
            with claimed(self.documents, f"claims/{run}", about or {}, wait=wait) as mine:
                yield mine

    def working(self) -> list[dict[str, Any]]:
        """What is being done, and what was when its process was killed ("alive" is then False)."""
        return claims_of(self.documents)


def _is_result(path: Path, folder: Path) -> bool:
    """Whether a file belongs to the run: no lock, no checkpoint, nothing that is measured again."""
    inside = path.relative_to(folder)
    return (
        inside.parts[0] != "evaluations"
        and path.name not in _OWN
        and not path.name.startswith(("checkpoint", "."))
    )
