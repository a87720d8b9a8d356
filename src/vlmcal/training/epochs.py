"""The epochs of a run: batches in their order, a step on each, and the state that training goes on from."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vlmcal.errors import TrainingError
from vlmcal.hashing import digest, digest_array
from vlmcal.learners.base import Learner, StackedPrompt
from vlmcal.objectives.base import GradientCombiner, SumCombiner
from vlmcal.objectives.compose import Sum
from vlmcal.objectives.crl import COUNTS
from vlmcal.seeding import torch_generator
from vlmcal.training.checkpoint import Checkpoint
from vlmcal.training.config import TrainConfig, learning_rate
from vlmcal.training.data import TrainingBatches, TrainingData, evaluation_batches
from vlmcal.training.loss_scale import LossScale
from vlmcal.training.optim import build_optimiser, set_learning_rate
from vlmcal.training.parallel import Team
from vlmcal.training.side_by_side import Training
from vlmcal.training.step import descend, learner_outputs
from vlmcal.training.stopping import BestEpoch
from vlmcal.types.outputs import Outputs
from vlmcal.types.shown import plural


class Epochs:
    """One run through its epochs: the order of samples, the steps, and what a checkpoint of it holds."""

    def __init__(
        self,
        learner: Learner,
        objective: Sum,
        data: TrainingData,
        config: TrainConfig,
        seed: int,
        combiner: GradientCombiner,
        team: Team,
    ) -> None:
        self.learner, self.objective, self.data = learner, objective, data
        self.config, self.seed, self.combiner, self.team = config, seed, combiner, team
        self.n = len(data.train)
        self.batch = min(config.batch_size, self.n)
        self.warnings: list[str] = []
        if learner.trainable and config.batch_size > self.n:
            note = (
                f"batch size {config.batch_size} is larger than the {self.n} training images: one "
                f"step per epoch, {plural(config.epochs, 'step')} in all"
            )
            self._warn(note)
        if learner.trainable and len(learner.classes.class_names) < 2:
            self._warn(
                "there is a single class: its probability is always 1, so likelihoods teach nothing"
            )
        self.device = learner.encoder.device
        self.batches = TrainingBatches(learner, data)
        self.scale = LossScale(config.precision, self.device)
        self.memory: dict[str, Tensor] = {}
        self.correct_counts = torch.zeros(self.n)
        self.initial: dict[str, Tensor] = {}
        self.best = None if config.stop == "last" else BestEpoch(config.stop)
        self.runs = 1  # that go in step with this one

    def _warn(self, note: str) -> None:
        warnings.warn(note, stacklevel=7)
        self.warnings.append(note)

    @property
    def smallest_batch(self) -> int:
        """Samples in the smallest batch of an epoch."""
        rest = 0 if self.config.drop_last else self.n % self.batch
        return rest or self.batch

    def start(self) -> None:
        """Prepare for the first step; the learner has seen the training features by now."""
        self.initial = {n: p.detach().clone() for n, p in self.learner.named_parameters()}
        self.optimiser = build_optimiser(self.learner, self.config)

    def identity(self) -> str:
        """Digest of what is trained, on what and how: a checkpoint of anything else is not taken up."""
        learner, train = self.learner, self.data.train
        return digest(
            [
                [learner.name, asdict(learner.config), learner.encoder.fingerprint],
                [learner.classes.class_names, learner.classes.templates],
                [list(self.objective.names), self.config, self.seed],
                [digest_array(train.labels), digest_array(train.ids), train.key],
            ]
        )

    def run_epoch(self, epoch: int) -> Training[dict[str, Any]]:
        """One pass over the data; returns the epoch's record."""
        batches = list(self._batches(epoch))
        total_steps = self.config.epochs * len(batches)
        lr = 0.0
        sums: dict[str, float] = {}
        total_loss, right, seen = 0.0, 0, 0
        self.learner.train()
        for index, rows in enumerate(batches):
            span = self.team.span(len(rows))
            own = rows[span]
            batch = self.batches.of(own, epoch)
            batch.step = epoch * len(batches) + index
            batch.seed = self.seed
            given = yield self._prompt()
            self.runs = 1 if given is None else given.runs
            batch.text_features = None if given is None else given.text
            outputs = learner_outputs(self.learner, batch, self.objective)
            outputs.epoch, outputs.step = epoch, batch.step
            outputs.total_steps = total_steps
            self._complete(outputs, own)
            terms = self.objective.terms(outputs)
            place, group = self._place_in_group(index, len(batches))
            lr = learning_rate(self.config, epoch, batch.step, total_steps)
            set_learning_rate(self.optimiser, lr)
            share = len(own) / len(rows)
            total = descend(
                self.learner,
                terms,
                self.optimiser,
                self.combiner,
                share=share / group * self.scale.factor,
                fresh=place == 0,
            )
            if given is not None:
                yield None  # and come back with the gradient of the prompt
            values = share * torch.stack([total, *(t.value.detach() for t in terms.values())])
            correct = values.new_zeros(len(rows))
            correct[span] = _right(outputs)
            last = place == group - 1
            tuned = self.learner.parameters() if last else ()
            self.team.sum_([values, correct, *(p.grad for p in tuned if p.grad is not None)])
            loss, *each = values.tolist()
            self._require_finite(loss, dict(zip(terms, each, strict=True)), epoch, index, lr)
            if last:
                self.scale.step(self.optimiser)
                self.learner.on_step_end(batch.step, total_steps)
            total_loss += loss
            for name, value in zip(terms, each, strict=True):
                sums[name] = sums.get(name, 0.0) + value
            self.correct_counts[rows] += correct.to(self.correct_counts)
            right += int(correct.sum())
            seen += len(rows)
        self.learner.eval()
        held_out = self._finish_epoch(epoch)
        return {
            "epoch": epoch,
            "lr": lr,
            "loss": total_loss / len(batches),
            "terms": {name: value / len(batches) for name, value in sums.items()},
            "accuracy": right / seen,
            **held_out,
        }

    def _prompt(self) -> StackedPrompt | None:
        """What other trainings may encode along with theirs; the gradient must be one of a sum."""
        if self.team.count > 1 or type(self.combiner) is not SumCombiner:
            return None
        return self.learner.stacked_prompt()

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
            memory={
                **self.memory,
                "_correct_counts": self.correct_counts,
                **self.scale.state(),
                **({} if self.best is None else self.best.saved()),
            },
            history=history,
        )

    def restore(self, saved: Checkpoint) -> int:
        """Take up a checkpoint; returns the epoch to start with."""
        self.learner.load_state_dict(saved.learner)
        self.optimiser.load_state_dict(saved.optimiser)
        self.initial = dict(saved.initial)
        self.memory = dict(saved.memory)
        if self.best is not None:
            self.memory = self.best.restore(self.memory)
        self.correct_counts = self.memory.pop("_correct_counts")
        self.scale.restore(self.memory)
        return saved.epoch

    def _batches(self, epoch: int) -> Iterator[Tensor]:
        order = torch.randperm(self.n, generator=torch_generator(self.seed, "order", epoch))
        stop = self.n - self.n % self.batch if self.config.drop_last else self.n
        for start in range(0, stop, self.batch):
            yield order[start : start + self.batch]

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

    def _finish_epoch(self, epoch: int) -> dict[str, float]:
        """What the held-out rows say after the epoch; nothing where nobody asks."""
        self.learner.on_epoch_end(epoch, self.config.epochs)
        wanted = "validation_logits" in self.objective.needs
        if (not wanted and self.best is None) or self.data.validation is None:
            return {}
        held_out, pixels = self.data.validation, self.data.validation_pixels
        logits = self.learner.predict(evaluation_batches(self.learner, held_out, pixels=pixels))
        labels = torch.from_numpy(held_out.labels).to(logits.device)
        if wanted:
            outputs = Outputs(
                validation_logits=logits, validation_labels=labels, epoch=epoch, memory=self.memory
            )
            self.objective.on_epoch_end(outputs, self.memory)
        if self.best is None:
            return {}
        return {"held_out": self.best.see(self.learner, logits, labels)}

    def finish(self) -> None:
        """End with the best epoch, where one was looked for."""
        if self.best is not None and self.best.state:
            self.learner.load_state_dict(self.best.state)

    def note_steps_left_out(self) -> None:
        """Tell of steps that float16 could not take."""
        if self.scale.left_out:
            note = (
                f"float16: {self.scale.left_out} steps were left out because their gradients "
                "overflowed; bfloat16 has the range of float32"
            )
            warnings.warn(note, stacklevel=6)
            self.warnings.append(note)

    def _require_finite(
        self, loss: float, values: Mapping[str, float], epoch: int, index: int, lr: float
    ) -> None:
        if np.isfinite(loss):
            return
        broken = [name for name, value in values.items() if not np.isfinite(value)]
        raise TrainingError(
            f"the loss is not finite in epoch {epoch}, step {index} (learning rate {lr:g}): "
            f"{', '.join(f'{name} = {value}' for name, value in values.items())}. "
            f"Broken: {', '.join(broken) or 'the sum'}. Lower the learning rate or the weight of this "
            "objective; the last checkpoint is kept"
        )


def _right(outputs: Outputs) -> Tensor:
    """Whether each sample is classified right, (B,)."""
    assert outputs.logits is not None
    assert outputs.labels is not None
    return outputs.logits.detach().argmax(dim=1) == outputs.labels
