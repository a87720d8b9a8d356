"""Seeded handwritten-looking digits drawn from pen strokes: no real handwriting is involved."""

from collections.abc import Callable
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt

from pocket_glyphs import DIGITS, finish_grey, scan
from vlmcal.data.render import Pixels, require_fraction, require_member

Curve = npt.NDArray[np.float64]
_Floats = npt.NDArray[np.float64]
_BITMAP: Final = 32
_STEPS: Final = 4


def _c(*points: tuple[float, float]) -> Curve:
    return np.array(points)


def _loop(x: float, y: float, rx: float, ry: float, start: float, sweep: float) -> Curve:
    """Points of an ellipse arc; angles in turns, from the right, clockwise on the page."""
    angle = 2.0 * np.pi * np.linspace(start, start + sweep, 11)
    return np.stack([x + rx * np.cos(angle), y + ry * np.sin(angle)], axis=1)


@cache
def _models() -> dict[str, tuple[tuple[float, list[Curve]], ...]]:
    """Ways of writing each digit: (frequency, strokes) with points (x right, y down) in [0, 1]²."""
    stem = _c((0.5, 0.0), (0.5, 0.35), (0.5, 0.7), (0.5, 1.0))
    cap = _c((0.18, 0.22), (0.32, 0.05), (0.55, 0.0), (0.76, 0.14), (0.74, 0.36))
    belly = _c((0.42, 0.47), (0.65, 0.5), (0.8, 0.7), (0.7, 0.92), (0.45, 1.0), (0.18, 0.9))
    bar = _c((0.22, 0.52), (0.48, 0.5), (0.78, 0.47))
    hook = _c((0.14, 0.2), (0.16, 0.03))
    return {
        "0": (
            (5, [_loop(0.5, 0.5, 0.36, 0.5, -0.25, -1.0)]),
            (2, [_loop(0.5, 0.5, 0.26, 0.5, -0.25, -1.05)]),
            (2, [_loop(0.5, 0.5, 0.36, 0.5, -0.2, -0.95)]),
            (1, [_loop(0.5, 0.5, 0.42, 0.5, -0.3, 1.1)]),
            (1, [_loop(0.5, 0.5, 0.34, 0.5, -0.15, -1.15)]),
        ),
        "1": (
            (3, [stem]),
            (4, [_c((0.3, 0.2), (0.42, 0.1), (0.53, 0.0)), stem]),
            (2, [_c((0.18, 0.38), (0.36, 0.2), (0.53, 0.0)), stem]),
            (2, [_c((0.32, 0.2), (0.52, 0.0)), stem, _c((0.25, 1.0), (0.5, 1.0), (0.75, 1.0))]),
            (1, [stem, _c((0.22, 1.0), (0.5, 1.0), (0.78, 1.0))]),
            (1, [_c((0.66, 0.0), (0.55, 0.35), (0.44, 0.7), (0.36, 1.0))]),
        ),
        "2": (
            (4, [np.vstack([cap, _c((0.56, 0.6), (0.36, 0.8), (0.18, 0.98))]),
                 _c((0.18, 0.98), (0.5, 0.98), (0.84, 0.97))]),
            (3, [np.vstack([cap, _c((0.58, 0.62), (0.4, 0.86), (0.24, 0.97), (0.16, 0.88),
                                    (0.28, 0.79), (0.5, 0.9), (0.68, 0.98), (0.86, 0.9))])]),
            (2, [_c((0.2, 0.12), (0.45, 0.0), (0.72, 0.1), (0.7, 0.4), (0.5, 0.7), (0.2, 0.95)),
                 _c((0.2, 0.95), (0.42, 0.88), (0.62, 0.96), (0.86, 0.98))]),
            (1, [_c((0.18, 0.05), (0.5, 0.0), (0.76, 0.06)), _c((0.76, 0.06), (0.48, 0.5), (0.2, 0.98)),
                 _c((0.2, 0.98), (0.5, 1.0), (0.84, 0.98))]),
        ),
        "3": (
            (5, [_c((0.2, 0.12), (0.45, 0.0), (0.72, 0.1), (0.72, 0.32), (0.42, 0.47)), belly]),
            (2, [_c((0.2, 0.02), (0.5, 0.02), (0.78, 0.02)), _c((0.78, 0.02), (0.6, 0.24), (0.42, 0.43)),
                 _c((0.42, 0.43), (0.7, 0.5), (0.82, 0.72), (0.66, 0.94), (0.42, 1.0), (0.18, 0.9))]),
            (2, [_c((0.22, 0.1), (0.48, 0.0), (0.72, 0.12), (0.66, 0.36), (0.5, 0.46), (0.62, 0.5),
                    (0.78, 0.68), (0.7, 0.92), (0.45, 1.0), (0.2, 0.92))]),
            (1, [_c((0.2, 0.16), (0.42, 0.0), (0.66, 0.1), (0.64, 0.34), (0.4, 0.46), (0.36, 0.5),
                    (0.6, 0.5), (0.78, 0.7), (0.62, 0.96), (0.3, 0.98))]),
        ),
        "4": (
            (4, [_c((0.32, 0.0), (0.24, 0.3), (0.16, 0.58)), _c((0.16, 0.58), (0.5, 0.58), (0.88, 0.56)),
                 _c((0.7, 0.18), (0.67, 0.6), (0.64, 1.0))]),
            (3, [_c((0.6, 0.0), (0.36, 0.34), (0.12, 0.66)), _c((0.12, 0.66), (0.5, 0.66), (0.9, 0.65)),
                 _c((0.62, 0.3), (0.62, 0.65), (0.62, 1.0))]),
            (2, [_c((0.64, 0.0), (0.38, 0.34), (0.12, 0.68)), _c((0.12, 0.68), (0.5, 0.68), (0.92, 0.68)),
                 _c((0.64, 0.0), (0.64, 0.5), (0.64, 1.0))]),
            (2, [_c((0.2, 0.0), (0.16, 0.3), (0.26, 0.52), (0.5, 0.54), (0.74, 0.44)),
                 _c((0.78, 0.0), (0.74, 0.4), (0.7, 1.0))]),
            (2, [_c((0.5, 0.0), (0.3, 0.3), (0.14, 0.6), (0.4, 0.64), (0.86, 0.56)),
                 _c((0.66, 0.34), (0.58, 0.7), (0.5, 1.0))]),
        ),
        "5": (
            (4, [_c((0.8, 0.02), (0.55, 0.01), (0.3, 0.02)), _c((0.3, 0.02), (0.27, 0.22), (0.24, 0.44)),
                 _c((0.24, 0.44), (0.52, 0.38), (0.78, 0.58), (0.74, 0.86), (0.46, 1.0), (0.16, 0.94))]),
            (3, [_c((0.82, 0.03), (0.5, 0.02), (0.32, 0.08), (0.26, 0.3), (0.4, 0.43), (0.64, 0.52),
                    (0.76, 0.72), (0.62, 0.94), (0.4, 1.0), (0.18, 0.95))]),
            (2, [_c((0.36, 0.04), (0.3, 0.25), (0.26, 0.42)), _c((0.38, 0.06), (0.62, 0.03), (0.9, 0.0)),
                 _c((0.26, 0.42), (0.56, 0.4), (0.76, 0.6), (0.68, 0.88), (0.42, 1.0), (0.2, 0.94))]),
            (1, [_c((0.7, 0.0), (0.45, 0.06), (0.28, 0.36)), _c((0.28, 0.36), (0.6, 0.44), (0.66, 0.7),
                    (0.5, 0.94), (0.2, 1.0))]),
        ),
        "6": (
            (4, [_c((0.68, 0.0), (0.44, 0.18), (0.26, 0.5), (0.24, 0.8), (0.44, 1.0), (0.7, 0.92),
                    (0.78, 0.72), (0.62, 0.55), (0.4, 0.6), (0.26, 0.78))]),
            (3, [_c((0.42, 0.0), (0.28, 0.3), (0.22, 0.66), (0.32, 0.94), (0.56, 1.0), (0.76, 0.84),
                    (0.7, 0.6), (0.5, 0.54), (0.26, 0.7))]),
            (2, [_c((0.34, 0.0), (0.27, 0.38), (0.24, 0.74)), _loop(0.5, 0.76, 0.27, 0.24, 0.5, -1.05)]),
            (1, [_c((0.78, 0.08), (0.56, 0.0), (0.32, 0.2), (0.2, 0.55), (0.28, 0.9), (0.52, 1.0),
                    (0.76, 0.86), (0.74, 0.62), (0.5, 0.52), (0.24, 0.66))]),
        ),
        "7": (
            (3, [_c((0.16, 0.04), (0.5, 0.03), (0.82, 0.03)), _c((0.82, 0.03), (0.6, 0.45), (0.42, 1.0))]),
            (3, [_c((0.16, 0.04), (0.5, 0.03), (0.82, 0.03)), _c((0.82, 0.03), (0.58, 0.5), (0.42, 1.0)),
                 bar]),
            (2, [hook, _c((0.16, 0.06), (0.5, 0.07), (0.84, 0.02)), _c((0.84, 0.02), (0.6, 0.5), (0.5, 1.0)),
                 bar]),
            (2, [_c((0.14, 0.1), (0.4, 0.02), (0.66, 0.04), (0.8, 0.1), (0.7, 0.4), (0.55, 0.7),
                    (0.48, 1.0))]),
            (1, [hook, _c((0.16, 0.04), (0.5, 0.06), (0.84, 0.0)), _c((0.84, 0.0), (0.62, 0.4), (0.5, 1.0))]),
            (1, [_c((0.12, 0.14), (0.44, 0.02), (0.78, 0.06), (0.66, 0.5), (0.54, 1.0)),
                 _c((0.3, 0.6), (0.6, 0.55), (0.88, 0.5))]),
        ),
        "8": (
            (4, [_c((0.68, 0.12), (0.5, 0.0), (0.28, 0.08), (0.26, 0.28), (0.5, 0.46), (0.74, 0.64),
                    (0.76, 0.88), (0.5, 1.0), (0.26, 0.88), (0.28, 0.66), (0.5, 0.48), (0.7, 0.3),
                    (0.7, 0.12))]),
            (2, [_loop(0.5, 0.25, 0.23, 0.25, 0.25, 1.0), _loop(0.5, 0.74, 0.28, 0.26, -0.25, 1.0)]),
            (2, [_c((0.76, 0.08), (0.5, 0.0), (0.28, 0.14), (0.36, 0.38), (0.62, 0.58), (0.7, 0.84),
                    (0.5, 1.0), (0.3, 0.86), (0.38, 0.6), (0.62, 0.36), (0.78, 0.1))]),
            (1, [_loop(0.48, 0.22, 0.28, 0.22, 0.2, 1.05), _loop(0.5, 0.74, 0.22, 0.27, -0.25, 1.05)]),
            (1, [_c((0.3, 0.05), (0.36, 0.3), (0.66, 0.62), (0.7, 0.88), (0.48, 1.0), (0.3, 0.86),
                    (0.42, 0.56), (0.68, 0.3), (0.66, 0.06), (0.46, 0.0), (0.3, 0.05))]),
        ),
        "9": (
            (4, [_loop(0.46, 0.27, 0.28, 0.27, -0.05, -1.0), _c((0.74, 0.2), (0.72, 0.6), (0.66, 1.0))]),
            (3, [_loop(0.46, 0.27, 0.28, 0.27, -0.05, -1.0),
                 _c((0.74, 0.22), (0.78, 0.56), (0.66, 0.88), (0.42, 1.0), (0.2, 0.94))]),
            (2, [_c((0.72, 0.12), (0.46, 0.0), (0.24, 0.16), (0.28, 0.42), (0.5, 0.48), (0.72, 0.3),
                    (0.74, 0.14), (0.66, 0.56), (0.5, 1.0))]),
            (2, [_c((0.74, 0.1), (0.5, 0.0), (0.26, 0.2), (0.4, 0.44), (0.66, 0.36), (0.76, 0.12),
                    (0.76, 0.5), (0.7, 0.84), (0.48, 1.0), (0.24, 0.92))]),
            (1, [_loop(0.46, 0.24, 0.28, 0.24, 0.02, -1.0), _c((0.74, 0.26), (0.6, 0.6), (0.34, 1.0))]),
        ),
    }  # fmt: skip


