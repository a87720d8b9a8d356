"""From many grey values to 256: the window that matters, stated and never guessed."""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vlmcal.errors import DataError
from vlmcal.types.picture import EACH, View

NO_WINDOW: Final = "the window is not guessed"
HOW_WINDOW: Final = f"pass window=LOW..HIGH, or pass window={EACH} for the range of each image"


def windowed(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Grey values as 8 bits: 255 (v - low) / (high - low), rounded, between 0 and 255.

    Example:
        >>> windowed(np.array([-1000, -160, 40, 240, 3000]), -160, 240).tolist()
        [0, 0, 128, 255, 255]
    """
    scaled = (np.asarray(values, dtype=np.float64) - low) / (high - low)
    return np.floor(np.clip(scaled, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def by_view(values: NDArray[Any], view: View, name: str, what: str) -> NDArray[np.uint8]:
    """Grey values through the window that was stated.

    Args:
        values: (H, W).
        view: What was stated.
        name: Of the image, for the message.
        what: Of what kind its values are, for the message.

    Raises:
        DataError: Nothing was stated; or values are not finite.

    Example:
        >>> by_view(np.array([[0, 4095]]), View("0..4095"), "a.png", "16-bit").tolist()
        [[0, 255]]
    """
    if not np.isfinite(values).all():
        raise DataError(f"{name}: some values are not finite numbers; repair the file")
    if view.window == EACH:
        low, high = float(values.min()), float(values.max())
        return windowed(values, low, high if high > low else low + 1.0)
    if view.limits is None:
        raise DataError(
            f"{name}: {what}, values {values.min():g} to {values.max():g}; {NO_WINDOW}: {HOW_WINDOW}"
        )
    return windowed(values, *view.limits)
