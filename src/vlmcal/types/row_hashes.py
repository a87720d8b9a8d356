"""Numbers of 64 bits that stand for rows: of their ids, of their scores, and random ones drawn from these."""

import hashlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Words = NDArray[np.uint32]
_Strings = NDArray[np.str_]
_COLUMNS: Final = 16  # of a row's scores that are looked at
_CHUNK: Final = 1 << 16


def is_numbered(ids: _Strings) -> bool:
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


def content_hashes(scores: NDArray[np.floating[Any]]) -> Hashes:
    """One number per row of scores (N, K), whatever its place: the hash of its :func:`content_words`.

    Example:
        >>> a, b, c = content_hashes(np.array([[0.5, 1.0], [0.5, 2.0], [0.5, 1.0]])).tolist()
        >>> a == b, a == c
        (False, True)
    """
    return hashed(content_words(scores))


def content_words(scores: NDArray[np.floating[Any]]) -> Words:
    """Up to 16 of the numbers of each row of scores (N, K), in float32, as 32 bits each; a copy.

    Example:
        >>> content_words(np.array([[0.0, 1.0], [-0.0, 1.0]])).tolist()
        [[0, 1065353216], [0, 1065353216]]
    """
    k = scores.shape[1]
    columns = np.unique(np.linspace(0, k - 1, min(k, _COLUMNS)).round().astype(np.int64))
    if len(columns) == k:
        plain = scores.astype(np.float32, order="C")
    else:
        plain = scores.take(columns, axis=1).astype(np.float32, copy=False)
    plain += np.float32(0)  # minus zero becomes zero
    return plain.view(np.uint32)


def string_hashes(strings: _Strings) -> Hashes:
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
    return hashed(plain.view(np.uint32).reshape(strings.size, width))


def repeats(hashes: Hashes) -> NDArray[np.int64] | None:
    """How many equal ones come before each, (N,); None where all differ.

    Example:
        >>> repeats(np.array([7, 5, 7], dtype=np.uint64)).tolist()
        [0, 0, 1]
        >>> repeats(np.array([7, 5], dtype=np.uint64)) is None
        True
    """
    ordered = np.sort(hashes)
    if not (ordered[1:] == ordered[:-1]).any():
        return None
    order = np.argsort(hashes, kind="stable")
    new = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] ^ np.uint64(1)))
    repeat = np.empty(hashes.size, dtype=np.int64)
    repeat[order] = np.arange(hashes.size) - np.repeat(new, np.diff(np.append(new, hashes.size)))
    return repeat


def row_uniforms(keys: _Strings, seed: int, *names: str) -> NDArray[np.float64]:
    """One uniform number in [0, 1) per row, from the stream ``names`` of ``seed`` and the row's key.

    A row gets the same number in whatever order or batch it comes, so randomised sets can be served one
    row at a time without every row sharing one draw.

    Args:
        keys: (N,) keys from :func:`~vlmcal.types.row_identity.row_keys`.
        seed: Seed of the experiment.
        *names: Name of the stream.

    Returns:
        (N,) float64 with 53 random bits each.

    Example:
        >>> row_uniforms(np.array(["a", "b"]), 0, "conformal").round(4).tolist()
        [0.6941, 0.4394]
    """
    start = hashlib.blake2b("/".join([str(int(seed)), *names, ""]).encode(), digest_size=8)
    copy = start.copy
    digests = []
    for key in keys.tolist():
        state = copy()
        state.update(key.encode())
        digests.append(state.digest())
    words = np.frombuffer(b"".join(digests), dtype="<u8")
    return (words >> np.uint64(11)).astype(np.float64) * 2.0**-53


def hashed(words: Words) -> Hashes:
    """Hash of the rows of (N, M) words: a random linear form modulo 2^64, then mixed.

    Trailing zero words change nothing. Two rows clash with a chance of at most 2^-32.
    """
    factors = mixed(np.arange(1, words.shape[1] + 1, dtype=np.uint64)) | np.uint64(1)
    total = np.empty(len(words), dtype=np.uint64)
    step = max(1, _CHUNK // words.shape[1])
    for start in range(0, len(words), step):
        block = words[start : start + step].astype(np.uint64)
        np.einsum("nm,m->n", block, factors, out=total[start : start + step])
    return mixed(total)


def mixed(values: Hashes) -> Hashes:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014), a one-to-one map."""
    z = values + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