def render_handwritten(
    rng: np.random.Generator, digit: str, *, shift: float = 0.0, image_size: int = 32
) -> Pixels:
    """Draw one handwritten-looking digit, scanned to 8 × 8 grey levels and enlarged again.

    A way of writing the digit is drawn by its frequency; its control points jitter, a spline joins
    them, slant, turn, stretch and a smooth wave distort the page, a pen of random weight inks it and
    the drawing is fitted to the bitmap as form readers do. One image in ten is dark on bright.

    Args:
        rng: source of every random choice.
        digit: one of ``DIGITS``.
        shift: strength of noise, blur and loss of contrast in [0, 1].
        image_size: side of the image in pixels.

    Returns:
        ``(image_size, image_size, 3)`` array of ``uint8``.

    Raises:
        DataError: not a digit, or a shift outside [0, 1].

    >>> render_handwritten(np.random.default_rng(0), "4").shape
    (32, 32, 3)
    """
    require_member(digit, DIGITS, "digit")
    require_fraction(shift, "shift")
    level = scan(_ink(rng, _written(rng, digit)), image_size)
    return finish_grey(rng, level, shift, plain=rng.random() < 0.9)


def _written(rng: np.random.Generator, digit: str) -> list[Curve]:
    """Strokes of one distorted writing in bitmap coordinates."""
    variants = _models()[digit]
    weights = np.array([weight for weight, _ in variants]) + 0.3
    strokes = variants[rng.choice(len(variants), p=weights / weights.sum())][1]
    jitter = rng.uniform(0.015, 0.05)
    curves = [_spline(stroke + rng.normal(0.0, jitter, stroke.shape)) for stroke in strokes]
    warp = _page_warp(rng)
    warped = [warp(curve) for curve in curves]
    return _fit_bitmap(rng, warped)


