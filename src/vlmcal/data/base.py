"""Where data sets come from: a registry of loaders, and one function that picks the right one."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.io.table_files import is_dataset
from vlmcal.options import Typed, call, check, read
from vlmcal.own_code import returns
from vlmcal.registry import Registry
from vlmcal.types.dataset import Dataset

DATASETS: Registry[Callable[..., Dataset]] = Registry(
    "data set", "vlmcal.data", returns("Dataset"), "a function that is declared to return a Dataset"
)

Accepts = Callable[[Path], bool]
Loader = TypeVar("Loader", bound=Callable[..., Dataset])


@dataclass(frozen=True)
class ByName:
    """Accepts any folder, or files by the ending of their name; gives way to a loader that looks inside.

    Attributes:
        endings: Such as ".csv"; letter case does not matter.
        folders: Whether any folder will do.
    """

    endings: tuple[str, ...] = ()
    folders: bool = False

    def __call__(self, path: Path) -> bool:
        """Whether the name of ``path`` fits."""
        return self.folders if path.is_dir() else path.name.lower().endswith(self.endings)


def accepts(test: Accepts) -> Callable[[Loader], Loader]:
    """Decorator that says which files and folders a loader is for: its attribute ``accepts``.

    A path whose loader is not named goes to the one loader that accepts it, add-on packages included. The
    path is the loader's first argument.

    Args:
        test: Told of an existing file or folder; :class:`ByName`, or a function that looks inside.

    Example:
        >>> @accepts(ByName((".scan",)))
        ... def scans(path): ...
        >>> scans.accepts(Path("a.scan"))
        True
    """

    def mark(loader: Loader) -> Loader:
        loader.accepts = test  # type: ignore[attr-defined]
        return loader

    return mark


def load_dataset(spec: str | Path | Mapping[str, Any] | Any) -> Dataset:
    """The data set that ``spec`` names.

    Args:
        spec: One of

            - the name of a loader that needs no path, or with options: ``"digits"``, ``"shapes(seed=1)"``;
            - the name of a published data set (:mod:`vlmcal.data.data_cards`) with ``root``, the folder that
              holds it: ``{"name": "caltech101", "root": "~/data"}``;
            - a path: a folder (``folder``), ``.csv``, ``.tsv``, ``.jsonl`` (each also with ``.gz``) or
              ``.parquet`` (``manifest``), ``.npz`` (``arrays``, or ``features``), ``.json``
              or ``.json.gz`` (``coop_split``);
            - a mapping ``{"name": loader, **parameters}`` or ``{"path": path, **parameters}``;
            - a ``datasets.Dataset`` of Hugging Face with images, or several by split (``hugging_face``).

            A registered name wins over a path of the same name; write ``./digits`` for the folder.

    Raises:
        SpecError: Unknown loader or parameter, or a parameter is missing; names the nearest.
        DataError: No such path, or what it holds cannot be used.

    Example:
        >>> data = load_dataset({"name": "shapes", "n_train": 1, "n_val": 1, "n_test": 1})
        >>> len(data), data.class_names[0]
        (120, 'plain red circle')
    """
    if isinstance(spec, Dataset):
        return spec
    if holds_images(spec):
        return _load("hugging_face", {}, spec)
    options = as_spec(spec)
    if "name" in options:
        return _load(str(options.pop("name")), options)
    if "path" not in options:
        raise SpecError(
            f'a data set needs "name" (one of {", ".join(DATASETS.names())}) or "path", got '
            f"{sorted(map(str, options)) or 'nothing'}"
        )
    path = Path(str(options.pop("path"))).expanduser()
    if not path.exists() and path.suffix == "" and len(path.parts) == 1:
        raise SpecError(
            f'"{path}" is neither a data set nor a file or folder; {nearest(str(path), DATASETS.names())}'
        )
    return _load(loader_of_path(path), options, path)


def holds_images(data: Any) -> bool:
    """Whether ``data`` is a data set at hand: ours, or of Hugging Face (one, or several by split)."""
    parts = list(data.values()) if isinstance(data, Mapping) else [data]
    return isinstance(data, Dataset) or (bool(parts) and all(map(is_dataset, parts)))


def as_spec(
    data: str | Path | Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A data set as a mapping with ``name`` or ``path``, and options as plain values.

    Args:
        data: As :func:`load_dataset` takes it.
        options: Further options; those that were typed on a command line get the types of the loader.

    Raises:
        SpecError: A typed option that the loader does not have or cannot read.
        DataError: No loader for the path that has typed options.

    Example:
        >>> from vlmcal.options import Typed
        >>> as_spec("shapes(seed=1)"), as_spec("photos"), as_spec("shapes", {"n_train": Typed("2")})
        ({'name': 'shapes', 'seed': 1}, {'path': 'photos'}, {'name': 'shapes', 'n_train': 2})
    """
    if isinstance(data, Mapping):
        spec = dict(data)
    elif _is_name(str(data).partition("(")[0], options):
        name, given = read(str(data), DATASETS.kind)
        spec = {"name": name, **given}
    else:
        spec = {"path": str(data)}
    spec |= options or {}
    typed = {key: value for key, value in spec.items() if isinstance(value, Typed)}
    if not typed:
        return spec
    name = str(spec.get("name") or loader_of_path(Path(str(spec.get("path"))).expanduser()))
    return spec | check(loader_of(name), typed, f'{DATASETS.kind} "{name}"')


def _is_name(word: str, options: Mapping[str, Any] | None) -> bool:
    """Whether a word names a data set; a published one only where it is no path, or a root is given."""
    from vlmcal.data.data_cards import find_card

    if word in DATASETS:
        if Path(word).is_dir():
            warnings.warn(
                f'"{word}" is the data set of that name; for the folder write ./{word}',
                stacklevel=3,
            )
        return True
    if find_card(word) is None:
        return False
    return not Path(word).exists() or bool({"root", "image_root"} & set(options or {}))


def loader_of(name: str) -> Callable[..., Dataset]:
    """The loader of a name: a registered one, or that of the card of a published data set.

    Raises:
        SpecError: There is neither.

    Example:
        >>> loader_of("dtd").__name__, loader_of("digits").__name__
        ('dtd', 'digits')
    """
    from vlmcal.data.data_cards import find_card
    from vlmcal.data.published import reader

    card = None if name in DATASETS else find_card(name)
    return DATASETS.get(name) if card is None else reader(card)


def loader_of_path(path: Path) -> str:
    """The name of the loader that accepts a file or folder.

    Raises:
        DataError: No such path, no loader accepts it, or several do.

    Example:
        >>> loader_of_path(Path("."))
        'folder'
    """
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    tests = {name: getattr(loader, "accepts", None) for name, loader in DATASETS.items()}
    fitting = {name: test for name, test in tests.items() if test is not None and test(path)}
    looked = [name for name, test in fitting.items() if not isinstance(test, ByName)]
    found = looked or list(fitting)
    if len(found) == 1:
        return found[0]
    if found:
        raise DataError(
            f"{path}: several loaders accept it ({', '.join(found)}); name one: "
            f'{{"name": "{found[0]}", ...}} or "{found[0]}(...)"'
        )
    endings = [end for test in tests.values() if isinstance(test, ByName) for end in test.endings]
    raise DataError(
        f'{path}: no loader for "{path.suffix}" files; expected a folder of class folders or one of '
        f"{', '.join(dict.fromkeys(endings))}"
    )


def _load(name: str, options: Mapping[str, Any], *path: Any) -> Dataset:
    return call(loader_of(name), f'{DATASETS.kind} "{name}"', options, *path)
