"""What random views of an experiment cost, before anything is encoded."""

from collections.abc import Sequence
from contextlib import suppress

from vlmcal.errors import VlmcalError
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.run import Workbench
from vlmcal.hashing import digest


def bank_costs(cells: Sequence[Cell], bench: Workbench) -> list[str]:
    """One sentence for each data set and number of views: how many views will be encoded, at most.

    Views that are in the cache cost nothing. Cells whose data cannot be loaded are told when they run.

    Example:
        >>> from vlmcal.experiment.plan import plan
        >>> from vlmcal.experiment.spec import parse_spec
        >>> spec = parse_spec({"data": "digits", "method": "coop", "shots": 2, "seed": "1..3",
        ...                    "train": {"epochs": 5, "views": "epochs"}})
        >>> bank_costs(plan(spec), Workbench())
        ['views: 5 random crops of each of 60 training images of digits are 300 views to encode, ...']
    """
    images: dict[tuple[str, str, int], dict[str, int]] = {}
    for cell in cells:
        config = cell.train_config()
        if config.bank == 1 or cell.train is None:
            continue
        name = str(cell.data.get("name", cell.data.get("path")))
        place = (cell.backbone, name, config.bank)
        bank = digest([cell.protocol, cell.loader, cell.shots, cell.seed, config.flip])
        if bank not in images.setdefault(place, {}):
            with suppress(VlmcalError):
                parts = make_protocol(bench.dataset(cell), cell.protocol, cell.shots, cell.seed)
                images[place][bank] = len(parts.train)
    return [
        f"views: {views} random crops of each of {n} training images of {name} are {n * views:,} views to "
        "encode, once for all methods and objectives, and kept in the cache"
        for (_, name, views), banks in images.items()
        if (n := sum(banks.values()))
    ]
