"""A folder is a registry: a module dropped into it is found, listed, described and tested."""

import importlib
import importlib.util
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from vlmcal.errors import SpecError, require_known
from vlmcal.own_code import Fits, own

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")
PLUGIN_GROUP = "vlmcal.plugins"


class Registry(Generic[T]):
    """Names of one kind of thing (objectives, metrics, ...) and where to find them.

    Modules of ``package`` register themselves when imported; nothing is imported before the first
    question. Third parties register from a module named by an entry point of the group
    ``vlmcal.plugins``, or are named directly as ``package.module:Name``.

    Args:
        kind: What the entries are, in the singular, for error messages ("objective").
        package: Dotted name of the folder that holds them ("vlmcal.objectives").
        fits: Whether an object that is named by its place is such an entry.
        expected: What it should be, for error messages ("a subclass of Objective").
        aliases: Former names by what they are called now; understood, never listed.
        made: What makes a dataclass of an entry that is none yet, where the base says that all are.
        besides: Modules of the package that register nothing, and so are not imported to know all names.
    """

    def __init__(
        self,
        kind: str,
        package: str,
        fits: Fits,
        expected: str,
        aliases: Mapping[str, str] | None = None,
        made: Callable[[type], type] | None = None,
        besides: Collection[str] = (),
    ) -> None:
        self.kind = kind
        self.package = package
        self._fits = fits
        self._expected = expected
        self._aliases = dict(aliases or {})
        self._made = made
        self._besides = besides
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that files an object under ``name``; a second owner of a name is an error.

        A class that does not say its ``name`` itself gets it here, so that it is said once.
        """

        def add(entry: T) -> T:
            owner = self._entries.get(name)
            if owner is not None and _origin(owner) != _origin(entry):
                raise SpecError(
                    f'two {self.kind}s are called "{name}": {_origin(owner)} and {_origin(entry)}; '
                    "rename one of them"
                )
            if isinstance(entry, type) and "name" not in vars(entry):
                entry.name = name  # type: ignore[attr-defined]  # declared by the base of each kind
            self._entries[name] = self._shaped(entry)
            return entry

        return add

    def _shaped(self, entry: T) -> T:
        if self._made and isinstance(entry, type) and "__dataclass_fields__" not in vars(entry):
            self._made(entry)
        return entry

    def get(self, name: str) -> T:
        """The entry called ``name`` (or found at ``package.module:Name``).

        Raises:
            SpecError: No such entry (the message names the nearest one), or code that may not be imported
                (see :func:`vlmcal.allow_code`) or is of another kind.
        """
        name = self.current(name)
        if name not in self._entries:
            if ":" in name:
                entry: T = own(name, self.kind, self._fits, self._expected)
                return self._shaped(entry)
            self._load(name)
            if name not in self._entries:
                self._load_all()
        bare = name.partition("(")[0]
        if name not in self._entries and bare in self._entries:
            raise SpecError(f'{self.kind} "{bare}" takes no options here, got "{name}"')
        require_known(name, self._entries, f"unknown {self.kind}")
        return self._entries[name]

    def current(self, name: str) -> str:
        """What the thing of this name is called now."""
        return self._aliases.get(name, name)

    def names(self) -> list[str]:
        """All names, sorted."""
        self._load_all()
        return sorted(self._entries)

    def items(self) -> Iterator[tuple[str, T]]:
        """Pairs (name, entry), sorted by name."""
        return ((name, self._entries[name]) for name in self.names())

    def __contains__(self, name: object) -> bool:
        """Whether ``name`` is registered."""
        if isinstance(name, str) and name not in self._entries:
            self._load(name)
        return name in self._entries or name in self.names()

    def _load(self, name: str) -> None:
        """Import the module that is called so, or those whose text gives the name to a decorator or function.

        Names that come from elsewhere (a plug-in, a loop) are found once everything is loaded.
        """
        module = f"{self.package}.{name}"
        if self._loaded or not name.isidentifier():
            return
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module)
            return
        said = re.compile(rf'\w\(\s*"{name}"\s*[,)]|^def {name}\(', re.MULTILINE)
        for folder in importlib.import_module(self.package).__path__:
            for file in sorted(Path(folder).glob("*.py")):
                if said.search(file.read_text(encoding="utf-8")):
                    importlib.import_module(f"{self.package}.{file.stem}")
                    if name in self._entries:
                        return

    def _load_all(self) -> None:
        if self._loaded:
            return
        import pkgutil

        package = importlib.import_module(self.package)
        for module in pkgutil.iter_modules(package.__path__):
            if module.name not in self._besides:
                importlib.import_module(f"{self.package}.{module.name}")
        for point in plug_ins():
            point.load()
        self._loaded = True


@cache
def plug_ins() -> "tuple[EntryPoint, ...]":
    """Entry points of the plug-ins that are installed; every installed package is looked through, once."""
    import importlib.metadata  # half of what the first metric costs

    return tuple(importlib.metadata.entry_points(group=PLUGIN_GROUP))


def _origin(entry: object) -> str:
    kind = entry if hasattr(entry, "__qualname__") else type(entry)
    return f"{getattr(kind, '__module__', '?')}.{getattr(kind, '__qualname__', '?')}"
