"""Rows that the cache holds already under another key: the same image seen by the same tower."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vlmcal.backbones.entries import RECORD, Arrays, damage
from vlmcal.types.arrays import BoolArray, StrArray

NAMES = "images"  # the array of an entry that says which image each row is of
_BYTES = 16


def image_names(hashes: Sequence[str], ids: StrArray, *, drawn_by_id: bool) -> NDArray[np.uint8]:
    """What each row is of, (N, 16): the image's content, with the item's id where that decides its views.

    Args:
        hashes: SHA-256 of every image, (N,).
        ids: (N,) ids of the items.
        drawn_by_id: Whether the views are random crops, which are drawn from the id.

    Example:
        >>> names = image_names(["ab" * 32] * 2, np.array(["x", "y"]), drawn_by_id=True)
        >>> names.shape, bool((names[0] == names[1]).all())
        ((2, 16), False)
    """
    if drawn_by_id:
        named = zip(hashes, ids.tolist(), strict=True)
        made = [hashlib.blake2b("/".join(p).encode(), digest_size=_BYTES).digest() for p in named]
    else:
        made = [bytes.fromhex(each)[:_BYTES] for each in hashes]
    return np.frombuffer(b"".join(made), np.uint8).reshape(-1, _BYTES)


def copy_known(
    root: Path, tower: str, names: NDArray[np.uint8], arrays: Arrays, done: BoolArray
) -> None:
    """Fill in the rows of images that other entries of the same tower hold.

    Entries from before images were named, and damaged ones, are passed over.

    Args:
        root: Folder of the entries.
        tower: What their records name: model, preprocessing, views and type.
        names: (N, 16) from :func:`image_names`.
        arrays: Arrays of N rows; changed in place.
        done: (N,) rows that are there; likewise.
    """
    wanted = _comparable(names)
    for entry in sorted(path for path in root.glob("[!.]*") if path.is_dir()):
        if done.all():
            return
        held = _held(entry, tower)
        if held is None:
            continue
        order = np.argsort(held)
        place = np.searchsorted(held, wanted, sorter=order).clip(max=len(held) - 1)
        rows = order[place]
        found = ~done & (held[rows] == wanted)
        specs = {name: ((len(held), *a.shape[1:]), a.dtype) for name, a in arrays.items()}
        if not found.any() or damage(entry, specs) is not None:
            continue
        for name, array in arrays.items():
            array[found] = np.load(entry / f"{name}.npy", mmap_mode="r")[rows[found]]
        done |= found


def _held(entry: Path, tower: str) -> NDArray[np.bytes_] | None:
    """Names of the rows of an entry; None where it is of another tower or does not say."""
    try:
        record: Mapping[str, Any] = json.loads((entry / RECORD).read_text(encoding="utf-8"))
        if record["about"].get("tower") != tower or not record["arrays"].get(NAMES):
            return None
        names = np.load(entry / f"{NAMES}.npy")
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    return _comparable(names) if names.ndim == 2 and names.size else None


def _comparable(names: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    return np.ascontiguousarray(names).view(f"S{names.shape[1]}").ravel()
