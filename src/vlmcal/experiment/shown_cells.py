"""A cell as tables show it: without what its method chose itself."""

from collections.abc import Mapping
from typing import Any

from vlmcal.experiment.method_choice import chain
from vlmcal.experiment.plan import objective_label
from vlmcal.learners.base import LEARNERS


def shown_cell(cell: Mapping[str, Any]) -> dict[str, Any]:
    """The cell with its objective by name, without the settings that the method chose itself.

    Options that a method wants told stand there at their default, too. It is asked once, when a run is
    published, so that reading a store needs none of the methods (nor torch, nor the plug-ins that bring
    some); runs of earlier versions are asked when they are read.

    Args:
        cell: As plain data.

    Raises:
        SpecError: The method is unknown.

    Example:
        >>> from vlmcal.experiment import plan, spec
        >>> from vlmcal.hashing import canonical
        >>> (cell,) = plan.plan(spec.ExperimentSpec(data="digits", method="kgcoop", shots=4, seed=1))
        >>> shown = shown_cell(canonical(cell))
        >>> shown["objective"], shown["train"]
        ('ce + kgcoop', {})
    """
    method = str(chain(cell["method"])[-1]["name"])
    kind = LEARNERS.get(method)
    usual = kind.default_train
    train = {k: v for k, v in (cell["train"] or {}).items() if usual.get(k) != v}
    label = objective_label(cell["objective"], method)
    shown = {**cell, "train": train, "objective": label, "terms": cell["objective"]}
    if kind.told and cell["method"]["name"] == method:
        defaults = {name: getattr(kind.Config(), name) for name in kind.told}
        shown["method"] = {"name": method, **defaults, **cell["method"]}
    return shown
