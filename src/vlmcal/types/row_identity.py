"""Recognising the rows a calibrator was fitted on, so that it is not applied to them."""

import hashlib
from dataclasses import dataclass

import numpy as np

from vlmcal.errors import SplitError
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.predictions import Predictions
from vlmcal.types.split import require_disjoint


@dataclass(frozen=True, eq=False)
class FittedRows:
    """Identity of the fitting rows.

    Ids decide. Where the ids are only row numbers (nobody gave any), the same id says nothing, so a row
    counts as the same when a few of its scores and its label agree, too. After loading from a file only
    the digest of the whole set is left, which still catches fitting and applying on one file.

    Attributes:
        digest: Hash of the ids, or of the scores where the ids are row numbers.
        ids: (N,) ids, or None after loading.
        signature: (N, 4) sampled scores and label, or None where the ids were given.
        groups: Distinct groups (patients, slides) of the rows, or None.
    """

    digest: str
    ids: StrArray | None = None
    signature: FloatArray | None = None
    groups: StrArray | None = None

    @classmethod
    def of(cls, predictions: Predictions) -> "FittedRows":
        """The identity of these rows."""
        signature = _signature(predictions) if _is_numbered(predictions.ids) else None
        groups = None if predictions.groups is None else np.unique(predictions.groups)
        return cls(_digest(predictions.ids, signature), predictions.ids, signature, groups)

    @classmethod
    def known(cls, digest: str) -> "FittedRows":
        """What is left after loading: the digest."""
        return cls(digest)

    def shared_groups(self, predictions: Predictions) -> int:
        """How many groups of these rows were fitted on, as far as both sides name groups."""
        if self.groups is None or predictions.groups is None:
            return 0
        return int(np.intersect1d(self.groups, predictions.groups).size)

    def require_disjoint(self, predictions: Predictions, what: str) -> None:
        """Refuse rows that were fitted on.

        Raises:
            SplitError: Some rows are the same.
        """
        if self.ids is None:
            signature = _signature(predictions) if _is_numbered(predictions.ids) else None
            if self.digest and self.digest == _digest(predictions.ids, signature):
                raise SplitError(
                    f"{what}: these are the very {len(predictions)} rows it was fitted on; apply it "
                    "to other rows, or use the cross-fitted form"
                )
            return
        if self.signature is None and not _is_numbered(predictions.ids):
            require_disjoint(self.ids, predictions.ids, what)
            return
        if self.signature is None:
            return
        _, mine, theirs = np.intersect1d(
            self.ids, predictions.ids, assume_unique=True, return_indices=True
        )
        same = (self.signature[mine] == _signature(predictions)[theirs]).all(axis=1)
        ids = self.ids[mine][same]
        require_disjoint(ids, ids, what)


def _is_numbered(ids: StrArray) -> bool:
    """Whether ids are just row numbers, judged by up to a thousand of them."""
    sample = np.linspace(0, len(ids) - 1, min(len(ids), 1000)).astype(np.int64)
    return bool((ids[sample] == sample.astype(np.str_)).all())


def _signature(predictions: Predictions) -> FloatArray:
    k = predictions.n_classes
    sample = predictions.logits[:, [0, k // 2, k - 1]].astype(np.float64)
    return np.column_stack([sample, predictions.labels])


def _digest(ids: StrArray, signature: FloatArray | None) -> str:
    content = np.sort(ids) if signature is None else signature
    return hashlib.blake2b(np.ascontiguousarray(content).tobytes(), digest_size=16).hexdigest()
