"""What a tracker is: four methods that take what a run was and what came out of it."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from vlmcal.errors import StoreError
from vlmcal.experiment.evaluate import Row
from vlmcal.experiment.store import Store
from vlmcal.options import build
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry


class Tracker(ABC):
    """Somewhere that finished runs are shown, one after another."""

    name: ClassVar[str]

    @abstractmethod
    def start(self, run: str, label: str, settings: Mapping[str, str]) -> None:
        """Begin a run.

        Args:
            run: Its id in the store, which is how it is found again.
            label: What it is, for people.
            settings: Data, backbone, method, ... as text.
        """

    @abstractmethod
    def log(self, epoch: int, values: Mapping[str, float]) -> None:
        """Numbers of a training epoch, counted from 1."""

    @abstractmethod
    def summarise(self, values: Mapping[str, float]) -> None:
        """Final numbers, by "classes/calibrator/metric"."""

    @abstractmethod
    def finish(self) -> None:
        """End the run."""


TRACKERS: Registry[type[Tracker]] = Registry(
    "tracker", "vlmcal.experiment.trackers", subclass_of(Tracker), "a subclass of Tracker"
)


def trackers_of(specs: Iterable[str | Mapping[str, Any]]) -> list[Tracker]:
    """Trackers by name, with options in parentheses.

    Raises:
        SpecError: No such tracker or option.
        MissingExtraError: Its package is not installed.
    """
    return [build(TRACKERS, spec, where="track") for spec in specs]


def mirror(store: Store, rows: Sequence[Row], trackers: Sequence[Tracker]) -> None:
    """Show the runs of these rows in every tracker: settings, training curve, final numbers.

    Raises:
        StoreError: A tracker refuses; the store has everything all the same.
    """
    for run in dict.fromkeys(row.run for row in rows) if trackers else ():
        status = store.status(run)
        settings = {key: str(value) for key, value in status["cell"].items() if value is not None}
        final = {
            f"{row.set}/{row.calibrator}/{name}": float(estimate.value)
            for row in rows
            if row.run == run and row.evaluation is not None and not row.conformal
            for name, estimate in row.evaluation.estimates.items()
        }
        for tracker in trackers:
            try:
                tracker.start(run, str(status["label"]), settings)
                for epoch, record in enumerate(store.history(run), start=1):
                    plain = {k: float(v) for k, v in record.items() if isinstance(v, int | float)}
                    tracker.log(epoch, {f"train/{k}": v for k, v in plain.items() if k != "epoch"})
                tracker.summarise(final)
                tracker.finish()
            except Exception as error:  # of any kind: a service, a disk, a network
                raise StoreError(
                    f"tracker {tracker.name}: {error}. The runs are finished and in {store.root}; "
                    "run the same command again, or without --track"
                ) from error
