"""One cell from data to stored predictions."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from vlmcal import __version__
from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.views import Draw
from vlmcal.data.protocols import Protocol
from vlmcal.errors import StoreError
from vlmcal.experiment.extras import array_of, scored
from vlmcal.experiment.out_of_fold import cross_fit_note, folds_of, out_of_fold
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.remarks import remarks
from vlmcal.experiment.saved import load_learner, save_learner
from vlmcal.experiment.store import Store
from vlmcal.experiment.test_time import about_adaptation, adapt, at_least_two, seeded_order
from vlmcal.experiment.usage import peak_memory
from vlmcal.experiment.workbench import Workbench as Workbench
from vlmcal.hashing import canonical
from vlmcal.io.json_files import write_json
from vlmcal.io.predictions import load_predictions, save_predictions
from vlmcal.learners.base import ClassContext, Learner
from vlmcal.seeding import torch_generator
from vlmcal.training.loop import EpochEnd, Fitted, TrainingData, evaluation_batches, training
from vlmcal.training.outliers import OutlierPool, outlier_source
from vlmcal.training.pixels import pixel_source
from vlmcal.training.side_by_side import Training, alone
from vlmcal.training.stopping import stopping_note
from vlmcal.types.arrays import BoolArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features
from vlmcal.types.predictions import Predictions

CellListener = Callable[[Cell, EpochEnd], None]


def run_cell(
    cell: Cell,
    store: Store,
    bench: Workbench,
    *,
    listeners: Sequence[CellListener] = (),
    wait: bool = True,
) -> str | None:
    """Train and predict one cell unless it is published already; returns its id.

    Returns None when another process is working on it and ``wait`` is off.

    Raises:
        VlmcalError: Anything wrong with the data, the specification or the store; what was finished
            before stays, and a checkpoint lets the same command go on.
    """
    return alone(cell_in_steps(cell, store, bench, listeners=listeners, wait=wait))


def cell_in_steps(
    cell: Cell,
    store: Store,
    bench: Workbench,
    *,
    listeners: Sequence[CellListener] = (),
    wait: bool = True,
) -> Training[str | None]:
    """The same as :func:`run_cell`, stopping where cells may share work.

    See :mod:`vlmcal.training.side_by_side`. The run is held from the first step to the last.
    """
    run, team = bench.run_id(cell), bench.team
    if team.agree(store.published(run)):
        return run
    about = {"key": cell.key, "label": cell.label()}
    with store.lock(run, wait=wait, about=about) if team.main else nullcontext(True) as mine:
        if not team.agree(mine):
            return None
        if not team.agree(store.published(run)):
            try:
                yield from _execute(cell, run, store, bench, listeners)
            except OSError as error:
                raise StoreError(
                    f"run {run} ({cell.label()}) could not be written to {store.folder(run)}: "
                    f"{error.strerror or error}. Free some space or fix the permissions and run the "
                    "same command again; finished runs and the checkpoint are kept"
                ) from error
    return run


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
    provenance = _provenance(cell, run, data, encoder, protocol, bench.content(data))
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
    write_json(folder / "history.json", {"epochs": fitted.history})
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
    provenance = _provenance(cell, run, data, encoder, protocol, bench.content(data))
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


def publish_given(
    cell: Cell, learner: Learner, run: str, store: Store, bench: Workbench, about: Mapping[str, Any]
) -> None:
    """Predict with a learner that was trained elsewhere and publish it as a run.

    Args:
        cell: What it was trained on, as far as that is known; ``train`` holds what is to be shown of it.
        learner: With its learned tensors.
        run: Id of the run.
        store: Where it goes.
        bench: Data and features.
        about: More provenance.

    Raises:
        VlmcalError: The data cannot be read, or the store not be written.
    """
    started = time.time()
    data = bench.dataset(cell)
    protocol = make_protocol(data, cell.protocol, cell.shots, cell.seed)
    known = _provenance(cell, run, data, learner.encoder, protocol, bench.content(data))
    about = {**known, **about}
    publish(cell, run, learner, protocol, store, bench, provenance=about, started=started)


def publish(
    cell: Cell,
    run: str,
    learner: Learner,
    protocol: Protocol,
    store: Store,
    bench: Workbench,
    *,
    provenance: Mapping[str, Any],
    trained_on: int | None = None,
    held_out: Predictions | None = None,
    predictor: Callable[[Path, Dataset, str], Predictions] | None = None,
    warnings: Sequence[str] = (),
    notes: Sequence[str] = (),
    started: float,
) -> None:
    """Predict every part that the learner can, keep the learner, and declare the run complete.

    Args:
        cell: What was trained.
        run: Its id.
        learner: The trained learner.
        protocol: The parts of the data.
        store: Where it goes.
        bench: Data and features.
        provenance: How it came about.
        trained_on: Number of training images, where they are known.
        held_out: Rows to calibrate on, where they are not those of the protocol.
        predictor: Predicts a part of the data, given where it will be stored and its split; default is the
            learner as it is.
        warnings: Of the training.
        notes: Remarks beside those of the data and the backbone.
        started: Time at which the work began, as of :func:`time.time`.
    """
    learner.eval()
    data, encoder, folder = bench.dataset(cell), bench.encoder(cell), store.folder(run)

    def plain(path: Path, part: Dataset, split: str) -> Predictions:
        features = bench.features(encoder, part)
        return predict(learner, part, features, split=split, provenance=provenance)

    predictor = predictor or plain
    sets, skipped = _evaluable(learner, protocol)
    for name, subset in sets.items():
        path = folder / "predictions" / f"{name}.safetensors"
        save_predictions(predictor(path, subset, _split_tag(name)), path)
    counts = {name: len(part) for name, part in sets.items()}
    if held_out is not None:
        counts = {"calibration": len(held_out), **counts}
        save_predictions(held_out, folder / "predictions" / "calibration.safetensors")
    save_learner(learner, folder / "learner", test_time=provenance.get("test_time"))
    objective = None if cell.objective is None else cell.sum()
    store.publish(
        run,
        {
            "id": run,
            "cell": canonical(cell),
            "label": cell.label(),
            "sets": list(counts),
            "images": {**({} if trained_on is None else {"train": trained_on}), **counts},
            "skipped": skipped,
            "warnings": list(warnings),
            "remarks": [*data.remarks, *remarks(encoder, objective, protocol.name), *notes],
            "provenance": provenance,
            "seconds": round(time.time() - started, 3),
            "peak_memory": peak_memory(bench.device),
        },
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


def _evaluable(learner: Learner, protocol: Protocol) -> tuple[dict[str, Dataset], dict[str, str]]:
    """The parts to predict, and the reason for each test part that this method cannot predict."""
    sets, skipped = {"calibration": protocol.calibration}, {}
    for name, part in protocol.tests.items():
        if learner.per_class and part.class_names != protocol.train.class_names:
            skipped[f"test_{name}"] = (
                f'"{learner.name}" learns parameters for each class and has no path to other class names'
            )
        else:
            sets[f"test_{name}"] = part
    return {name: part for name, part in sets.items() if len(part)}, skipped


def build_learner(
    cell: Cell, encoder: DualEncoder, class_names: Sequence[str], templates: Sequence[str]
) -> Learner:
    """The cell's learner before training, from its own random stream."""
    encoder = encoder.with_precision(cell.train_config().precision)
    classes = ClassContext(encoder, tuple(class_names), tuple(templates))
    stream = torch_generator(cell.seed or 0, "init")
    return cell.learner_class()(classes, cell.learner_config(), stream)


