"""The shared training recipe as data, and its learning-rate schedule in closed form."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from vlmcal.errors import SpecError
from vlmcal.options import check_fields
from vlmcal.types.limits import Count, NotNegative, Positive, Whole
from vlmcal.types.precision import Precision
from vlmcal.types.schedules import cosine_after_warmup

Optimiser = Literal["sgd", "adam", "adamw"]
Schedule = Literal["cosine", "cosine_step", "constant"]
Stop = Literal["last", "loss", "accuracy", "refinement"]


@dataclass(frozen=True)
class TrainConfig:
    """The recipe shared by the prompt-tuning methods.

    Attributes:
        epochs: E, passes over the training images.
        batch_size: B, images per batch; objectives see one batch at a time.
        accumulate: Batches whose mean gradient makes one step, where a larger batch does not fit.
        lr: Base learning rate.
        optimiser: "sgd" (momentum), "adam" or "adamw".
        momentum: Of SGD.
        weight_decay: L2 term added to the gradient (decoupled for adamw).
        eps: Of Adam and AdamW.
        schedule: "cosine" per epoch, "cosine_step" per step, or "constant".
        warmup_epochs: Epochs at ``warmup_lr`` before the schedule starts.
        warmup_lr: Learning rate of the warm-up.
        stop: Which epoch's tensors the run ends with: the "last", or the best on the held-out rows by their
            "loss", "accuracy" or "refinement" (the loss after recalibration).
        warmup_steps: Of "cosine_step": steps over which the rate rises from 0 (``warmup_epochs`` must be 0).
        views: Views per image: 1 is the centre crop; V > 1 is a bank of V random crops, view e mod V
            in epoch e. "epochs" is a fresh crop in each epoch, as the published recipes draw them; its bank
            is the same for all seeds, so that it is encoded once.
        flip: Mirror half of the random views; switch off where the side matters.
        drop_last: Drop an incomplete last batch (unless it is the only one), as published.
        precision: "off", or "tf32", "bfloat16" or "float16" for the towers' matrix products in training and
            in the predictions of the trained learner; see ``DualEncoder.with_precision``.

    Raises:
        SpecError: A value is out of range.
    """

    epochs: Count = 50
    batch_size: Count = 32
    lr: Positive = 2e-3
    optimiser: Optimiser = "sgd"
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NotNegative = 5e-4
    eps: Positive = 1e-8
    schedule: Schedule = "cosine"
    warmup_epochs: Whole = 1
    warmup_lr: Positive = 1e-5
    views: Count | Literal["epochs"] = 1
    flip: bool = True
    drop_last: bool = True
    accumulate: Count = 1
    precision: Precision = "off"
    warmup_steps: Whole = 0
    stop: Stop = "last"

    def __post_init__(self) -> None:
        check_fields(self, "train.")
        if self.schedule == "cosine_step" and self.warmup_epochs:
            raise SpecError(
                "train: a schedule per step has no warmup_epochs; give warmup_epochs: 0 and warmup_steps"
            )
        if self.warmup_steps and self.schedule != "cosine_step":
            raise SpecError(
                f'train.warmup_steps belongs to schedule "cosine_step", got "{self.schedule}"'
            )

    @property
    def bank(self) -> int:
        """Views per training image that are encoded.

        Example:
            >>> TrainConfig(epochs=5, views="epochs").bank, TrainConfig(epochs=5).bank
            (5, 1)
        """
        return self.epochs if isinstance(self.views, str) else self.views

    def bank_seed(self, seed: int) -> int:
        """Seed of the random views in a run with ``seed``: common to all runs for "epochs"."""
        return 0 if isinstance(self.views, str) else seed


def learning_rate(config: TrainConfig, epoch: int, step: int = 0, total_steps: int = 1) -> float:
    """Learning rate in force during an epoch (counted from 0), or at a step with the schedule "cosine_step".

    With w warm-up epochs: ``warmup_lr`` for e < w, then lr/2 * (1 + cos(pi (e - w) / E)). It does not
    reach 0 in the last epoch. "cosine_step" is :func:`~vlmcal.types.schedules.cosine_after_warmup`.

    Source: the schedule of the published prompt-tuning code (per epoch, constant warm-up).

    Example:
        >>> [round(learning_rate(TrainConfig(epochs=5, lr=0.0035), e), 6) for e in range(5)]
        [1e-05, 0.0035, 0.003166, 0.002291, 0.001209]
    """
    if config.schedule == "cosine_step":
        return config.lr * cosine_after_warmup(step, total_steps, config.warmup_steps)
    if epoch < config.warmup_epochs:
        return config.warmup_lr
    if config.schedule == "constant":
        return config.lr
    progress = (epoch - config.warmup_epochs) / config.epochs
    return 0.5 * config.lr * (1 + math.cos(math.pi * progress))
