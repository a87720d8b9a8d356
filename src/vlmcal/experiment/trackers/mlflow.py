"""MLflow: one run of an experiment for each run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vlmcal.errors import SpecError
from vlmcal.experiment.trackers.base import TRACKERS, Tracker
from vlmcal.extras import naming_extras

_LONGEST = 500  # characters of a parameter's value


@TRACKERS.register("mlflow")
@dataclass
class MLflow(Tracker):
    """Runs in an MLflow experiment, on a server, in a database or in a folder.

    MLflow wants ``MLFLOW_ALLOW_FILE_STORE=true`` in the environment before it writes into a folder, and the
    package ``sqlalchemy`` for a database.

    Attributes:
        uri: Tracking URI (``http://...``, ``sqlite:///...``, ``file:...``); "" is what MLflow is set to.
        experiment: Its name; made where it does not exist.
    """

    uri: str = ""
    experiment: str = "vlmcal"
    _client: Any = field(default=None, init=False, repr=False)
    _run: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        with naming_extras():
            from mlflow import MlflowClient
        try:
            self._client = MlflowClient(tracking_uri=self.uri or None)
        except Exception as error:  # its own, a driver that is missing, a wrong address, ...
            where = f'"{self.uri}"' if self.uri else "what MLflow is set to"
            raise SpecError(
                f"tracker mlflow cannot use {where}: {error}; name a server or a database, such as "
                '--track "mlflow(uri=http://localhost:5000)", or a folder, uri=file:mlruns'
            ) from error

    def start(self, run: str, label: str, settings: Mapping[str, str]) -> None:
        """Create the run in place of what an earlier command wrote; its tag ``vlmcal.run`` is the id."""
        known = self._client.get_experiment_by_name(self.experiment)
        place = known.experiment_id if known else self._client.create_experiment(self.experiment)
        for before in self._client.search_runs([place], f"tags.`vlmcal.run` = '{run}'"):
            self._client.delete_run(before.info.run_id)  # which MLflow can restore
        made = self._client.create_run(place, run_name=label, tags={"vlmcal.run": run})
        self._run = made.info.run_id
        for key, value in settings.items():
            self._client.log_param(self._run, key, value[:_LONGEST])

    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Metrics by epoch."""
        for name, value in values.items():
            self._client.log_metric(self._run, _allowed(name), value, step=epoch)

    def summarise(self, values: Mapping[str, float]) -> None:
        """Metrics without a step."""
        self.log(0, values)

    def finish(self) -> None:
        """End the run."""
        self._client.set_terminated(self._run)


def _allowed(name: str) -> str:
    """The name with only those characters that MLflow takes.

    Example:
        >>> _allowed("new/histogram(bins=10)/ece")
        'new/histogram_bins_10_/ece'
    """
    return re.sub(r"[^\w\-./ ]", "_", name)
