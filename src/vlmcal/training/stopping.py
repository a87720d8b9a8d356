"""Which epoch a run ends with: the last one, or the best by a criterion on the held-out rows."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from vlmcal.calibrators.base import CalibrationWarning
from vlmcal.calibrators.losses import mean_loss
from vlmcal.calibrators.mixture import default_refine
from vlmcal.learners.base import Learner
from vlmcal.training.config import Stop
from vlmcal.types.predictions import Predictions

_BEST, _VALUE = "_best/", "_best_value"


def held_out_value(stop: Stop, rows: Predictions) -> float:
    """The criterion of held-out rows; the smallest is the best.

    "loss" is the mean log-loss, "accuracy" the share of wrong rows, "refinement" the log-loss after
    recalibration by a temperature: what calibration cannot repair. Over-confidence raises the raw
    loss long before the model ranks worse, so "loss" ends early what "refinement" lets go on.

    Source: Berta, Holzmueller, Jordan and Bach, Rethinking early stopping: refine, then calibrate, 2025,
    arXiv 2501.19195.

    Example:
        >>> sure = Predictions(logits=[[2.0, 0.0]] * 4, labels=[0, 0, 0, 1])
        >>> [round(held_out_value(stop, sure), 3) for stop in ("loss", "accuracy", "refinement")]
        [0.627, 0.25, 0.568]
    """
    if stop == "accuracy":
        return float((rows.predicted() != rows.labels).mean())
    if stop == "loss":
        return float(mean_loss(rows, "nll"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)  # early epochs are poor on purpose
        return float(mean_loss(default_refine().fit_transform_same(rows), "nll"))


@dataclass
class BestEpoch:
    """The tensors of the best epoch so far, and its value.

    Attributes:
        stop: The criterion.
        value: Of the best epoch; infinite before the first.
        state: The learner's tensors then.
    """

    stop: Stop
    value: float = float("inf")
    state: dict[str, Tensor] = field(default_factory=dict)

    def see(self, learner: Learner, logits: Tensor, labels: Tensor) -> float:
        """Look at the held-out logits (N, K) after an epoch, and keep its tensors if it is the best."""
        rows = Predictions(
            logits=logits.float().cpu().numpy(), labels=labels.cpu().numpy(), split="val"
        )
        value = held_out_value(self.stop, rows)
        if value < self.value:
            self.value = value
            self.state = {n: t.detach().clone() for n, t in learner.state_dict().items()}
        return value

    def saved(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        kept = {f"{_BEST}{name}": tensor for name, tensor in self.state.items()}
        return {**kept, _VALUE: torch.tensor(self.value, dtype=torch.float64)} if kept else {}

    def restore(self, memory: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take up what :meth:`saved` gave; returns what else the memory holds."""
        if _VALUE in memory:
            self.value = float(memory[_VALUE])
        self.state = {n.removeprefix(_BEST): t for n, t in memory.items() if n.startswith(_BEST)}
        return {n: t for n, t in memory.items() if n != _VALUE and not n.startswith(_BEST)}


def stopping_note(stop: Stop, n: int) -> list[str]:
    """That the epoch was chosen on the n rows that calibrators see, where it was."""
    if stop == "last":
        return []
    return [
        f"the epoch was chosen by {stop} on the {n} held-out images that calibrators are fitted on"
    ]
