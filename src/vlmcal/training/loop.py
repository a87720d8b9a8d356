"""The one training loop: what is checked first, checkpoints, and the events of a run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vlmcal.errors import StoreError
from vlmcal.learners.base import Learner
from vlmcal.objectives.base import GradientCombiner
from vlmcal.objectives.compose import Sum
from vlmcal.training.checkpoint import load_checkpoint, save_checkpoint
from vlmcal.training.compatibility import require_effect, require_run
from vlmcal.training.config import TrainConfig
from vlmcal.training.data import TrainingData as TrainingData
from vlmcal.training.data import available_outputs
from vlmcal.training.epochs import Epochs
from vlmcal.training.parallel import ALONE, Team, require_shares
from vlmcal.training.side_by_side import Training, in_one_go

CHECKPOINT_SECONDS = 0.5


@dataclass(frozen=True)
class EpochEnd:
    """Event: one epoch is over.

    Attributes:
        epoch, epochs: Counted from 0; E.
        lr: Learning rate that was in force.
        loss: Mean total loss over the epoch.
        terms: Mean of each named term, without its weight.
        accuracy: Share of training samples classified right during the epoch.
        seconds: Since training (or resuming) began.
        held_out: Value of the stopping criterion on the held-out rows, where one was asked for.
    """

    epoch: int
    epochs: int
    lr: float
    loss: float
    terms: Mapping[str, float]
    accuracy: float
    seconds: float
    held_out: float | None = None


Listener = Callable[[EpochEnd], None]


@dataclass
class Fitted:
    """What training leaves behind.

    Attributes:
        learner: The trained learner.
        history: One record per epoch.
        resumed_from: Epoch at which a checkpoint was taken up, or None.
        warnings: Things a reader of the result should know.
    """

    learner: Learner
    history: list[dict[str, Any]] = field(default_factory=list)
    resumed_from: int | None = None
    warnings: list[str] = field(default_factory=list)


def training(
    learner: Learner,
    objective: Sum,
    data: TrainingData,
    config: TrainConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    listeners: Sequence[Listener] = (),
    combiner: GradientCombiner | None = None,
    team: Team = ALONE,
) -> Training[Fitted]:
    """Train ``learner`` on cached features; resume from ``checkpoint`` if it exists.

    Every epoch draws its order and its random numbers from streams named by (seed, epoch), so a run
    that was interrupted at any moment ends with the same tensors as one that was not. It stops where
    several trainings may share a text pass (:mod:`vlmcal.training.side_by_side`).

    Args:
        learner: Trainable tensors on a frozen encoder; changed in place.
        objective: Weighted sum of objectives.
        data: Features, and whatever the objective needs beside them.
        config: Recipe.
        seed: Seed of the run.
        checkpoint: File for resuming; removed by the caller after the result is safe.
        listeners: Called after each epoch.
        combiner: How the terms' gradients are merged; default is the objective's own, else a sum.
        team: The processes that train this learner, each with a share of every batch. The gradient is
            that of the whole batch for means over samples; an objective that couples samples sees a
            share. Only the first process writes checkpoints and calls listeners.

    Raises:
        SpecError: The objective needs something this learner and run do not provide, the learner's
            encoder has another precision than the recipe, or a team cannot share the batches.
        TrainingError: The loss is not finite; says where.
        StoreError: The checkpoint holds other tensors than this learner has, or the processes of a team
            do not see the same one.
    """
    loop = Epochs(learner, objective, data, config, seed, combiner or objective.combiner(), team)
    classes, own = len(learner.classes.class_names), loop.batch // team.count
    if learner.trainable:
        require_shares(team, loop.smallest_batch, loop.combiner)
    objective.check(available_outputs(learner, data), classes, own)
    if learner.trainable:
        require_effect(learner, objective)
        require_run(learner, data, config)
    result = Fitted(learner, warnings=loop.warnings)
    learner.begin(data.train, data.validation)
    if not learner.trainable:
        return result
    loop.start()
    first = 0
    run = loop.identity() if checkpoint is not None else ""
    if checkpoint is not None and (saved := load_checkpoint(checkpoint, run)) is not None:
        try:
            first = loop.restore(saved)
        except (RuntimeError, KeyError, ValueError) as error:
            raise StoreError(
                f"checkpoint {checkpoint} does not fit this run ({' '.join(str(error).split())}); it was "
                "edited or written by another version: remove it, and training starts anew"
            ) from error
        result.resumed_from, result.history = first, list(saved.history)
    if team.agree(first) != first:
        raise StoreError(
            f"process {team.index} does not see the first process's checkpoint {checkpoint}; use a "
            "store that all processes can read"
        )
    start = last_saved = time.monotonic()
    for epoch in range(first, config.epochs):
        record = yield from loop.run_epoch(epoch)
        result.history.append(record)
        event = EpochEnd(epochs=config.epochs, seconds=time.monotonic() - start, **record)
        for listener in listeners if team.main else ():
            listener(event)
        pause = CHECKPOINT_SECONDS * loop.runs  # what may be lost is as much work as of a run alone
        due = time.monotonic() - last_saved >= pause or epoch == config.epochs - 1
        if checkpoint is not None and due and team.main:
            save_checkpoint(checkpoint, replace(loop.capture(epoch + 1, result.history), run=run))
            last_saved = time.monotonic()
    loop.finish()
    learner.on_fit_end()
    loop.note_steps_left_out()
    return result


fit = in_one_go(training)
""":func:`training` by itself, from the first step to the last."""
