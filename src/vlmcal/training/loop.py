"""The one training loop: it owns the order of samples, the schedule, checkpoints and events."""

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from vlmcal.errors import SpecError, TrainingError
from vlmcal.learners.base import Batch, Learner
from vlmcal.objectives.base import GradientCombiner, Terms
from vlmcal.objectives.compose import Sum
from vlmcal.objectives.crl import COUNTS
from vlmcal.seeding import torch_generator
from vlmcal.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vlmcal.training.compatibility import require_effect
from vlmcal.training.config import TrainConfig, learning_rate
from vlmcal.training.optim import build_optimiser, set_learning_rate
from vlmcal.training.step import descend, learner_outputs
from vlmcal.types.arrays import IntArray
from vlmcal.types.features import Features
from vlmcal.types.outputs import Outputs

CHECKPOINT_SECONDS = 0.5

# Fields of Outputs that the loop itself can fill for any learner.
COMMON_OUTPUTS = frozenset(
    {
        *("logits", "labels", "image_features", "text_features", "raw_image_features"),
        *("raw_text_features", "logit_scale", "sample_index", "class_names", "parameters"),
        *("initial_parameters", "frozen_text_features", "frozen_template_features"),
        *("frozen_image_features", "zero_shot_logits", "correctness", "generator"),
    }
)


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
    """

    epoch: int
    epochs: int
    lr: float
    loss: float
    terms: Mapping[str, float]
    accuracy: float
    seconds: float


Listener = Callable[[EpochEnd], None]
PixelSource = Callable[[IntArray, int], Tensor]


class OutlierSource(Protocol):
    """Where an objective's outlier texts come from: tuned and frozen features of a fresh sample."""

    def features(self, learner: Learner, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Normalised (O, D) tuned and frozen features."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingData:
    """What a run trains on.

    Attributes:
        train: Features of the training images, V views each.
        validation: Features of the held-out split, or None.
        pixels: (rows, view) -> (B, 3, H, W), for learners that change the image tower.
        validation_pixels: The same for the held-out split.
        outliers: Source of outlier text features, for objectives that need them.
    """

    train: Features
    validation: Features | None = None
    pixels: PixelSource | None = None
    validation_pixels: PixelSource | None = None
    outliers: OutlierSource | None = None


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


def available_outputs(learner: Learner, data: TrainingData) -> frozenset[str]:
    """Names of the ``Outputs`` fields that this learner and this run can fill."""
    extra: set[str] = set()
    if data.outliers is not None and learner.encodes_other_names:
        extra |= {"outlier_text_features", "frozen_outlier_text_features"}
    if data.validation is not None:
        extra |= {"validation_logits", "validation_labels"}
    if data.train.n_views > 1:
        extra |= {"frozen_second_image_features"}
    return COMMON_OUTPUTS | learner.provides | frozenset(extra)


def fit(
    learner: Learner,
    objective: Sum,
    data: TrainingData,
    config: TrainConfig,
    *,
    seed: int,
    checkpoint: Path | None = None,
    listeners: Sequence[Listener] = (),
    combiner: GradientCombiner | None = None,
) -> Fitted:
    """Train ``learner`` on cached features; resume from ``checkpoint`` if it exists.

    Every epoch draws its order and its random numbers from streams named by (seed, epoch), so a run
    that was interrupted at any moment ends with the same tensors as one that was not.

    Args:
        learner: Trainable tensors on a frozen encoder; changed in place.
        objective: Weighted sum of objectives.
        data: Features, and whatever the objective needs beside them.
        config: Recipe.
        seed: Seed of the run.
        checkpoint: File for resuming; removed by the caller after the result is safe.
        listeners: Called after each epoch.
        combiner: How the terms' gradients are merged; default is the objective's own, else a sum.

    Raises:
        SpecError: The objective needs something this learner and run do not provide.
        TrainingError: The loss is not finite; says where.
    """
    loop = _Loop(learner, objective, data, config, seed, combiner or objective.combiner())
    objective.check(available_outputs(learner, data), len(learner.classes.class_names), loop.batch)
    if learner.trainable:
        require_effect(learner, objective)
        _require_pixels(learner, data)
    result = Fitted(learner, warnings=loop.warnings)
    learner.begin(data.train, data.validation)
    if not learner.trainable:
        return result
    loop.start()
    first = 0
    if checkpoint is not None and (saved := load_checkpoint(checkpoint)) is not None:
        first = loop.restore(saved)
        result.resumed_from, result.history = first, list(saved.history)
    start = last_saved = time.monotonic()
    for epoch in range(first, config.epochs):
        record = loop.run_epoch(epoch)
        result.history.append(record)
        event = EpochEnd(epochs=config.epochs, seconds=time.monotonic() - start, **record)
        for listener in listeners:
            listener(event)
        due = time.monotonic() - last_saved >= CHECKPOINT_SECONDS or epoch == config.epochs - 1
        if checkpoint is not None and due:
            save_checkpoint(checkpoint, loop.capture(epoch + 1, result.history))
            last_saved = time.monotonic()
    learner.on_fit_end()
    return result


def _require_pixels(learner: Learner, data: TrainingData) -> None:
    if learner.consumes == "pixels" and data.pixels is None:
        raise SpecError(
            f'"{learner.name}" changes the image tower and trains on pixels; give a pixel source '
            "(vlmcal.training.pixels)"
        )


class _Loop:
    """State of one training run."""

    def __init__(
        self,
        learner: Learner,
        objective: Sum,
        data: TrainingData,
        config: TrainConfig,
        seed: int,
        combiner: GradientCombiner,
    ) -> None:
        self.learner, self.objective, self.data = learner, objective, data
        self.config, self.seed, self.combiner = config, seed, combiner
        self.n = len(data.train)
        self.batch = min(config.batch_size, self.n)
        self.warnings: list[str] = []
        if learner.trainable and config.batch_size > self.n:
            note = (
                f"batch size {config.batch_size} is larger than the {self.n} training images: one "
                f"step per epoch, {config.epochs} steps in all"
            )
            warnings.warn(note, stacklevel=3)
            self.warnings.append(note)
        self.device = learner.encoder.device
        # A copy, because cached features are memory-mapped read-only.
        self.features = torch.from_numpy(np.array(data.train.image_features))
        self.labels = torch.from_numpy(data.train.labels)
        self.memory: dict[str, Tensor] = {}
        self.correct_counts = torch.zeros(self.n)
        self.initial: dict[str, Tensor] = {}

    def start(self) -> None:
        """Prepare for the first step; the learner has seen the training features by now."""
        self.initial = {n: p.detach().clone() for n, p in self.learner.named_parameters()}
        self.optimiser = build_optimiser(self.learner, self.config)

    def run_epoch(self, epoch: int) -> dict[str, Any]:
        """One pass over the data; returns the epoch's record."""
        lr = learning_rate(self.config, epoch)
        set_learning_rate(self.optimiser, lr)
        batches = list(self._batches(epoch))
        sums: dict[str, float] = {}
        total_loss, right, seen = 0.0, 0, 0
        self.learner.train()
        for index, rows in enumerate(batches):
            batch = self._inputs(rows, epoch)
            batch.step = epoch * len(batches) + index
            batch.seed = self.seed
            outputs = learner_outputs(self.learner, batch, self.objective)
            outputs.epoch, outputs.step = epoch, batch.step
            outputs.total_steps = self.config.epochs * len(batches)
            self._complete(outputs, rows)
            terms = self.objective.terms(outputs)
            place, group = self._place_in_group(index, len(batches))
            total = descend(
                self.learner,
                terms,
                self.optimiser,
                self.combiner,
                share=1 / group,
                fresh=place == 0,
            )
            self._require_finite(total, terms, epoch, index, lr)
            if place == group - 1:
                self.optimiser.step()
            total_loss += float(total)
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.value.detach())
            right += self._count_correct(outputs, rows)
            seen += len(rows)
        self.learner.eval()
        self._finish_epoch(epoch)
        return {
            "epoch": epoch,
            "lr": lr,
            "loss": total_loss / len(batches),
            "terms": {name: value / len(batches) for name, value in sums.items()},
            "accuracy": right / seen,
        }

    def _place_in_group(self, index: int, count: int) -> tuple[int, int]:
        """Place of batch ``index`` among those whose gradients make one step, and their number."""
        size = self.config.accumulate
        first = index - index % size
        return index - first, min(size, count - first)

    def capture(self, epoch: int, history: list[dict[str, Any]]) -> Checkpoint:
        """Everything needed to go on from the start of ``epoch``."""
        return Checkpoint(
            epoch=epoch,
            learner=self.learner.state_dict(),
            optimiser=self.optimiser.state_dict(),
            initial=self.initial,
            memory={**self.memory, "_correct_counts": self.correct_counts},
            history=history,
        )

    def restore(self, saved: Checkpoint) -> int:
        """Take up a checkpoint; returns the epoch to start with."""
        self.learner.load_state_dict(saved.learner)
        self.optimiser.load_state_dict(saved.optimiser)
        self.initial = dict(saved.initial)
        self.memory = dict(saved.memory)
        self.correct_counts = self.memory.pop("_correct_counts")
        return saved.epoch

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        order = torch.randperm(self.n, generator=torch_generator(self.seed, "order", epoch))
        stop = self.n - self.n % self.batch if self.config.drop_last else self.n
        for start in range(0, stop, self.batch):
            yield order[start : start + self.batch]

    def _inputs(self, rows: Tensor, epoch: int) -> Batch:
        """The samples ``rows`` under this epoch's view (and the next one, where there are several)."""
        views = self.data.train.n_views
        view, second = epoch % views, (epoch + 1) % views
        batch = Batch(
            image_features=self.features[rows, view].to(self.device),
            labels=self.labels[rows].to(self.device),
            sample_index=rows,
            view=view,
        )
        if views > 1:
            batch.second_image_features = self.features[rows, second].to(self.device)
        if self.learner.consumes == "pixels" and self.data.pixels is not None:
            batch.pixels = self.data.pixels(rows.numpy(), view).to(self.device)
            if views > 1:
                batch.second_pixels = self.data.pixels(rows.numpy(), second).to(self.device)
        return batch

    def _complete(self, outputs: Outputs, rows: Tensor) -> None:
        """Add what only the run knows."""
        outputs.initial_parameters = self.initial
        outputs.correctness = self.correct_counts[rows].to(self.device)
        if "correctness" in self.objective.needs:
            self.memory[COUNTS] = self.correct_counts
        outputs.memory = self.memory
        outputs.generator = torch_generator(self.seed, "objective", outputs.step)
        if self.data.outliers is not None and "outlier_text_features" in self.objective.needs:
            stream = torch_generator(self.seed, "outliers", outputs.step)
            tuned, fixed = self.data.outliers.features(self.learner, stream)
            outputs.outlier_text_features = tuned
            outputs.frozen_outlier_text_features = fixed

    def _count_correct(self, outputs: Outputs, rows: Tensor) -> int:
        assert outputs.logits is not None
        assert outputs.labels is not None
        right = (outputs.logits.detach().argmax(dim=1) == outputs.labels).cpu()
        self.correct_counts[rows] += right.to(self.correct_counts.dtype)
        return int(right.sum())

    def _finish_epoch(self, epoch: int) -> None:
        self.learner.on_epoch_end(epoch, self.config.epochs)
        if "validation_logits" in self.objective.needs and self.data.validation is not None:
            held_out = self.data.validation
            pixels = self.data.validation_pixels
            logits = self.learner.predict(evaluation_batches(self.learner, held_out, pixels=pixels))
            outputs = Outputs(
                validation_logits=logits,
                validation_labels=torch.from_numpy(held_out.labels).to(logits.device),
                epoch=epoch,
                memory=self.memory,
            )
            self.objective.on_epoch_end(outputs, self.memory)

    def _require_finite(
        self, total: Tensor, terms: Terms, epoch: int, index: int, lr: float
    ) -> None:
        if bool(torch.isfinite(total)):
            return
        values = {name: float(term.value.detach()) for name, term in terms.items()}
        broken = [name for name, value in values.items() if not np.isfinite(value)]
        raise TrainingError(
            f"the loss is not finite in epoch {epoch}, step {index} (learning rate {lr:g}): "
            f"{', '.join(f'{name} = {value}' for name, value in values.items())}. "
            f"Broken: {', '.join(broken) or 'the sum'}. Lower the learning rate or the weight of this "
            "objective; the last checkpoint is kept"
        )


def evaluation_batches(
    learner: Learner,
    features: Features,
    *,
    pixels: PixelSource | None = None,
    size: int | None = None,
) -> Iterator[Batch]:
    """Batches of the first view (the centre crop) in order, for prediction; smaller ones of pixels."""
    device = learner.encoder.device
    size = size or (500 if pixels is None else 64)
    for start in range(0, len(features), size):
        rows = np.arange(start, min(start + size, len(features)))
        block = torch.from_numpy(np.array(features.image_features[rows, 0]))
        yield Batch(
            image_features=block.to(device),
            labels=torch.from_numpy(features.labels[rows]).to(device),
            pixels=None if pixels is None else pixels(rows, 0).to(device),
        )
