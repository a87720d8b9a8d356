"""Named lists of metrics."""

import json
from collections.abc import Sequence
from importlib.resources import files

from vlmcal.errors import SpecError, nearest

PRESETS: dict[str, tuple[str, ...]] = {
    name: tuple(metrics)
    for name, metrics in json.loads(
        files("vlmcal.metrics").joinpath("presets.json").read_text("utf-8")
    ).items()
}


def metric_names(metrics: str | Sequence[str]) -> tuple[list[str], bool]:
    """Names of the metrics asked for, and whether they come from a preset.

    Raises:
        SpecError: An unknown preset (a single metric must be given as a list of one).

    Example:
        >>> metric_names(["ece"])
        (['ece'], False)
    """
    if not isinstance(metrics, str):
        return list(metrics), False
    if metrics in PRESETS:
        return list(PRESETS[metrics]), True
    from vlmcal.metrics.base import METRICS

    if metrics in METRICS:
        return [metrics], False
    raise SpecError(
        f'unknown preset or metric "{metrics}"; {nearest(metrics, [*PRESETS, *METRICS.names()])}'
    )
