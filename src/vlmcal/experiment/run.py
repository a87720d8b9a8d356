"""One cell from data to stored predictions."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.views import Draw
from vlmcal.errors import StoreError
from vlmcal.experiment.out_of_fold import cross_fit_note, folds_of, out_of_fold
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.publishing import predict, provenance_of, publish
from vlmcal.experiment.saved import load_learner
from vlmcal.experiment.store import Store
from vlmcal.experiment.test_time import about_adaptation, adapt, at_least_two, seeded_order
from vlmcal.experiment.workbench import Workbench as Workbench
from vlmcal.io.json_files import write_sealed
from vlmcal.io.predictions import load_predictions
from vlmcal.learners.base import ClassContext, Learner
from vlmcal.seeding import torch_generator
from vlmcal.training.loop import EpochEnd, Fitted, TrainingData, training
from vlmcal.training.outliers import OutlierPool, outlier_source
from vlmcal.training.pixels import pixel_source
from vlmcal.training.side_by_side import Training, in_one_go
from vlmcal.training.stopping import stopping_note
from vlmcal.types.arrays import BoolArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features
from vlmcal.types.predictions import Predictions

CellListener = Callable[[Cell, EpochEnd], None]


class Published(NamedTuple):
    """A run that is in the store.

    Attributes:
        run: Its id.
        here: Whether it was made here and now.
    """

    run: str
    here: bool


def cell_in_steps(
    cell: Cell,
    store: Store,
    bench: Workbench,
    *,
    listeners: Sequence[CellListener] = (),
    wait: bool = True,
) -> Training[Published | None]:
    """Train and predict one cell unless it is published already.

    It stops where cells may share work (:mod:`vlmcal.training.side_by_side`), and holds the run from the
    first step to the last. Returns None when another process is working on it and ``wait`` is off.

    Raises:
        VlmcalError: Anything wrong with the data, the specification or the store; what was finished
            before stays, and a checkpoint lets the same command go on.
    """
    run, team = bench.run_id(cell), bench.team
    if team.agree(store.published(run)):
        return Published(run, here=False)
    about = {"key": cell.key, "label": cell.label()}
    with store.lock(run, wait=wait, about=about) if team.main else nullcontext(True) as mine:
        if not team.agree(mine):
            return None
        if team.agree(store.published(run)):  # by the process that was waited for
            return Published(run, here=False)
        try:
            yield from _execute(cell, run, store, bench, listeners)
        except OSError as error:
            raise StoreError(
                f"run {run} ({cell.label()}) could not be written to {store.folder(run)}: "
                f"{error.strerror or error}. Free some space or fix the permissions and run the "
                "same command again; finished runs and the checkpoint are kept"
            ) from error
    return Published(run, here=True)


@in_one_go
def run_cell(
    cell: Cell,
    store: Store,
    bench: Workbench,
    *,
    listeners: Sequence[CellListener] = (),
    wait: bool = True,
) -> Training[str | None]:
    """:func:`cell_in_steps` by itself, from the first step to the last; returns the id of the run."""
    found = yield from cell_in_steps(cell, store, bench, listeners=listeners, wait=wait)
    return None if found is None else found.run


def _execute(
    cell: Cell, run: str, store: Store, bench: Workbench, listeners: Sequence[CellListener]
) -> Training[None]:
    started = time.time()
    if cell.adaptation() is not None:
        _adapt(cell, run, store, bench, listeners, started)
        return
    data, encoder = bench.dataset(cell), bench.encoder(cell)
    protocol = make_protocol(data, cell.protocol, cell.shots, cell.seed)
    config = cell.train_config()
    seed = cell.seed or 0
    with bench.team.main_first():
        views = Draw(config.bank, config.bank_seed(seed), config.flip)
        # A method without shots looks at no training image.
        looks = cell.shots is not None
        train = bench.features(encoder, protocol.train, views) if looks else None
        held = protocol.calibration
        held_out = bench.features(encoder, held) if len(held) else None
    folder = store.folder(run)
    new = protocol.tests.get("new")

    def trained(
        part: Dataset, features: Features | None, checkpoint: str
    ) -> Training[tuple[OutlierPool | None, Fitted]]:
        learner = build_learner(cell, encoder, protocol.train.class_names, data.templates)
        if features is None:
            learner.eval()
            return None, Fitted(learner)
        with bench.team.main_first():
            outliers = outlier_source(
                cell.sum(),
                learner,
                new_names=() if new is None else new.class_names,
                seed=seed,
                cache_dir=bench.cache_dir,
                progress=bench.word_progress,
            )
        given = TrainingData(
            train=features,
            validation=held_out,
            pixels=pixel_source(learner, part, features),
            validation_pixels=None if held_out is None else pixel_source(learner, held, held_out),
            outliers=outliers,
        )
        fitted = yield from training(
            learner,
            cell.sum(),
            given,
            config,
            seed=seed,
            checkpoint=folder / checkpoint,
            listeners=[lambda event, each=listener: each(cell, event) for listener in listeners],  # type: ignore[misc]
            team=bench.team,
        )
        learner.eval()
        return outliers, fitted

    base = cell.trained_as()
    if base is None:
        outliers, fitted = yield from trained(protocol.train, train, "checkpoint.safetensors")
    else:
        outliers, fitted = None, _taken(cell, base, store, bench, listeners, data)
    learner = fitted.learner
    provenance = provenance_of(cell, run, data, encoder, protocol, bench.content(data))
    if outliers is not None:
        provenance["outliers"] = dict(outliers.about)
        fitted.warnings += outliers.notes
    notes = stopping_note(config.stop, len(held)) if learner.trainable else []
    cross_fitted = None
    if cell.protocol.get("calibration") == "cross-fit":
        part, folds = protocol.train, folds_of(protocol.train.labels, protocol.train.groups)
        centre = bench.features(encoder, part)

        def without(fold: int, kept: BoolArray) -> Training[Learner]:
            place = f"checkpoint-{fold}.safetensors"
            _, made = yield from trained(
                part.subset(kept), None if train is None else train.subset(kept), place
            )
            return made.learner

        cross_fitted = out_of_fold(
            folds,
            without,
            lambda each, left: predict(
                each,
                part.subset(left),
                centre.subset(left),
                split="calibration",
                provenance=provenance,
            ),
        )
        notes.append(cross_fit_note(folds))
    if not bench.team.main:
        return
    write_sealed(folder / "history.json", {"epochs": fitted.history})
    publish(
        cell,
        run,
        learner,
        protocol,
        store,
        bench,
        provenance=provenance,
        trained_on=None if cell.train is None else len(protocol.train),
        held_out=cross_fitted,
        warnings=fitted.warnings,
        notes=notes,
        started=started,
    )


def _adapt(
    cell: Cell,
    run: str,
    store: Store,
    bench: Workbench,
    listeners: Sequence[CellListener],
    started: float,
) -> None:
    """Train what a test-time method starts from, unless it is in the store, and adapt it to every part."""
    start, adaptation = cell.start(), cell.adaptation()
    assert adaptation is not None
    model = run_cell(start, store, bench, listeners=listeners)
    assert model is not None
    data, encoder = bench.dataset(cell), bench.encoder(cell)
    learner = load_learner(store.read(model) / "learner", encoder)
    adaptation.require(learner)
    if not bench.team.main:
        return
    protocol = make_protocol(data, cell.protocol, start.shots, start.seed)
    provenance = provenance_of(cell, run, data, encoder, protocol, bench.content(data))
    provenance |= {"test_time": about_adaptation(cell, adaptation, model)}
    draw = at_least_two(adaptation.draw) if adaptation.draw.count else None

    def predictor(path: Path, part: Dataset, split: str) -> Predictions:
        if path.exists():  # an interrupted run had adapted to it
            return load_predictions(path)
        return adapt(
            adaptation,
            learner.for_classes(part.class_names),
            part,
            bench.features(encoder, part),
            None if draw is None else bench.features(encoder, part, draw),
            seeded_order(adaptation, len(part), cell.seed),
            bench.adapting_progress,
            split=split,
            provenance=provenance,
        )

    publish(
        cell,
        run,
        learner,
        protocol,
        store,
        bench,
        provenance=provenance,
        predictor=predictor,
        started=started,
    )


def _taken(
    cell: Cell,
    base: Cell,
    store: Store,
    bench: Workbench,
    listeners: Sequence[CellListener],
    data: Dataset,
) -> Fitted:
    """A learner that predicts with the trained run of another cell, which is trained first if need be."""
    run = run_cell(base, store, bench, listeners=listeners)
    assert run is not None
    encoder, folder = bench.encoder(cell), store.read(run) / "learner"
    trained = load_learner(folder, encoder)
    learner = build_learner(cell, encoder, trained.classes.class_names, data.templates)
    learner.take(trained)
    learner.eval()
    return Fitted(learner, history=store.history(run), warnings=list(store.status(run)["warnings"]))


def build_learner(
    cell: Cell, encoder: DualEncoder, class_names: Sequence[str], templates: Sequence[str]
) -> Learner:
    """The cell's learner before training, from its own random stream."""
    encoder = encoder.with_precision(cell.train_config().precision)
    classes = ClassContext(encoder, tuple(class_names), tuple(templates))
    stream = torch_generator(cell.seed or 0, "init")
    return cell.learner_class()(classes, cell.learner_config(), stream)
