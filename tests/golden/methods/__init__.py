"""Adapters from golden method cases to learners: one module per group of methods.

Each module has ``ADAPTERS``: reference method name -> function(case, encoder) -> :class:`Prepared`.
"""

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
        train: Recipe settings that differ from the shared one.
        extra: Anything the test needs beyond that.
    """

    learner: Any
    names: dict[str, str]
    objective: Any
    terms: dict[str, str]
    new_classes: bool = True
    train: dict[str, Any] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
