"""The toolkit's own format for predictions: arrays in safetensors, everything else in JSON."""

from pathlib import Path
from typing import Final

import numpy as np

from vlmcal.io.tensor_pair import PairFormat
from vlmcal.types.predictions import Predictions

_EXTRA: Final = "extra."
_KEYS: Final = ("kind", "split", "resolution", "class_names", "ids", "groups", "provenance")
_FORMAT: Final = PairFormat("vlmcal.predictions", 1, frozenset(_KEYS), "predictions")


def save(predictions: Predictions, file: Path, _scale: str | None = None) -> None:
    """Write ``file`` (.safetensors) and its ``.json``, the latter last; scores in their own scale.

    Raises:
        DataError: The provenance is not plain data.
        StoreError: A file cannot be written.
    """
    numbered = np.array_equal(predictions.ids, np.arange(len(predictions)).astype(np.str_))
    _FORMAT.save(
        file,
        {
            "logits": predictions.logits,
            "labels": predictions.labels,
            **{f"{_EXTRA}{name}": array for name, array in predictions.extras.items()},
        },
        {
            "kind": predictions.kind,
            "split": predictions.split,
            "resolution": predictions.resolution,
            "class_names": predictions.class_names,
            "ids": None if numbered else predictions.ids.tolist(),
            "groups": None if predictions.groups is None else predictions.groups.tolist(),
            "provenance": predictions.provenance,
        },
    )


def load(file: Path) -> Predictions:
    """Read what :func:`save` wrote, bit for bit.

    Raises:
        DataError: One of the two files is missing, damaged, of another save or of a newer version.
    """
    record, arrays = _FORMAT.load(file)
    return Predictions(
        logits=arrays["logits"],
        labels=arrays["labels"],
        ids=record["ids"],
        groups=record["groups"],
        class_names=tuple(record["class_names"]),
        kind=record["kind"],
        split=record["split"],
        resolution=record["resolution"],
        extras={n.removeprefix(_EXTRA): a for n, a in arrays.items() if n.startswith(_EXTRA)},
        provenance=record["provenance"],
    )
