"""Several trainings in step with each other: one pass through the text tower serves all of them.

On small models the cost of a step is the overhead of its operators, on a GPU that of its launches; a pass
over the prompts of S runs costs little more than one over those of a single run. Each run keeps its own
batches, objective, optimiser and random numbers, so that it ends as it would alone, up to rounding.
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from functools import wraps
from typing import Generic, NamedTuple, ParamSpec, TypeAlias, TypeVar, cast

import torch
from torch import Tensor

from vlmcal.errors import VlmcalError
from vlmcal.learners.base import StackedPrompt
from vlmcal.text_encoding import encode_prompts
from vlmcal.text_encoding.encode import images_at_once

P = ParamSpec("P")
T = TypeVar("T")


class Encoded(NamedTuple):
    """What one run gets of a pass that it shared.

    Attributes:
        text: Raw text features (K, D) of its prompt, a leaf that takes their gradient.
        runs: S, how many runs go in step with it.
    """

    text: Tensor
    runs: int


Training: TypeAlias = Generator[StackedPrompt | None, Encoded | None, T]
"""A training that yields its prompt before each forward pass and takes its text features, or None to encode
it by itself; after the backward pass on features that it took it yields None, and goes on once the gradient
of its context is complete."""


def alone(training: Training[T]) -> T:
    """Run a training to its end by itself."""
    run = _Run(0, training)
    while not run.ended:
        run.go_on()
    if isinstance(run.result, VlmcalError):
        raise run.result
    return run.result  # type: ignore[return-value]


def in_one_go(steps: Callable[P, Training[T]]) -> Callable[P, T]:
    """A function that makes a training, as one that runs it to its end by itself: same arguments, its result.

    Example:
        >>> def counting(n: int):
        ...     yield None
        ...     return n
        >>> in_one_go(counting)(3)
        3
    """

    @wraps(steps)
    def whole(*args: P.args, **kwargs: P.kwargs) -> T:
        return alone(steps(*args, **kwargs))

    return whole


def side_by_side(trainings: Sequence[Training[T]]) -> Iterator[tuple[int, T | VlmcalError]]:
    """Run trainings in step; yields the index and the result of each as it ends, or the error it met.

    Prompts of the same encoder with the same tokens are encoded in one pass, whatever the sizes of the
    batches. What nobody shares is left to its training; one that never shares runs to its end at once.

    Args:
        trainings: S trainings. One that fails with a VlmcalError does not stop the others.

    Example:
        >>> def counting(n):
        ...     for _ in range(n):
        ...         yield None
        ...     return n
        >>> list(side_by_side([counting(3), counting(1)]))
        [(0, 3), (1, 1)]
    """
    runs = [_Run(index, training) for index, training in enumerate(trainings)]
    try:
        while runs:
            groups: dict[object, list[_Run[T]]] = {}
            for run in runs:
                while run.prompt is None and not run.ended:
                    run.go_on()
                if run.prompt is not None:
                    groups.setdefault(_key(run.prompt), []).append(run)
                else:
                    yield run.index, cast("T | VlmcalError", run.result)
            runs = [run for run in runs if not run.ended]
            for members in groups.values():
                for company in _companies(members):
                    _step_together(company, len(runs))
    finally:
        for run in runs:
            run.training.close()


class _Run(Generic[T]):
    """A training, where it stands and what came of it."""

    def __init__(self, index: int, training: Training[T]) -> None:
        self.index, self.training = index, training
        self.ended = False
        self.prompt: StackedPrompt | None = None
        self.result: T | VlmcalError | None = None

    def go_on(self, encoded: Encoded | None = None) -> None:
        """To where it stops next."""
        try:
            self.prompt = self.training.send(encoded)
        except StopIteration as end:
            self.prompt, self.ended, self.result = None, True, end.value
        except VlmcalError as error:
            self.prompt, self.ended, self.result = None, True, error


def _companies(runs: Sequence[_Run[T]]) -> Iterator[Sequence[_Run[T]]]:
    """As many at once as one pass holds without computing anything twice."""
    prompt = runs[0].prompt
    assert prompt is not None
    size = images_at_once(prompt.encoder, prompt.layout)
    yield from (runs[start : start + size] for start in range(0, len(runs), size))


def _step_together(runs: Sequence[_Run[T]], going: int) -> None:
    """One pass over the prompts of all, the step of each on its part, and one pass back."""
    if len(runs) == 1:
        runs[0].go_on()
        return
    prompts = [run.prompt for run in runs if run.prompt is not None]
    contexts = torch.stack([prompt.context.detach() for prompt in prompts]).requires_grad_()
    encoder, layout = prompts[0].encoder, prompts[0].layout
    texts = encode_prompts(encoder, layout, contexts, context_axis="image")
    parts = [part.detach().requires_grad_() for part in texts]
    for run, part in zip(runs, parts, strict=True):
        run.go_on(Encoded(part, going))
    if all(part.grad is None for part in parts):
        return
    back = torch.stack([torch.zeros_like(p) if p.grad is None else p.grad for p in parts])
    with encoder.going_back():
        (gradients,) = torch.autograd.grad(texts, contexts, back)
    for prompt, part, gradient in zip(prompts, parts, gradients, strict=True):
        if part.grad is not None:  # else the step does not depend on the prompt, as it would alone
            so_far = prompt.context.grad
            prompt.context.grad = gradient if so_far is None else so_far + gradient


def _key(prompt: StackedPrompt) -> object:
    layout = prompt.layout
    tokens = layout.cached("tokens", lambda: str([layout.ids.tolist(), layout.slots.tolist()]))
    encoder, context = prompt.encoder, prompt.context
    model = encoder.fingerprint, encoder.precision, encoder.dtype, encoder.device
    return model, tokens, context.shape, context.dtype
