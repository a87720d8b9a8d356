"""From a cell's data settings to the parts it trains, calibrates and tests on."""

from collections.abc import Callable, Mapping
from typing import Any

from vlmcal.data.protocols import Protocol, all_class, base_to_new
from vlmcal.errors import SpecError, nearest
from vlmcal.types.dataset import Dataset

PROTOCOLS: dict[str, Callable[..., Protocol]] = {"base-to-new": base_to_new, "all-class": all_class}
# Keys of a cell's ``data`` that choose the parts; all other keys belong to the loader.
PROTOCOL_KEYS = ("protocol", "calibration", "allow_fewer", "allow_shared_groups")
# Methods without training ignore shots and seed; their parts are those of this draw.
DEFAULT_SHOTS, DEFAULT_SEED = 16, 0


def split_settings(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the loader, and settings of the protocol."""
    loader = {k: v for k, v in data.items() if k not in PROTOCOL_KEYS}
    return loader, {k: data[k] for k in PROTOCOL_KEYS if k in data}


def make_protocol(
    dataset: Dataset, data: Mapping[str, Any], shots: int | None, seed: int | None
) -> Protocol:
    """The parts of a cell.

    Raises:
        SpecError: Unknown protocol.
        DataError: A class has too few images, or a part is empty.
    """
    _, settings = split_settings(data)
    name = str(settings.pop("protocol", "base-to-new"))
    if name not in PROTOCOLS:
        raise SpecError(f'unknown protocol "{name}"; {nearest(name, PROTOCOLS)}')
    if shots is None:
        settings["allow_fewer"] = True
    return PROTOCOLS[name](
        dataset,
        DEFAULT_SHOTS if shots is None else shots,
        DEFAULT_SEED if seed is None else seed,
        **settings,
    )
