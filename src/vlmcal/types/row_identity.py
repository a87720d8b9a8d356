"""Which rows are these? One key per row tells fitting rows and their groups from others."""

import hashlib
import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np

from vlmcal.errors import SplitError
from vlmcal.types.arrays import BoolArray, StrArray
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_hashes import Hashes, hashed, repeats, string_hashes

# How many hashes a file keeps: the smallest, so that any two sets keep the same ones.
_ROWS_KEPT: Final = 300
_GROUPS_KEPT: Final = 1000


def row_keys(predictions: Predictions) -> StrArray:
    """One string per row that names it, (N,): its id, or its content where nobody gave ids.

    The content is a hash of the row's scores, never of its label; the second row of the same content gets
    ".1", and so on. The order of the rows does not matter.

    Example:
        >>> row_keys(Predictions(logits=[[1.0, 2.0]], labels=[0], ids=["scan-7"])).tolist()
        ['scan-7']
        >>> row_keys(Predictions(logits=[[1.0, 2.0]] * 2, labels=[0, 1])).tolist()
        ['df8f6908c723f05f', 'df8f6908c723f05f.1']
    """
    return _content_keys(predictions.content) if predictions.numbered else predictions.ids


def _content_keys(hashes: Hashes) -> StrArray:
    repeat = repeats(hashes)
    if repeat is None:
        digits = hashes.astype(">u8").tobytes().hex().encode()
        return np.frombuffer(digits, dtype="S16").astype(np.str_)
    return np.array(
        [
            f"{content:016x}" + (f".{number}" if number else "")
            for content, number in zip(hashes.tolist(), repeat.tolist(), strict=True)
        ]
    )


def with_content_ids(predictions: Predictions) -> Predictions:
    """The same rows; ids that are mere row numbers become the place in the set, named by its content.

    Files of other content then have other ids, and the same rows the same ones in any order.

    Example:
        >>> one = with_content_ids(Predictions(logits=[[1.0, 0.0], [2.0, 0.0]], labels=[0, 0]))
        >>> two = with_content_ids(Predictions(logits=[[2.0, 0.0], [1.0, 0.0]], labels=[0, 1]))
        >>> one.ids.tolist() == two.ids[::-1].tolist(), str(one.ids[0])
        (True, '989d312f:1')
    """
    if not predictions.numbered:
        return predictions
    keys = row_keys(predictions)
    place = np.empty(keys.size, dtype=np.int64)
    place[np.argsort(keys)] = np.arange(keys.size)
    prefix = _digest(predictions)[:8]
    return replace(predictions, ids=np.char.add(f"{prefix}:", place.astype(np.str_)))


@dataclass(frozen=True)
class Marks:
    """A set of hashes, of which a file keeps only the smallest.

    Attributes:
        kept: The distinct ones, rising.
        complete: Whether these are all.
    """

    kept: Hashes
    complete: bool = True

    def found(self, hashes: Hashes) -> BoolArray:
        """Which of other hashes are known to be in the set, (N,)."""
        found = np.zeros(hashes.size, dtype=np.bool_)
        if self.kept.size:
            # Nearly all rows are others: their leading bits say so without a search.
            shift, leading = self._leading
            maybe = np.flatnonzero(leading[hashes >> shift])
            near = hashes[maybe]
            place = np.minimum(np.searchsorted(self.kept, near), self.kept.size - 1)
            found[maybe] = self.kept[place] == near
        return found

    @cached_property
    def _leading(self) -> tuple[np.uint64, BoolArray]:
        """How far to shift for the leading bits, and which of these occur."""
        shift = np.uint64(64 - min(max(12, (16 * self.kept.size).bit_length()), 24))
        leading = np.zeros(1 << (64 - int(shift)), dtype=np.bool_)
        leading[self.kept >> shift] = True
        return shift, leading

    def judged(self, hashes: Hashes) -> int:
        """How many of other hashes can be judged: all, or those in the range that was kept."""
        return hashes.size if self.complete else int((hashes <= self.kept[-1:]).sum())

    def to_text(self, most: int) -> str:
        """The smallest ``most`` as hexadecimal digits, 16 each; a plus at the end where there are more."""
        text = "".join(f"{value:016x}" for value in self.kept[:most].tolist())
        return text if self.complete and self.kept.size <= most else text + "+"

    @classmethod
    def from_text(cls, text: str) -> "Marks":
        """The inverse of :meth:`to_text`.

        Raises:
            ValueError: The text is something else.

        Example:
            >>> Marks.from_text("00000000000000ff+").kept.tolist()
            [255]
        """
        digits = text.removesuffix("+")
        if len(digits) % 16 or (not digits and text):
            raise ValueError("the marks of the fitting rows are cut off")
        values = [int(digits[i : i + 16], 16) for i in range(0, len(digits), 16)]
        return cls(np.array(values, dtype=np.uint64), text == digits)


