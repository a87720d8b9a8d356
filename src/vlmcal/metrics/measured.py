"""What :func:`vlmcal.metrics.evaluate` measured, as JSON data and as a table in a notebook."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from vlmcal.types.estimate import Estimate
from vlmcal.types.shown import Shown, plural


@dataclass(frozen=True)
class EdgeMass:
    """How much of a binned result hangs on the edge rule.

    Attributes:
        share: Share of rows within the tolerance of an inner bin edge.
        bins: Number of equal-width bins looked at.
        ece: ECE by the rule in use.
        other_rule: The rule not in use ("left" or "right").
        other_ece: ECE by the other rule.
    """

    share: float
    bins: int
    ece: float
    other_rule: str
    other_ece: float


@dataclass(frozen=True, repr=False)
class Evaluation(Shown):
    """Everything :func:`~vlmcal.metrics.evaluation.evaluate` measured.

    Attributes:
        estimates: Value, interval, n and floor by metric name.
        definitions: One sentence per metric, with the bins and edge rule that were used.
        groups: Estimates by kind of row (``by_group=True``), then by metric name.
        edge_mass: What the other edge rule would give; None without confidences.
        notes: What to be careful about.
        n: Number of rows.
        effective: Number of equal rows that weighted ones are worth; None where all count the same.
        level: Confidence level of the intervals.
    """

    estimates: dict[str, Estimate]
    definitions: dict[str, str]
    n: int
    level: float = 0.95
    groups: dict[str, dict[str, Estimate]] = field(default_factory=dict)
    edge_mass: EdgeMass | None = None
    notes: list[str] = field(default_factory=list)
    effective: float | None = None

    def __getitem__(self, name: str) -> Estimate:
        return self.estimates[name]

    def shown(self) -> tuple[str, list[tuple[str, ...]]]:
        """A line per metric: value, interval, and what a calibrated model of this size would show."""
        lines = [
            (
                name,
                f"{estimate.value:.4f}",
                "" if estimate.low is None else f"[{estimate.low:.4f}, {estimate.high:.4f}]",
                "" if estimate.floor is None else f"{estimate.floor:.4f}",
            )
            for name, estimate in self.estimates.items()
        ]
        head = ("metric", "value", f"{100 * self.level:g} % interval", "if calibrated")
        kept = [i for i in range(4) if i < 2 or any(line[i] for line in lines)]
        rows = [tuple(line[i] for i in kept) for line in (head, *lines)]
        return f"Evaluation: {plural(self.n, 'row')}", rows

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data; :meth:`from_dict` reads it back. An undefined number (NaN) becomes None."""
        return {"format": 1, **{key: _without_nan(part) for key, part in asdict(self).items()}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        edge = data.get("edge_mass")
        return cls(
            estimates=_estimates(data["estimates"]),
            definitions=dict(data["definitions"]),
            n=int(data["n"]),
            level=float(data["level"]),
            groups={key: _estimates(part) for key, part in data["groups"].items()},
            edge_mass=None if edge is None else EdgeMass(**edge),
            notes=list(data["notes"]),
            effective=data.get("effective"),
        )


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    return None if isinstance(value, float) and math.isnan(value) else value


def _estimates(data: Mapping[str, Any]) -> dict[str, Estimate]:
    return {
        name: Estimate(
            **{**values, "value": math.nan if values["value"] is None else values["value"]}
        )
        for name, values in data.items()
    }
