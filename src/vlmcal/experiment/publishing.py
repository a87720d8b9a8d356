"""What a trained learner leaves in the store: predictions of every part of the data, itself, its history."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import normalize

from vlmcal import __version__
from vlmcal.backbones.base import DualEncoder
from vlmcal.data.protocols import Protocol
from vlmcal.experiment.extras import array_of, scored
from vlmcal.experiment.plan import Cell
from vlmcal.experiment.protocol import make_protocol
from vlmcal.experiment.remarks import remarks
from vlmcal.experiment.saved import save_learner
from vlmcal.experiment.shown_cells import shown_cell
from vlmcal.experiment.store import Store
from vlmcal.experiment.usage import peak_memory
from vlmcal.experiment.workbench import Workbench
from vlmcal.hashing import canonical
from vlmcal.io.predictions import save_predictions
from vlmcal.learners.base import Learner
from vlmcal.training.data import evaluation_batches
from vlmcal.training.pixels import pixel_source
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features
from vlmcal.types.predictions import Predictions


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
    known = provenance_of(cell, run, data, learner.encoder, protocol, bench.content(data))
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
        split = "calibration" if name == "calibration" else "test"
        save_predictions(predictor(path, subset, split), path)
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
            "shown": shown_cell(canonical(cell)),
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


def provenance_of(
    cell: Cell, run: str, data: Dataset, encoder: DualEncoder, protocol: Protocol, content: str
) -> dict[str, Any]:
    """What every file of a run says of how it came about: versions, data and backbone, with their content."""
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
