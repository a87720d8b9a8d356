"""The functions of ``scipy.special`` on first use: importing them takes longer than most metrics do."""

from typing import Any


def __getattr__(name: str) -> Any:
    import scipy.special

    return getattr(scipy.special, name)
