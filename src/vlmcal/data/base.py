"""Where data sets come from: a registry of loaders, and one function that picks the right one."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.io.feature_files import holds_features
from vlmcal.options import call, read
from vlmcal.registry import Registry
from vlmcal.types.dataset import Dataset

DATASETS: Registry[Callable[..., Dataset]] = Registry("data set", "vlmcal.data")

_LOADER_OF_SUFFIX = {
    ".csv": "manifest",
    ".tsv": "manifest",
    ".parquet": "manifest",
    ".jsonl": "manifest",
    ".npz": "arrays",
    ".csv.gz": "manifest",
    ".tsv.gz": "manifest",
    ".jsonl.gz": "manifest",
    ".json": "coop_split",
    ".json.gz": "coop_split",
}


def load_dataset(spec: str | Path | Mapping[str, Any]) -> Dataset:
    """The data set that ``spec`` names.

    Args:
        spec: One of

            - the name of a loader that needs no path, or with options: ``"digits"``, ``"shapes(seed=1)"``;
            - a path: a folder (``folder``), ``.csv``, ``.tsv``, ``.jsonl`` (each also with ``.gz``) or
              ``.parquet`` (``manifest``), ``.npz`` (``arrays``, or ``features``), ``.json``
              or ``.json.gz`` (``coop_split``);
            - a mapping ``{"name": loader, **parameters}`` or ``{"path": path, **parameters}``.

            A registered name wins over a path of the same name; write ``./digits`` for the folder.

    Raises:
        SpecError: Unknown loader or parameter, or a parameter is missing; names the nearest.
        DataError: No such path, or what it holds cannot be used.

    Example:
        >>> data = load_dataset({"name": "shapes", "n_train": 1, "n_val": 1, "n_test": 1})
        >>> len(data), data.class_names[0]
        (120, 'plain red circle')
    """
    if isinstance(spec, Mapping):
        return _from_mapping(dict(spec))
    text = str(spec)
    if text.partition("(")[0] in DATASETS:
        name, options = read(text, DATASETS.kind)
        return _load(name, options)
    path = Path(text).expanduser()
    if not path.exists() and path.suffix == "" and len(path.parts) == 1:
        raise SpecError(
            f'"{text}" is neither a data set nor a file or folder; {nearest(text, DATASETS.names())}'
        )
    return _load(loader_of_path(path), {}, path)


def loader_of_path(path: Path) -> str:
    """The name of the loader for a file or folder.

    Raises:
        DataError: No such path, or a file name ending that no loader understands.

    Example:
        >>> loader_of_path(Path("."))
        'folder'
    """
    if holds_features(path):
        return "features"
    if path.is_dir():
        return "folder"
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    for suffix, loader in _LOADER_OF_SUFFIX.items():
        if path.name.lower().endswith(suffix):
            return loader
    raise DataError(
        f'{path}: no loader for "{path.suffix}" files; expected a folder of class folders or one of '
        f"{', '.join(_LOADER_OF_SUFFIX)}"
    )


def _from_mapping(spec: dict[str, Any]) -> Dataset:
    if "name" in spec:
        return _load(str(spec.pop("name")), spec)
    if "path" in spec:
        path = Path(str(spec.pop("path"))).expanduser()
        return _load(loader_of_path(path), spec, path)
    raise SpecError(
        f'a data set needs "name" (one of {", ".join(DATASETS.names())}) or "path", got '
        f"{sorted(map(str, spec)) or 'nothing'}"
    )


def _load(name: str, options: Mapping[str, Any], *path: Path) -> Dataset:
    return call(DATASETS.get(name), f'{DATASETS.kind} "{name}"', options, *path)