def predict(
    learner: Learner,
    data: Dataset,
    features: Features,
    *,
    split: str,
    provenance: Mapping[str, Any] | None = None,
) -> Predictions:
    """Predictions of a learner for a data set with its own class names.

    Carries what post-hoc methods of vision-language models read: the tuned model's image and text
    features, zero-shot text features and logits, and both text features of the training classes.

    Raises:
        SpecError: The names differ from the training classes and the learner cannot change them.
    """
    tuned = learner.for_classes(data.class_names)
    tuned.eval()
    pixels = pixel_source(tuned, data, features)
    batches = evaluation_batches(tuned, features, pixels=pixels)
    frozen = torch.from_numpy(np.array(features.image_features[:, 0]))
    rows = scored(
        tuned,
        batches,
        frozen,
        labels=data.labels,
        ids=data.ids,
        split=split,
        groups=data.groups,
        provenance=dict(provenance or {}),
    )
    extras = dict(rows.extras)
    extras["base_zero_shot_text_features"] = array_of(learner.classes.text_features)
    if "text_features" in extras and tuned is learner:
        extras["base_text_features"] = extras["text_features"]
    elif "text_features" in extras:
        with torch.no_grad():
            extras["base_text_features"] = array_of(normalize(learner.text_features(), dim=-1))
    return replace(rows, extras=extras)


def _split_tag(name: str) -> str:
    return "calibration" if name == "calibration" else "test"


def _provenance(
    cell: Cell, run: str, data: Dataset, encoder: DualEncoder, protocol: Protocol, content: str
) -> dict[str, Any]:
    return {
        "run": run,
        "label": cell.label(),
        "vlmcal": __version__,
        "torch": str(torch.__version__),
        "transformers": metadata.version("transformers"),
        "numpy": np.__version__,
        "dataset": data.name,
        "data_fingerprint": content,
        "templates": list(data.templates),
        "backbone": encoder.name,
        "backbone_fingerprint": encoder.fingerprint,
        **({} if encoder.logit_bias is None else {"scores": encoder.scores}),
        **({"backbone_note": encoder.about} if encoder.about else {}),
        "protocol": dict(protocol.provenance),
        "class_names": {"base": list(protocol.train.class_names)},
    }