def _spline(points: Curve) -> Curve:
    """Catmull-Rom curve through the control points."""
    if len(points) == 2:
        return np.linspace(points[0], points[1], _STEPS)
    ends = np.vstack([2 * points[0] - points[1], points, 2 * points[-1] - points[-2]])
    t = np.linspace(0.0, 1.0, _STEPS)[:, None]
    pieces = []
    for a, b, c, d in zip(ends[:-3], ends[1:-2], ends[2:-1], ends[3:], strict=True):
        cubic = (3.0 * (b - c) + d - a) * t**3 + (2.0 * a - 5.0 * b + 4.0 * c - d) * t**2
        pieces.append(0.5 * (cubic + (c - a) * t) + b)
    return np.vstack(pieces)


def _page_warp(rng: np.random.Generator) -> Callable[[Curve], Curve]:
    angle, slant = rng.normal(0.0, 0.1), rng.normal(-0.1, 0.22)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.array([[np.exp(rng.normal(-0.12, 0.2)), slant], [0.0, 1.0]])
    strength = rng.uniform(0.0, 0.035, 2)
    frequency, phase = rng.uniform(2.0, 6.0, 2), rng.uniform(0.0, 2.0 * np.pi, 2)

    def warp(curve: Curve) -> Curve:
        bent = curve + strength * np.sin(frequency * curve[:, ::-1] + phase)
        return np.asarray((bent - 0.5) @ matrix.T)

    return warp


