"""From a cell's data settings to the parts it trains, calibrates and tests on."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from vlmcal.data.protocols import (
    NothingHeldOutError,
    Protocol,
    all_class,
    base_to_new,
    check_held,
)
from vlmcal.errors import SpecError, nearest
from vlmcal.types.dataset import Dataset

PROTOCOLS: dict[str, Callable[..., Protocol]] = {"base-to-new": base_to_new, "all-class": all_class}
# Keys of a cell's ``data`` that choose the parts; all other keys belong to the loader.
PROTOCOL_KEYS = ("protocol", "calibration", "allow_fewer", "allow_shared_groups")
# Methods without training ignore shots and seed; their parts are those of the first of these draws that
# leaves something to hold out.
DEFAULT_SHOTS, DEFAULT_SEED = (16, 8, 4, 2, 1), 0


def split_settings(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the loader, and settings of the protocol."""
    loader = {k: v for k, v in data.items() if k not in PROTOCOL_KEYS}
    return loader, {k: data[k] for k in PROTOCOL_KEYS if k in data}


def check_protocol(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a protocol that no data set could be split by.

    Raises:
        SpecError: Names the setting and what it may be.
    """
    name = settings.get("protocol", "base-to-new")
    if name not in PROTOCOLS:
        raise SpecError(f'unknown protocol "{name}"; {nearest(str(name), PROTOCOLS)}')
    check_held(settings.get("calibration", "all"))
    for key in ("allow_fewer", "allow_shared_groups"):
        if not isinstance(settings.get(key, False), bool):
            raise SpecError(f"{key}: expected true or false, got {settings[key]!r}")


def make_protocol(
    dataset: Dataset, data: Mapping[str, Any], shots: int | None, seed: int | None
) -> Protocol:
    """The parts of a cell.

    Raises:
        SpecError: Unknown protocol.
        DataError: A class has too few images, or a part is empty.
    """
    settings = dict(data)
    check_protocol(settings)
    name = str(settings.pop("protocol", "base-to-new"))
    settings.setdefault("calibration", "few")  # what a cell without this key has always meant
    draw = partial(
        PROTOCOLS[name], dataset, seed=DEFAULT_SEED if seed is None else seed, **settings
    )
    if shots is not None:
        return draw(shots)
    for count in DEFAULT_SHOTS[:-1]:
        with suppress(NothingHeldOutError):
            return draw(count, allow_fewer=True)
    return draw(DEFAULT_SHOTS[-1], allow_fewer=True)
