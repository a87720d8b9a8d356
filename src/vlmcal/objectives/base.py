"""What an objective is: a frozen dataclass that turns the outputs of one step into named terms."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, Protocol, dataclass_transform

import torch
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.objectives.precision import full_precision, promoted
from vlmcal.options import check_fields
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.types.outputs import Outputs


class Term(NamedTuple):
    """One summand of the training loss.

    Attributes:
        value: Scalar tensor.
        weight: Factor it enters the sum with.
        guide: True when its gradient only steers the gradient of the other terms (ProGrad's teacher
            term) and is not part of the sum; a gradient combiner uses it.
    """

    value: Tensor
    weight: float
    guide: bool = False


Terms = Mapping[str, Term]


class GradientCombiner(Protocol):
    """Writes ``.grad`` of the parameters from the terms of one step; plain summing is the default."""

    def backward(self, terms: Terms, parameters: Iterable[Tensor]) -> Tensor:
        """Fill the gradients and return the total loss, detached."""
        ...


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class Objective(ABC):
    """A training objective; its fields are its whole configuration.

    Subclasses are frozen dataclasses in a file named after the method, registered with
    ``@OBJECTIVES.register("name")``. They implement :meth:`compute`, which always sees tensors of at
    least 32 bits outside of autocast; fields are checked against their types, which tell their limits.

    Attributes:
        weight: Factor of this objective in a sum.
        needs: Names of the :class:`Outputs` fields it may read; checked before training starts.
        complete: True when it contains a likelihood term of its own, so that it can stand alone;
            False for a pure regulariser.
        minimum_classes: Fewest classes for which it is defined.
        minimum_batch: Fewest samples in a batch for which it is defined.
        files: Fields that may name a file of the user; a run's id holds its content, not its path.
        pairs_samples: True when the order of samples within a batch matters.
        stateful: True when it keeps something between epochs in the run's memory.
        source: Paper (author, title, venue, arXiv id) and code it follows.
    """

    weight: float = 1.0

    name: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ("logits", "labels")
    complete: ClassVar[bool] = False
    minimum_classes: ClassVar[int] = 1
    minimum_batch: ClassVar[int] = 1
    files: ClassVar[tuple[str, ...]] = ()
    pairs_samples: ClassVar[bool] = False
    stateful: ClassVar[bool] = False
    source: ClassVar[str] = ""

    def __post_init__(self) -> None:
        check_fields(self, f'objective "{self.name}"')

    @abstractmethod
    def compute(self, outputs: Outputs) -> Tensor | Terms:
        """The unweighted scalar loss of one step, or its named parts with their own weights."""

    @property
    def required(self) -> tuple[str, ...]:
        """The part of ``needs`` that this configuration really reads."""
        return self.needs

    @property
    def stands_alone(self) -> bool:
        """Whether this configuration contains a likelihood term."""
        return self.complete

    @property
    def stops_gradient(self) -> bool:
        """Whether part of the loss is a constant by design, so that its gradient is not the slope."""
        return False

    def combiner(self) -> GradientCombiner | None:
        """The rule by which its terms' gradients must be merged; None for plain summing."""
        return None

    def loss(self, outputs: Outputs) -> Tensor:
        """The unweighted scalar loss of one step, a guide included."""
        parts = self._parts(outputs).values()
        return torch.stack([part.value * part.weight for part in parts]).sum()

    def terms(self, outputs: Outputs) -> Terms:
        """Named, unweighted terms of one step with their weights."""
        parts = self._parts(outputs)
        return {key: part._replace(weight=part.weight * self.weight) for key, part in parts.items()}

    def on_epoch_end(self, outputs: Outputs, memory: MutableMapping[str, Tensor]) -> None:
        """Update the run's ``memory`` after an epoch; most objectives have nothing to update."""
        return

    def _parts(self, outputs: Outputs) -> Terms:
        for name in self.required:
            if not name.startswith("validation_") and getattr(outputs, name) is None:
                raise SpecError(
                    f'objective "{self.name}" needs "{name}", which this learner and run do not '
                    "provide"
                )
        with full_precision(outputs):
            result = self.compute(promoted(outputs))
        if isinstance(result, Tensor):
            return {self.name: Term(result, 1.0)}
        return result


OBJECTIVES: Registry[type[Objective]] = Registry(
    "objective",
    "vlmcal.objectives",
    subclass_of(Objective),
    "a subclass of Objective",
    made=dataclass(frozen=True),
)


def weighted_sum(terms: Terms) -> Tensor:
    """Sum of weight times value over all terms but guides, in their given order.

    Raises:
        SpecError: Every term is a guide, so that there is nothing to minimise.

    Example:
        >>> float(weighted_sum({"a": Term(torch.tensor(2.0), 1.0), "b": Term(torch.tensor(3.0), 0.5)}))
        3.5
    """
    summed = [term.value * term.weight for term in terms.values() if not term.guide]
    if not summed:
        raise SpecError(
            f'only guides to steer a gradient ({", ".join(terms)}); add a loss such as "ce"'
        )
    return torch.stack(summed).sum()


class SumCombiner:
    """Gradient of the weighted sum of all terms."""

    def backward(self, terms: Terms, parameters: Iterable[Tensor]) -> Tensor:
        """Back-propagate the weighted sum.

        Raises:
            SpecError: A term is a guide, so that summing would silently ignore it.
        """
        guides = [name for name, term in terms.items() if term.guide]
        if guides:
            raise SpecError(
                f"the terms {', '.join(guides)} steer gradients and cannot be summed; train with the "
                "combiner that the objective's combiner() returns"
            )
        total = weighted_sum(terms)
        total.backward()  # type: ignore[no-untyped-call]
        return total.detach()
