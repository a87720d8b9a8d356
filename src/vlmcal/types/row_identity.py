"""Which rows are these? One key per row tells fitting rows and their groups from others."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import SplitError
from vlmcal.types.arrays import BoolArray, FloatArray, StrArray
from vlmcal.types.predictions import Predictions

Hashes = NDArray[np.uint64]
_COLUMNS: Final = 16  # of a row's scores that are looked at
# How many hashes a file keeps: the smallest, so that any two sets keep the same ones.
_ROWS_KEPT: Final = 300
_GROUPS_KEPT: Final = 1000


def is_numbered(ids: StrArray) -> bool:
    """Whether the ids are row numbers, which nobody gave and which occur in every file.

    Example:
        >>> is_numbered(np.array(["1", "0"])), is_numbered(np.array(["1", "2"]))
        (True, False)
    """
    n = len(ids)
    sample = ids[np.linspace(0, n - 1, min(n, 100)).astype(np.int64)].tolist()
    if not all(name.isdecimal() and name.isascii() and len(name) < 16 for name in sample):
        return False
    try:
        numbers = ids.astype(np.int64)
    except ValueError:
        return False
    inside = numbers[(numbers >= 0) & (numbers < n)]
    return inside.size == n and bool((np.bincount(inside, minlength=n) == 1).all())


def content_hashes(scores: FloatArray) -> Hashes:
    """One number per row of scores (N, K), whatever its place; up to 16 of its numbers take part.

    Example:
        >>> a, b, c = content_hashes(np.array([[0.5, 1.0], [0.5, 2.0], [0.5, 1.0]])).tolist()
        >>> a == b, a == c
        (False, True)
    """
    k = scores.shape[1]
    columns = np.unique(np.linspace(0, k - 1, min(k, _COLUMNS)).round().astype(np.int64))
    plain = scores[:, columns].astype(np.float32) + np.float32(0)  # minus zero becomes zero
    return _hashed(plain.view(np.uint32))


def string_hashes(strings: StrArray) -> Hashes:
    """One number per string.

    Example:
        >>> a, b = string_hashes(np.array(["scan-7", "scan-8"])).tolist()
        >>> a == b, a == int(string_hashes(np.array(["scan-7", "a much longer one"]))[0])
        (False, True)
    """
    width = strings.dtype.itemsize // 4
    if width == 0 or strings.size == 0:
        return np.zeros(strings.size, dtype=np.uint64)
    plain = np.ascontiguousarray(strings.astype(f"<U{width}"))
    return _hashed(plain.view(np.uint32).reshape(strings.size, width))


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
    if not is_numbered(predictions.ids):
        return predictions.ids
    hashes = content_hashes(predictions.logits)
    order = np.argsort(hashes, kind="stable")
    new = np.flatnonzero(np.diff(hashes[order], prepend=hashes[order][:1] ^ np.uint64(1)))
    repeat = np.empty(hashes.size, dtype=np.int64)
    repeat[order] = np.arange(hashes.size) - np.repeat(new, np.diff(np.append(new, hashes.size)))
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
    if not is_numbered(predictions.ids):
        return predictions
    keys = row_keys(predictions)
    place = np.empty(keys.size, dtype=np.int64)
    place[np.argsort(keys)] = np.arange(keys.size)
    prefix = _digest(predictions)[:8]
    return replace(predictions, ids=np.char.add(f"{prefix}:", place.astype(np.str_)))


def row_uniforms(keys: StrArray, seed: int, *names: str) -> FloatArray:
    """One uniform number in [0, 1) per row, from the stream ``names`` of ``seed`` and the row's key.

    A row gets the same number in whatever order or batch it comes, so randomised sets can be served one
    row at a time without every row sharing one draw.

    Args:
        keys: (N,) keys from :func:`row_keys`.
        seed: Seed of the experiment.
        *names: Name of the stream.

    Returns:
        (N,) float64 with 53 random bits each.

    Example:
        >>> row_uniforms(np.array(["a", "b"]), 0, "conformal").round(4).tolist()
        [0.6941, 0.4394]
    """
    start = hashlib.blake2b("/".join([str(int(seed)), *names, ""]).encode(), digest_size=8)
    words = np.empty(len(keys), dtype=np.uint64)
    for i, key in enumerate(keys.tolist()):
        state = start.copy()
        state.update(key.encode())
        words[i] = int.from_bytes(state.digest(), "little")
    result: FloatArray = (words >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return result


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
        found: BoolArray = np.isin(hashes, self.kept)
        return found

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


@dataclass(frozen=True, eq=False)
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

    n: int = 0
    digest: str = ""
    ids: Marks | None = None
    contents: Marks | None = None
    groups: Marks | None = None

    @classmethod
    def of(cls, predictions: Predictions, *, stated: bool = False) -> "FittedRows":
        """The identity of these rows.

        Args:
            predictions: The rows.
            stated: The scores are stated confidences, of which many are equal by nature.
        """
        given = not is_numbered(predictions.ids)
        groups = predictions.groups
        return cls(
            n=len(predictions),
            digest=_digest(predictions),
            ids=Marks(np.unique(string_hashes(predictions.ids))) if given else None,
            contents=None if stated else Marks(_single_contents(predictions)),
            groups=None if groups is None else Marks(np.unique(string_hashes(groups))),
        )

    def shared(self, predictions: Predictions, what: str) -> Shared:
        """What other rows share with these.

        Args:
            predictions: The other rows.
            what: What was fitted, for the message.

        Raises:
            SplitError: Some rows are the same ones.
        """
        n = len(predictions)
        if self.digest and n == self.n and self.digest in (_digest(predictions), _old(predictions)):
            raise SplitError(
                f"{what}: these are the very {n} rows it was fitted on ({n} rows were also used for "
                "fitting); apply it to other rows, or use the cross-fitted form"
            )
        if self.ids is not None and not is_numbered(predictions.ids):
            same = self.ids.found(string_hashes(predictions.ids))
            if same.any():
                first = str(predictions.ids[same.argmax()])
                raise SplitError(
                    f"{what}: {same.sum()} rows were also used for fitting, of {n} (first id {first!r}); "
                    "apply it to other rows, or use the cross-fitted form"
                )
        twins = groups = of_groups = 0
        if self.contents is not None:
            twins = int(self.contents.found(_single_contents(predictions)).sum())
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


def _single_contents(predictions: Predictions) -> Hashes:
    hashes, counts = np.unique(content_hashes(predictions.logits), return_counts=True)
    result: Hashes = hashes[counts == 1]
    return result


def _digest(predictions: Predictions) -> str:
    """Digest of a set of rows, whatever their order."""
    text = "\n".join(sorted(row_keys(predictions).tolist()))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _old(predictions: Predictions) -> str:
    """The same as calibrators wrote it in files of format 1, where ids were given."""
    return hashlib.blake2b(np.sort(predictions.ids).tobytes(), digest_size=16).hexdigest()


def _hashed(words: NDArray[np.uint32]) -> Hashes:
    """Hash of the rows of (N, M) words: a random linear form modulo 2^64, then mixed.

    Trailing zero words change nothing. Two rows clash with a chance of at most 2^-32.
    """
    factors = _mixed(np.arange(1, words.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    total = np.zeros(len(words), dtype=np.uint64)
    for column, factor in enumerate(factors):
        total += words[:, column].astype(np.uint64) * factor
    return _mixed(total)


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a one-to-one map."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    result: Hashes = z ^ (z >> np.uint64(31))
    return result
