"""Weights & Biases: one run of a project for each run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlmcal.experiment.trackers.base import TRACKERS, Tracker
from vlmcal.extras import naming_extras


@TRACKERS.register("wandb")
@dataclass
class WeightsAndBiases(Tracker):
    """Runs in a project of Weights & Biases, under the id that they have in the store.

    Attributes:
        project: Its name.
        mode: "online", "offline" or "disabled"; "" is what the package is set to.
    """

    project: str = "vlmcal"
    mode: str = ""
    _run: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        with naming_extras():
            import wandb  # noqa: F401

    def start(self, run: str, label: str, settings: Mapping[str, str]) -> None:
        """Begin the run; one of the same id is continued."""
        import wandb

        self._run = wandb.init(
            project=self.project,
            id=run,
            name=label,
            config=dict(settings),
            resume="allow",
            mode=self.mode or None,
        )

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Values by epoch."""
        self._run.log(dict(values), step=epoch)

    def summarise(self, values: Mapping[str, float]) -> None:
        """The summary of the run."""
        self._run.summary.update(dict(values))

    def finish(self) -> None:
        """End the run."""
        self._run.finish()