@dataclass(frozen=True)
class Shared:
    """What two sets of rows have in common.

    Attributes:
        twins: Rows with exactly the scores of a row of the other set, where that may be chance.
        groups: Groups (patients, slides) that occur on both sides.
        of_groups: Groups of the rows at hand.
    """

    twins: int = 0
    groups: int = 0
    of_groups: int = 0

    def notes(self, n: int, rows: str = "these rows") -> list[str]:
        """What to tell the user, each a sentence.

        Args:
            n: Number of rows at hand.
            rows: What they are called.

        Example:
            >>> print(Shared(groups=60, of_groups=60).notes(240, "test.csv")[0])
            60 of 60 groups of test.csv were fitted on (patients, slides), so what is measured may be
            too good; split by group
        """
        found = []
        if self.groups:
            found.append(
                f"{self.groups} of {self.of_groups} groups of {rows} were fitted on (patients, slides), so "
                "what is measured may be too good; split by group"
            )
        if self.twins:
            found.append(
                f"{self.twins:,} of the {n:,} rows of {rows} have exactly the scores of a row that was "
                "fitted on; if they are the same samples, leave them out of one of the files"
            )
        return found


class SharedRowsWarning(UserWarning):
    """Rows to measure on have groups, or scores, of the rows that are fitted on."""


def warn_shared(fitting: Predictions, test: Predictions) -> None:
    """Warn of groups and of scores that stand on both sides.

    Args:
        fitting: Rows to fit on.
        test: Rows to measure on; where they are fitting rows themselves, the method that is fitted refuses.
    """
    try:
        shared = FittedRows.of(fitting).shared(test, "the test rows")
    except SplitError:
        return
    for text in shared.notes(len(test), "the test rows"):
        warnings.warn(text, SharedRowsWarning, stacklevel=3)


