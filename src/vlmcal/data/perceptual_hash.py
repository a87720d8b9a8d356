"""Images that look the same although their pixels differ: a perceptual hash and an index of its bands."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vlmcal.types.arrays import IntArray, StrArray

SIDE: Final = 8  # lowest frequencies of each axis that are kept
THUMBNAIL: Final = 16
DISTANCE: Final = 7  # of 64 bits
LIKENESS: Final = 0.96  # correlation of the small versions
_FULL: Final = 32
_BANDS, _BITS = 4, 16
_CROWD: Final = 256  # images that share a band: so common that sharing it says nothing
_CHUNK: Final = 1 << 21  # pairs compared at once
_FLAT: Final = 2.0  # standard deviation of grey values below which there is nothing to compare

U64 = NDArray[np.uint64]


class Pair(NamedTuple):
    """Two images that look the same.

    Attributes:
        row: The one.
        other: The other.
        likeness: Correlation of their small versions.
        turned: Whether one has to be turned or mirrored for it.
    """

    row: int
    other: int
    likeness: float
    turned: bool


_COSINES = np.cos(np.pi * np.arange(SIDE)[:, None] * (2 * np.arange(_FULL) + 1) / (2 * _FULL))
_WEIGHTS = (np.uint64(1) << np.arange(64, dtype=np.uint64)).astype(np.uint64)


def perceptual_hash(image: Image.Image) -> int | None:
    """64 signs of the lowest cosine frequencies of an image of 32 x 32 grey values; None without contrast.

    Bit 8 v + u is whether sum_xy g(y, x) cos(pi u (2x + 1) / 64) cos(pi v (2y + 1) / 64) > 0. Brightness,
    contrast, size and compression hardly change it. Mirroring flips the bits of odd u (or v), transposing
    swaps u and v, so that a turned image is found without hashing it again.

    Source: after Zauner, Implementation and benchmarking of perceptual image hash functions, 2010 (there with
    the median as threshold).

    Example:
        >>> ramp = Image.fromarray(np.tile(np.arange(0, 250, 5, dtype=np.uint8), (50, 1)))
        >>> darker = ramp.point(lambda v: v // 2 + 9)
        >>> perceptual_hash(ramp) == perceptual_hash(darker), perceptual_hash(Image.new("L", (9, 9)))
        (True, None)
    """
    grey = np.asarray(
        image.convert("L").resize((_FULL, _FULL), Image.Resampling.BILINEAR), np.float64
    )
    if grey.std() < _FLAT:
        return None
    # Rounded, so that what is zero by symmetry is no sign of the last digit.
    frequencies = np.round(_COSINES @ (grey - grey.mean()) @ _COSINES.T, 3)
    bits = (frequencies > 0).ravel()
    return int((bits * _WEIGHTS).sum(dtype=np.uint64).view(np.int64))


def thumbnail_of(image: Image.Image) -> NDArray[np.uint8]:
    """(16, 16) grey values."""
    small = image.convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BILINEAR)
    return np.asarray(small, np.uint8)


def turns(codes: U64) -> list[U64]:
    """Hashes of the eight turned and mirrored versions of images, from their hashes; the first are they."""
    u, v = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    masks = [
        np.uint64(int((_WEIGHTS * bits.ravel()).sum(dtype=np.uint64)))
        for bits in (np.zeros((SIDE, SIDE), bool), u % 2 == 1, v % 2 == 1, (u + v) % 2 == 1)
    ]
    swapped = _transposed(codes)
    return [start ^ mask for start in (codes, swapped) for mask in masks]


def _transposed(codes: U64) -> U64:
    found = np.zeros_like(codes)
    for v in range(SIDE):
        for u in range(SIDE):
            bit = (codes >> np.uint64(8 * v + u)) & np.uint64(1)
            found |= bit << np.uint64(8 * u + v)
    return found


def _turned(small: NDArray[Any]) -> list[NDArray[Any]]:
    """Small versions (n, 16, 16) in the order of :func:`turns`."""
    both = (small, small.swapaxes(1, 2))
    return [
        version
        for start in both
        for version in (start, start[:, :, ::-1], start[:, ::-1], start[:, ::-1, ::-1])
    ]


def near_pairs(
    codes: U64, small: NDArray[np.uint8], sides: StrArray, *, per_image: int = 3
) -> tuple[list[Pair], int]:
    """Pairs of images that look the same and lie in different splits.

    A pair counts if its hashes differ in at most 7 of 64 bits, in one of the eight turned and mirrored
    versions, and its small versions correlate with at least 0.96. Hashes that differ in at most 7 bits share
    one of four bands of 16 bits up to one bit (else they would differ in 8), so candidates are found by
    looking up each band and its 16 neighbours among sorted bands: work grows with the number of images,
    not with that of pairs. Bands that more than 256 images share are passed over.

    Args:
        codes: (N,) perceptual hashes.
        small: (N, 16, 16) grey values.
        sides: (N,) split.
        per_image: Pairs kept of one image, the likest.

    Returns:
        Pairs, likest first, and how many images have a band that is too common to be compared by.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> picture = Image.fromarray(rng.integers(0, 255, (8, 8), dtype=np.uint8)).resize((64, 64))
        >>> mirrored = picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        >>> both = [picture, mirrored]
        >>> codes = np.array([perceptual_hash(p) for p in both]).astype(np.int64).view(np.uint64)
        >>> small = np.stack([thumbnail_of(p) for p in both])
        >>> pairs, _ = near_pairs(codes, small, np.array(["train", "test"]))
        >>> pairs[0].row, pairs[0].other, pairs[0].turned
        (0, 1, True)
    """
    best: dict[int, dict[int, Pair]] = {}
    # Each pair once: the smaller side asks, the larger one is looked through.
    names, counts = np.unique(sides, return_counts=True)
    order = [str(names[i]) for i in np.argsort(-counts)]
    crowded = np.zeros(len(codes), bool)
    flat = _standardised(small)
    for place, side in enumerate(order[:-1]):
        base = np.flatnonzero(sides == side)
        asking = np.flatnonzero(np.isin(sides, order[place + 1 :]))
        index = _Index(codes[base])
        for number, turned in enumerate(turns(codes[asking])):
            views = _turned(flat[asking])[number]
            for left, right in index.candidates(turned, crowded, asking):
                likeness = np.einsum("nij,nij->n", views[left], flat[base[right]])
                for at in np.flatnonzero(likeness >= LIKENESS):
                    row, other = int(asking[left[at]]), int(base[right[at]])
                    pair = Pair(row, other, float(likeness[at]), number > 0)
                    mine = best.setdefault(row, {})
                    if other not in mine or mine[other].likeness < pair.likeness:
                        mine[other] = pair
                    if len(mine) > per_image:
                        del mine[min(mine, key=lambda o: mine[o].likeness)]
    found = [pair for mine in best.values() for pair in mine.values()]
    return sorted(found, key=lambda p: (-p.likeness, p.row, p.other)), int(crowded.sum())


def _standardised(small: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scaled so that the sum of products of two versions is their correlation."""
    values = small.astype(np.float32)
    values -= values.mean((1, 2), keepdims=True)
    norms = np.sqrt((values**2).sum((1, 2), keepdims=True))
    return np.asarray(values / np.maximum(norms, 1e-6), np.float32)


class _Index:
    """Hashes sorted by each of their bands."""

    def __init__(self, codes: U64) -> None:
        self.codes = codes
        self.orders = [np.argsort(_band(codes, b), kind="stable") for b in range(_BANDS)]
        self.sorted = [_band(codes, b)[self.orders[b]] for b in range(_BANDS)]

    def candidates(
        self, asked: U64, crowded: NDArray[np.bool_], rows: IntArray
    ) -> Iterator[tuple[IntArray, IntArray]]:
        """Positions (asked, indexed) of hashes that differ in at most 7 bits, in portions."""
        probes = [0, *(1 << bit for bit in range(_BITS))]
        for band in range(_BANDS):
            mine = _band(asked, band)
            for probe in probes:
                key = mine ^ np.uint16(probe)
                low = np.searchsorted(self.sorted[band], key, side="left")
                many = np.searchsorted(self.sorted[band], key, side="right") - low
                crowd = many > _CROWD
                crowded[rows[crowd]] = True
                many = np.where(crowd, 0, many)
                yield from self._portions(asked, band, low, many)

    def _portions(
        self, asked: U64, band: int, low: IntArray, many: IntArray
    ) -> Iterator[tuple[IntArray, IntArray]]:
        some = np.flatnonzero(many)
        ends = np.cumsum(many[some])
        start = 0
        while start < len(some):
            before = ends[start - 1] if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + _CHUNK, side="right")))
            part = some[start:stop]
            left = np.repeat(part, many[part])
            first = np.cumsum(many[part]) - many[part]
            inside = np.arange(len(left)) - np.repeat(first, many[part])
            right = self.orders[band][np.repeat(low[part], many[part]) + inside]
            close = np.bitwise_count(asked[left] ^ self.codes[right]) <= DISTANCE
            if close.any():
                yield left[close], right[close]
            start = stop


def _band(codes: U64, band: int) -> NDArray[np.uint16]:
    return ((codes >> np.uint64(_BITS * band)) & np.uint64(0xFFFF)).astype(np.uint16)
