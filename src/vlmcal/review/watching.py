"""Watching a model by the outcomes that come in."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vlmcal.review.database import Review


def alarm(review: "Review") -> str:
    """What the drift alarm says; "" where it is off."""
    return ""
