"""Adapters from golden method cases to learners: one module per group of methods.

Each module has ``ADAPTERS``: reference method name, in lower case and without punctuation, ->
function(case) -> :class:`Prepared`. The longest name that a case's method starts with is used.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Prepared:
    """A learner set up as in a case.

    Attributes:
        learner: With the case's learned tensors still to be set.
        names: Golden name of each learned tensor -> name of the learner's parameter.
        objective: What the reference trains on, as a specification.
        terms: Golden loss name -> name of our term.
        new_classes: Whether the method has a path to other class names.
        forward: (learner, batch) -> {golden name: our value}, added to the common comparisons.
        skip: Golden names that mean something else for this method.
        layouts: The learner's prompts whose fixed tokens must be those of the case.
        before_step: Called with (learner, number of the step from 1).
        epochs: Every step is an epoch of its own.
    """

    learner: Any
    names: dict[str, str]
    objective: Any
    terms: dict[str, str] = field(default_factory=lambda: {"ce": "ce"})
    new_classes: bool = True
    forward: Callable[[Any, Any], dict[str, Any]] = lambda learner, batch: {}
    skip: frozenset[str] = frozenset()
    layouts: Callable[[Any], list[Any]] = lambda learner: (
        [learner.layout] if hasattr(learner, "layout") else []
    )
    before_step: Callable[[Any, int], None] | None = None
    epochs: bool = False


def plain(name):
    """A name in lower case, letters and digits only."""
    return "".join(c for c in name.lower() if c.isalnum())


def all_adapters():
    found = {}
    for module in pkgutil.iter_modules(__path__):
        found.update(getattr(importlib.import_module(f"{__name__}.{module.name}"), "ADAPTERS", {}))
    return found


def adapter_for(method):
    """The adapter of a reference method, or None."""
    known = all_adapters()
    fitting = [name for name in known if plain(method).startswith(name)]
    return known[max(fitting, key=len)] if fitting else None
