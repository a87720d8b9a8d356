"""From a cell's data settings to the parts it trains, calibrates and tests on."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from vlmcal.data.base import load_dataset
from vlmcal.data.data_cards import find_card
from vlmcal.data.protocol_variants import (
    SHIFTED_IMAGENETS,
    by_group,
    calibrated_on_test,
    domain_generalisation,
    nested,
)
from vlmcal.data.protocols import (
    NothingHeldOutError,
    Protocol,
    all_class,
    base_to_new,
    check_held,
    cross_dataset,
)
from vlmcal.errors import SpecError, require_known
from vlmcal.hashing import digest
from vlmcal.types.dataset import Dataset

PROTOCOLS: dict[str, Callable[..., Protocol]] = {
    "base-to-new": base_to_new,
    "all-class": all_class,
    "nested": nested,
    "by-group": by_group,
    "cross-dataset": cross_dataset,
    "domain-generalisation": domain_generalisation,
    "test-as-val": calibrated_on_test,
}
# Those that are tested on other data sets, which the key ``targets`` lists.
ON_TARGETS = ("cross-dataset", "domain-generalisation")
# Keys of a cell's ``data`` that choose the parts; all other keys belong to the loader.
PROTOCOL_KEYS = ("protocol", "calibration", "allow_fewer", "allow_shared_groups", "targets")
# Methods without training ignore shots and seed; their parts are those of the first of these draws that
# leaves something to hold out.
DEFAULT_SHOTS, DEFAULT_SEED = (16, 8, 4, 2, 1), 0


def split_settings(data: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of the loader, and settings of the protocol.

    Domain generalisation from a published ImageNet is tested on its published variants below the same root,
    where no targets are named; a target by name alone is looked for there, too.

    Example:
        >>> shifted = {"name": "imagenet", "root": "d", "protocol": "domain-generalisation"}
        >>> split_settings(shifted)[1]["targets"][0]
        {'name': 'imagenet_v2', 'root': 'd'}
    """
    loader = {k: v for k, v in data.items() if k not in PROTOCOL_KEYS}
    protocol = {k: data[k] for k in PROTOCOL_KEYS if k in data}
    card = find_card(str(loader.get("name", "")))
    if protocol.get("protocol") == "domain-generalisation" and card and card.name == "imagenet":
        protocol.setdefault("targets", list(SHIFTED_IMAGENETS))
    if isinstance(protocol.get("targets"), str | Mapping):
        protocol["targets"] = [protocol["targets"]]
    root: dict[str, Any] = {k: loader[k] for k in ("root", "image_root") if k in loader}
    if isinstance(protocol.get("targets"), list) and root:
        protocol["targets"] = [_below(target, root) for target in protocol["targets"]]
    return loader, protocol


def data_label(data: Mapping[str, Any]) -> str:
    """What a cell's data are called in progress and tables.

    Example:
        >>> data_label({"name": "shapes", "called": "eurosat"}), data_label({"path": "a/scans.csv"})
        ('eurosat', 'a/scans.csv')
    """
    return str(data.get("called") or data.get("name") or data.get("path"))


def _below(target: Any, root: Mapping[str, Any]) -> Any:
    card = find_card(target) if isinstance(target, str) else None
    return target if card is None or Path(str(target)).exists() else {"name": card.name, **root}


def shares_groups(settings: Mapping[str, Any]) -> bool:
    """Whether groups on two sides of the given split are no error: allowed, or that split is set aside.

    Example:
        >>> shares_groups({"protocol": "by-group"}), shares_groups({})
        (True, False)
    """
    return bool(settings.get("allow_shared_groups")) or settings.get("protocol") == "by-group"


def check_protocol(settings: Mapping[str, Any]) -> None:
    """Refuse settings of a protocol that no data set could be split by.

    Raises:
        SpecError: Names the setting and what it may be.
    """
    name = settings.get("protocol", "base-to-new")
    require_known(name, PROTOCOLS, "unknown protocol")
    check_held(settings.get("calibration", "all"))
    targets = settings.get("targets")
    if not isinstance(targets, list | tuple | None):
        raise SpecError(f"targets: expected a list of data sets, got {targets!r}")
    if name in ON_TARGETS and not targets:
        raise SpecError(f"protocol {name}: name the data sets to test on, targets: [NAME, ...]")
    if targets and name not in ON_TARGETS:
        raise SpecError(f'targets are for the protocols {", ".join(ON_TARGETS)}, not for "{name}"')
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
    # As it always was.
    settings.setdefault("calibration", "all" if name == "test-as-val" else "few")
    targets = [load_target(target) for target in settings.pop("targets", ())]
    if name in ON_TARGETS:
        settings.pop("allow_shared_groups", None)
    draw = partial(
        PROTOCOLS[name],
        dataset,
        *([targets] if targets else []),
        seed=DEFAULT_SEED if seed is None else seed,
        **settings,
    )
    if shots is not None:
        return draw(shots=shots)
    for count in DEFAULT_SHOTS[:-1]:
        with suppress(NothingHeldOutError):
            return draw(shots=count, allow_fewer=True)
    return draw(shots=DEFAULT_SHOTS[-1], allow_fewer=True)


_TARGETS: dict[str, Dataset] = {}


def load_target(spec: Any) -> Dataset:
    """A data set that is only tested on, loaded once.

    Raises:
        VlmcalError: It cannot be loaded.
    """
    key = digest(spec)
    if key not in _TARGETS:
        _TARGETS[key] = load_dataset(spec)
    return _TARGETS[key]