class FittedRows:
    """Identity of the rows that something was fitted on: in memory all of it, in a file a part.

    Rows with an id of a fitting row are refused, and so is the whole set in any order where nobody gave ids.
    Single rows with equal scores are told: that may be chance where scores are rounded or saturated.

    Attributes:
        n: Number of rows.
        digest: Hash of the whole set, whatever its order.
        ids: Marks of the ids; None where nobody gave any.
        contents: Marks of the scores that occur once; None where equal scores mean nothing.
        groups: Marks of the groups, or None without groups.
    """

    def __init__(
        self,
        n: int = 0,
        digest: str = "",
        ids: Marks | None = None,
        contents: Marks | None = None,
        groups: Marks | None = None,
    ) -> None:
        self.n, self.groups = n, groups
        vars(self).update(digest=digest, ids=ids, contents=contents)

    @staticmethod
    def of(predictions: Predictions, *, stated: bool = False) -> "FittedRows":
        """The identity of these rows.

        Args:
            predictions: The rows.
            stated: The scores are stated confidences, of which many are equal by nature.
        """
        return _RowsAtHand(predictions, stated)

    @cached_property
    def digest(self) -> str:
        """As told above."""
        return ""

    @cached_property
    def ids(self) -> Marks | None:
        """As told above."""
        return None

    @cached_property
    def contents(self) -> Marks | None:
        """As told above."""
        return None

    def same_set(self, predictions: Predictions) -> bool:
        """Whether these are the very rows, in any order."""
        if len(predictions) != self.n or not self.digest:
            return False
        if self.digest == _digest(predictions):
            return True
        return not predictions.numbered and self.digest == _old(predictions)

    def shared(self, predictions: Predictions, what: str) -> Shared:
        """What other rows share with these.

        Args:
            predictions: The other rows.
            what: What was fitted, for the message.

        Raises:
            SplitError: Some rows are the same ones.
        """
        n = len(predictions)
        if self.same_set(predictions):
            raise SplitError(
                f"{what}: these are the very {n} rows it was fitted on ({n} rows were also used for "
                "fitting); apply it to other rows, or use the cross-fitted form"
            )
        if self.ids is not None and not predictions.numbered:
            same = self.ids.found(predictions.id_hashes)
            if same.any():
                first = str(predictions.ids[same.argmax()])
                raise SplitError(
                    f"{what}: {same.sum()} rows were also used for fitting, of {n} (first id {first!r}); "
                    "apply it to other rows, or use the cross-fitted form"
                )
        twins = groups = of_groups = 0
        if self.contents is not None:
            known = predictions.content[self.contents.found(predictions.content)]
            twins = int((np.unique(known, return_counts=True)[1] == 1).sum())
        if self.groups is not None and predictions.groups is not None:
            names = np.unique(string_hashes(predictions.groups))
            groups, of_groups = int(self.groups.found(names).sum()), self.groups.judged(names)
        return Shared(twins, groups, of_groups)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data: hashes of ids, scores and groups, never the names themselves."""
        kept = {"digest": self.digest}
        for name, marks, most in (
            ("ids", self.ids, _ROWS_KEPT),
            ("contents", self.contents, _ROWS_KEPT),
            ("groups", self.groups, _GROUPS_KEPT),
        ):
            if marks is not None:
                kept[name] = marks.to_text(most)
        return kept

    @classmethod
    def from_dict(cls, data: dict[str, Any], n: int) -> "FittedRows":
        """The inverse of :meth:`to_dict`, for ``n`` rows; a digest alone will do (older files)."""
        marks = {k: Marks.from_text(data[k]) for k in ("ids", "contents", "groups") if k in data}
        return cls(n, str(data.get("digest", "")), **marks)


class _RowsAtHand(FittedRows):
    """The same while the rows are at hand: what is hashed is kept; the rest is made when it is asked for."""

    def __init__(self, predictions: Predictions, stated: bool) -> None:
        groups = predictions.groups
        self.n = len(predictions)
        self.groups = None if groups is None else Marks(np.unique(string_hashes(groups)))
        self._stated = stated
        self._ids = None if predictions.numbered else predictions.ids
        self._hashes = None if predictions.numbered else predictions.id_hashes
        self._words = predictions.words

    @cached_property
    def _content(self) -> Hashes:
        return hashed(self._words)

    @cached_property
    def digest(self) -> str:
        """Of the ids, or of the scores where nobody gave any."""
        return _digest_of(_content_keys(self._content) if self._ids is None else self._ids)

    @cached_property
    def ids(self) -> Marks | None:
        """Marks of all ids."""
        return None if self._hashes is None else Marks(np.unique(self._hashes))

    @cached_property
    def contents(self) -> Marks | None:
        """Marks of all scores that occur once."""
        if self._stated:
            return None
        hashes, counts = np.unique(self._content, return_counts=True)
        return Marks(hashes[counts == 1])

    def same_set(self, predictions: Predictions) -> bool:
        """Compared by the hashes of all rows, not by their digest."""
        if len(predictions) != self.n or predictions.numbered != (self._hashes is None):
            return False
        own = self._content if self._hashes is None else self._hashes
        other = predictions.content if self._hashes is None else predictions.id_hashes
        # equal sets have equal sums; hardly any others have
        return bool(own.sum() == other.sum()) and np.array_equal(np.sort(own), np.sort(other))


def _digest(predictions: Predictions) -> str:
    """Digest of a set of rows, whatever their order."""
    return _digest_of(row_keys(predictions))


def _digest_of(rows: StrArray) -> str:
    """Digest of the sorted strings of :func:`row_keys`, each on a line."""
    text = "\n".join(sorted(rows.tolist())).encode()
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def _old(predictions: Predictions) -> str:
    """The same as calibrators wrote it in files of format 1, where ids were given."""
    return hashlib.blake2b(np.sort(predictions.ids).tobytes(), digest_size=16).hexdigest()
