"""What a reader of a foreign file hands over, before anything is checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlmcal.types.arrays import FloatArray, IntArray
from vlmcal.types.split import Split


@dataclass(frozen=True)
class Columns:
    """Which columns or arrays of a file mean what; None stands for the reader's default name.

    Attributes:
        labels: Name of the labels.
        group: Name of the groups.
        ids: Name of the ids.
        exclude: Names to leave out.
        class_names: The class names in order, if the caller knows them.
    """

    labels: str | None = None
    group: str | None = None
    ids: str | None = None
    exclude: tuple[str, ...] = ()
    class_names: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class RawPredictions:
    """Scores and labels as found in a file.

    Attributes:
        scores: (N, K) logits or probabilities.
        labels: (N,) indices.
        class_names: K names, or empty if the file has none.
        ids: (N,) or None.
        groups: (N,) or None.
        split: The split that the file itself names, or None.
        extras: Further named arrays.
        source: Name of the file.
    """

    scores: FloatArray
    labels: IntArray
    class_names: tuple[str, ...] = ()
    ids: Any = None
    groups: Any = None
    split: Split | None = None
    extras: Mapping[str, FloatArray] = field(default_factory=dict)
    source: str = ""