def _fit_bitmap(rng: np.random.Generator, curves: list[Curve]) -> list[Curve]:
    """Scale to nearly the full height of the bitmap, centre, and cap the width."""
    points = np.vstack(curves)
    low, high = points.min(axis=0), points.max(axis=0)
    height = rng.uniform(25.0, 30.5) if rng.random() < 0.8 else rng.uniform(19.0, 26.0)
    scale = height / max(high[1] - low[1], 1e-6)
    across = min(scale, rng.uniform(19.0, 28.0) / max(high[0] - low[0], 1e-6))
    centre = _BITMAP / 2.0 + rng.normal(0.0, [1.2, 0.7])
    factor = np.array([across, scale])
    return [(curve - (low + high) / 2.0) * factor + centre for curve in curves]


def _ink(rng: np.random.Generator, curves: list[Curve]) -> _Floats:
    """Black-and-white ink ``(32, 32)`` of a pen whose pressure varies along the stroke."""
    start = np.vstack([curve[:-1] for curve in curves]).astype(np.float32)
    step = np.vstack([np.diff(curve, axis=0) for curve in curves]).astype(np.float32)
    axis = np.arange(_BITMAP, dtype=np.float32) + np.float32(0.5)
    dx = axis[None, :, None] - start[:, 0]
    dy = axis[:, None, None] - start[:, 1]
    length = np.maximum((step**2).sum(axis=1), np.float32(1e-9))
    along = np.clip((dx * step[:, 0] + dy * step[:, 1]) / length, 0.0, 1.0)
    squared = (dx - along * step[:, 0]) ** 2 + (dy - along * step[:, 1]) ** 2
    pressure = 1.0 + 0.18 * np.sin(np.linspace(0.0, 5.0, len(start)) + rng.uniform(0.0, 6.3))
    nib = np.exp(rng.normal(np.log(1.9), 0.28))
    reach = ((pressure * nib) ** 2).astype(np.float32)
    return np.asarray((squared < reach).any(axis=2), dtype=np.float64)
