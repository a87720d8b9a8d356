"""Named lists of metrics."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from vlmcal.errors import SpecError, nearest
from vlmcal.option_text import read

Spec = str | Mapping[str, Any]
Written = TypeVar("Written", str, Spec)

PRESETS: dict[str, tuple[str, ...]] = {
    name: tuple(metrics)
    for name, metrics in json.loads(
        files("vlmcal.metrics").joinpath("presets.json").read_text("utf-8")
    ).items()
}


def with_options(
    metrics: Sequence[Spec], options: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Names of the metrics asked for, and the options of each, which may stand beside its name.

    Args:
        metrics: Each as ``"ece"``, ``"ece(bins=10)"`` or ``{"name": "ece", "bins": 10}``.
        options: Further options by the name of the metric.

    Raises:
        SpecError: A metric is named with options twice.

    Example:
        >>> with_options(["ece(bins=10)", "nll"], {})
        (['ece', 'nll'], {'ece': {'bins': '10'}})
    """
    named = [read(each, "metric") for each in metrics]
    found = {name: dict(given) for name, given in options.items()}
    for each in named:
        if not each.options:
            continue
        if each.name in found or sum(each.name == other.name for other in named) > 1:
            raise SpecError(
                f'metric "{each.name}" is named twice, once as {each.label}; '
                "measure it with other options in a call of its own"
            )
        found[each.name] = each.options
    return [each.name for each in named], found


def metric_names(metrics: str | Sequence[Written]) -> tuple[list[Written], bool]:
    """The metrics asked for, as they were written, and whether they come from a preset.

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

    if read(metrics, "metric").name in METRICS:
        return [metrics], False
    raise SpecError(
        f'unknown preset or metric "{metrics}"; {nearest(metrics, [*PRESETS, *METRICS.names()])}'
    )
