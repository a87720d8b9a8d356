"""TensorBoard: one folder of event files for each run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vlmcal.experiment.trackers.base import TRACKERS, Tracker
from vlmcal.extras import naming_extras


@TRACKERS.register("tensorboard")
@dataclass
class TensorBoard(Tracker):
    """Event files under ``folder/<run id>``; look at them with ``tensorboard --logdir FOLDER``.

    Attributes:
        folder: Created on first use.
    """

    folder: str = "tensorboard"
    _writer: Any = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        with naming_extras():
            import tensorboard  # noqa: F401

    def start(self, run: str, label: str, settings: Mapping[str, str]) -> None:
        """Open the event file; the settings are a text."""
        from torch.utils.tensorboard import SummaryWriter

        # What an earlier command wrote of the run is no longer shown.
        self._writer = SummaryWriter(str(Path(self.folder) / run), purge_step=0)
        lines = [label, "", *(f"    {key}: {value}" for key, value in settings.items())]
        self._writer.add_text("run", "\n".join(lines))

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Scalars by epoch."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)

    def summarise(self, values: Mapping[str, float]) -> None:
        """Scalars at step 0."""
        self.log(0, values)

    def finish(self) -> None:
        """Close the event file."""
        self._writer.close()
