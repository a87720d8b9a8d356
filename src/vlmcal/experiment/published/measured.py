"""Results of a store under the names that published tables have: learner, calibration, split, data set."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlmcal.calibrators.base import CALIBRATORS, UNCALIBRATED
from vlmcal.data.data_cards import find_card
from vlmcal.errors import StoreError
from vlmcal.experiment.evaluate import calibrated_rows, each_run
from vlmcal.experiment.plan import objective_label
from vlmcal.experiment.published.tables import Entry
from vlmcal.experiment.store import Store
from vlmcal.hashing import digest
from vlmcal.io.json_files import remembered
from vlmcal.learners.base import LEARNERS
from vlmcal.metrics import METRICS, evaluate
from vlmcal.objectives.own import OWN
from vlmcal.seeding import numpy_generator
from vlmcal.types.predictions import Predictions

NONE = "none"
RESAMPLES = 200
IMPORTED = "not known (imported)"
# Terms by which a published trainer made another method of a plain context.
_TERM_OF = {"prograd": "prograd", "prompt_diversity": "proda", "kgcoop": "kgcoop"}
_PLAIN = {"ce", OWN}


class Value(NamedTuple):
    """A metric of one run.

    Attributes:
        value: The metric.
        error: Standard error by a bootstrap of rows (groups); None where it was not asked for.
    """

    value: float
    error: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """One run, test set and calibrator.

    Attributes:
        run: Run id.
        folder: Of the run.
        dataset, learner, calibration, split: As in the published tables; "none" is the plain method.
        backbone: Name of the backbone.
        shots, seed: None where the method has none, or they are not known.
        views: Of the training: "1", "epochs", ..., or "" where nothing was trained.
        rows: The (calibrated) predictions.
    """

    run: str
    folder: Path
    dataset: str
    learner: str
    calibration: str
    split: str
    backbone: str
    shots: int | None
    seed: int | None
    views: str
    rows: Predictions = field(repr=False)

    @property
    def setting(self) -> tuple[Any, ...]:
        """Everything but the seed."""
        names = ("dataset", "learner", "calibration", "split", "backbone", "shots", "views")
        return tuple(getattr(self, name) for name in names)

    def measure(self, metric: str, *, error: bool) -> Value:
        """A metric of the rows, kept in the run's folder.

        Args:
            metric: Registry name.
            error: Also its bootstrap standard error, from 200 resamples.
        """
        key = digest([self.run, self.split, self.dataset, self.calibration, metric, error])[:16]
        path = self.folder / "evaluations" / f"published-{key}.json"
        return remembered(
            path,
            lambda: measure(self.rows, metric, error=error),
            lambda kept: Value(**kept),
            Value._asdict,
        )


def measure(rows: Predictions, metric: str, *, error: bool) -> Value:
    """A metric of rows and, where it is asked for, its standard error over resampled rows (groups).

    Example:
        >>> rows = Predictions(logits=[[2.0, 0.0], [0.0, 1.0]], labels=[0, 0], class_names=["a", "b"])
        >>> measure(rows, "accuracy", error=False)
        Value(value=0.5, error=None)
    """
    found = float(evaluate(rows, [metric], intervals=False)[metric].value)
    if not error:
        return Value(found, None)
    entry = METRICS.get(metric)
    if entry.consumes == "labels":
        given: tuple[Any, Any] = (rows.predicted(), rows.labels)
    else:
        top = rows.top_label()
        given = (top.confidence, top.correct)
    units = np.arange(len(rows)) if rows.groups is None else rows.groups
    _, which = np.unique(units, return_inverse=True)
    members = np.split(np.argsort(which, kind="stable"), np.cumsum(np.bincount(which))[:-1])
    generator = numpy_generator(0, "published")
    draws = []
    for _ in range(RESAMPLES):
        drawn = generator.integers(0, len(members), len(members))
        index = np.concatenate([members[i] for i in drawn])
        draws.append(float(entry.function(*(values[index] for values in given))))
    return Value(found, float(np.std(draws, ddof=1)))


def results(store: Store, calibrators: Sequence[str]) -> Iterator[Result]:
    """Every run of a store, imported ones included, with every calibrator that applies.

    Args:
        store: The runs.
        calibrators: Names of calibrators, besides "none".

    Raises:
        StoreError: There is no run in it.
    """
    runs = store.runs()
    if not runs:
        raise StoreError(
            f"{store.root} holds no finished run; name the folder that `vlmcal run` or `vlmcal import "
            "dassl` wrote to with --store"
        )

    def of(run: str) -> Iterator[Result]:
        status = store.status(run)
        cell = status["cell"]
        learner, objective = identity(cell)
        train = cell.get("train") or {}
        trained = cell.get("train") is not None
        views = (IMPORTED if "imported" in train else str(train.get("views", 1))) if trained else ""
        for name, calibrator, rows in calibrated_rows(store, run, (UNCALIBRATED, *calibrators)):
            plain = calibrator == UNCALIBRATED
            both = [part for part in (objective, calibrator) if part not in (NONE, UNCALIBRATED)]
            split = name if name in ("base", "new", "all") else "all"
            source = dataset_name(cell["data"]) if name in ("base", "new", "all") else name
            yield Result(
                run=run,
                folder=store.folder(run),
                dataset=source,
                learner=learner,
                calibration=objective if plain else " + ".join(both),
                split=split,
                backbone=str(cell["backbone"]),
                shots=cell.get("shots"),
                seed=cell.get("seed"),
                views=views,
                rows=rows,
            )

    return each_run(store, of)


def calibrators_of(found: Iterable[Entry]) -> list[str]:
    """The calibrators that stand in published rows.

    Example:
        >>> from vlmcal.experiment.published.tables import entries
        >>> calibrators_of(entries("tcpt"))
        ['dac']
    """
    named = dict.fromkeys(entry.calibration for entry in found)
    return [name for name in named if name in CALIBRATORS and name != UNCALIBRATED]


def identity(cell: Mapping[str, Any]) -> tuple[str, str]:
    """Learner and objective of a cell by the names that published tables have.

    Example:
        >>> objective = [{"name": "ce"}, {"name": "kgcoop"}, {"name": "mdca"}]
        >>> identity({"method": {"name": "kgcoop"}, "objective": objective})
        ('kgcoop', 'mdca')
    """
    learner = str(cell["method"]["name"])
    objective = cell.get("objective")
    if objective is None or learner not in LEARNERS:  # of an imported run, what its owner said
        return learner, str((cell.get("train") or {}).get("objective", NONE))
    terms = objective_label(objective).split(" + ")
    own_terms = LEARNERS.get(learner).default_objective
    own = objective_label([{"name": e} if isinstance(e, str) else e for e in own_terms])
    more = [term for term in terms if term not in _PLAIN | set(own.split(" + "))]
    if learner == "coop":
        learner = next((_TERM_OF[term] for term in more if term in _TERM_OF), learner)
        more = [term for term in more if term not in _TERM_OF]
    return learner, " + ".join(more) or NONE


def dataset_name(data: Mapping[str, Any]) -> str:
    """Name of a cell's data set: that of its card where one fits the name or the folder.

    Example:
        >>> dataset_name({"path": "data/OxfordPets"}), dataset_name({"name": "digits"})
        ('oxford_pets', 'digits')
    """
    name = str(data.get("called") or data.get("name", ""))
    path = str(data.get("path") or data.get("root") or "")
    for word in (name, *(part.partition(".")[0] for part in Path(path).parts[::-1][:2])):
        if word and (card := find_card(word)) is not None:
            return card.name
    return name or Path(path).name
