"""The toolkit from Python in a few lines: fit, predict, save, load."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import Image

from vlmcal.backbones.ahead import rendered_ahead
from vlmcal.calibrators.base import UNCALIBRATED, Calibrator
from vlmcal.data.base import as_spec, holds_images, load_dataset
from vlmcal.data.frames import as_shown, shown_settings
from vlmcal.errors import DataError, SpecError, StoreError
from vlmcal.experiment.evaluate import Row, calibrator_from, evaluate_run
from vlmcal.experiment.extras import scored
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.plan import plan
from vlmcal.experiment.publishing import predict
from vlmcal.experiment.remote_store import store_at
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.saved import load_learner, read_head
from vlmcal.experiment.spec import parse_spec
from vlmcal.export.pretrained import (
    Measured,
    find_pretrained,
    load_pretrained,
    push_folder,
    save_pretrained,
)
from vlmcal.io.image_files import open_images
from vlmcal.io.images import require_readable
from vlmcal.io.predictions import load_predictions
from vlmcal.io.run_predictions import read_status
from vlmcal.learners.base import Batch, Learner
from vlmcal.posthoc.harmless import why_not
from vlmcal.types.arrays import FloatArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.predictions import Predictions
from vlmcal.types.shown import plural

HELD_OUT = Path("predictions", "calibration.safetensors")


_ADAPTS = (
    '"{}" adapts to each image of a set at test time and leaves no fixed classifier: measure it in an '
    "experiment (vlmcal run, vlmcal train, vlmcal.run), whose predictions are stored, or load the run that "
    "it starts from: {}"
)


@dataclass(frozen=True, repr=False)
class Prediction:
    """What a classifier says about one image.

    Attributes:
        probabilities: (K,) calibrated probabilities.
        class_names: K names.

    Example:
        >>> Prediction(np.array([0.25, 0.75]), ("cat", "dog"))
        Prediction(dog 0.7500, cat 0.2500)
    """

    probabilities: np.ndarray[Any, Any]
    class_names: tuple[str, ...]

    @property
    def label(self) -> str:
        """Most probable class."""
        return self.class_names[int(self.probabilities.argmax())]

    @property
    def confidence(self) -> float:
        """Its probability, in [0, 1]."""
        return float(self.probabilities.max())

    def top(self, k: int) -> list[tuple[str, float]]:
        """The k most probable classes."""
        order = np.argsort(-self.probabilities, kind="stable")[:k]
        return [(self.class_names[i], float(self.probabilities[i])) for i in order]

    def __repr__(self) -> str:
        return f"Prediction({', '.join(f'{name} {share:.4f}' for name, share in self.top(3))})"


@dataclass(frozen=True, eq=False, repr=False)
class Classifier:
    """A trained learner with the calibrator fitted on its held-out rows.

    Attributes:
        learner: The learner, on its frozen backbone.
        calibrator: Fitted calibrator, or None for raw confidence.
        folder: The run it came from.
        reason: Why there is no calibrator although one was asked for, or "".
        shown: Window, frame and plane of the images it was trained on (:func:`vlmcal.data.frames.as_shown`).
    """

    learner: Learner
    calibrator: Calibrator | None
    folder: Path
    reason: str = ""
    shown: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        calibrator: str = "temperature",
        unchecked: bool = False,
        device: str = "cpu",
    ) -> "Classifier":
        """Load a finished run from its folder, with a calibrator fitted on its held-out rows.

        Where cross-fitting on these rows says that the calibrator raises the log-loss, confidence stays raw
        and ``reason`` says so.

        Args:
            folder: Folder of the run.
            calibrator: Name of the calibrator; "none" for raw confidence.
            unchecked: Use the calibrator whatever cross-fitting says.
            device: Torch device.

        Raises:
            StoreError: The folder holds no finished run.
            SpecError: The run adapts to its images at test time, so that it leaves no fixed classifier.
            DataError: The run has no held-out rows for the calibrator.
        """
        path = Path(folder)
        status = read_status(path)
        from vlmcal.backbones import load_backbone

        head = read_head(path / "learner")
        if head.test_time:
            raise SpecError(
                _ADAPTS.format(head.test_time["method"]["name"], head.test_time["start"])
            )
        recorded = head.backbone
        learner = load_learner(path / "learner", load_backbone(recorded, device=device))
        shown = shown_settings(status["cell"]["data"])
        _, fitted = calibrator_from(calibrator)
        if fitted is not None:
            held_out = path / HELD_OUT
            if not held_out.exists():
                raise StoreError(
                    f"{path} has no held-out predictions to fit {calibrator} on; use "
                    "--calibrator none for raw confidence"
                )
            rows = load_predictions(held_out)
            reason = "" if unchecked else why_not(fitted, rows)
            if reason:
                return cls(learner, None, path, reason, shown)
            fitted.fit(rows)
        return cls(learner, fitted, path, "", shown)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        revision: str | None = None,
        backbone: str | None = None,
        device: str = "cpu",
        offline: bool = False,
    ) -> "Classifier":
        """Load what :meth:`save_pretrained` or :meth:`push_to_hub` wrote.

        Args:
            name: A folder, or a hub id such as "owner/name".
            revision: Branch, tag or commit on the hub.
            backbone: Where the backbone is now; the recorded name by default.
            device: Torch device.
            offline: Only look into the hub's cache.

        Raises:
            StoreError: The folder holds no classifier.
            BackboneError: The hub has no such model, or the backbone is not here or has other weights.
        """
        folder = find_pretrained(str(name), revision=revision, offline=offline)
        learner, calibrator = load_pretrained(folder, device=device, backbone=backbone)
        return cls(learner, calibrator, folder, "", shown_settings(Measured.of(folder, None).about))

    def save_pretrained(
        self, folder: str | Path, *, name: str = "", metadata: Mapping[str, Any] | None = None
    ) -> Path:
        """Write the learner, the calibrator and a model card with the calibration measured on the test rows.

        Args:
            folder: Where it goes.
            name: Of the model on the card; the folder's by default.
            metadata: More metadata of the card, such as ``{"license": "apache-2.0"}``.

        Raises:
            StoreError: The folder cannot be written to.
        """
        target = Path(folder)
        measured = Measured.of(self.folder, self.calibrator)
        save_pretrained(
            self.learner, self.calibrator, measured, target, name=name, metadata=metadata
        )
        return target

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool = False,
        token: str | None = None,
        message: str = "Upload a calibrated classifier",
        metadata: Mapping[str, Any] | None = None,
    ) -> str:
        """Publish on the Hugging Face hub what :meth:`save_pretrained` writes; returns the address.

        Args:
            repo: Hub id such as "owner/name"; made where it is missing.
            private: Whether a new repository is private.
            token: With write access; that of ``hf auth login`` by default.
            message: Of the commit.
            metadata: As in :meth:`save_pretrained`.

        Raises:
            StoreError: The hub refuses or cannot be reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, name=repo, metadata=metadata)
            return push_folder(Path(folder), repo, private=private, token=token, message=message)

    def __repr__(self) -> str:
        size = plural(len(self.class_names), "class")
        return (
            f"Classifier: {self.learner.name}, {size}, calibrator {self.calibrated}, {self.folder}"
        )

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names it chooses from."""
        return self.learner.classes.class_names

    @property
    def calibrated(self) -> str:
        """Name of the calibrator, or "none"."""
        return UNCALIBRATED if self.calibrator is None else self.calibrator.name

    def for_classes(self, class_names: Sequence[str]) -> "Classifier":
        """The same prompt with other class names.

        Raises:
            SpecError: The method learns parameters per class.
        """
        return replace(self, learner=self.learner.for_classes(class_names))

    def predict(self, images: Sequence[str | Path | Image.Image]) -> list[Prediction]:
        """Calibrated probabilities for images, shown as those of the training data were.

        Raises:
            DataError: Images cannot be read (all of them are listed), or the calibrator does not
                apply to these class names.
        """
        return [
            Prediction(row, self.class_names)
            for raw in self.raw(as_shown(images, **self.shown))
            for row in self.calibrate(raw).probabilities()
        ]

    def raw(
        self, images: Sequence[str | Path | Image.Image], *, batch_size: int = 64
    ) -> Iterator[Predictions]:
        """Uncalibrated rows of images, batch by batch, so that memory does not grow with their number.

        Raises:
            DataError: Images cannot be read; lists all of them.
        """
        import torch

        encoder = self.learner.encoder
        looks = self.learner.consumes == "pixels"
        for rows, rendered in self._rendered(images, batch_size):
            pixels = torch.from_numpy(np.stack(rendered)).to(encoder.device, encoder.dtype)
            with torch.no_grad(), encoder.encoding():
                features = encoder.encode_pixels(pixels).to(encoder.dtype)
            labels = torch.zeros(len(rows), dtype=torch.long)
            seen = pixels if looks else None
            batch = Batch(image_features=features, labels=labels, pixels=seen)
            names = [f"image-{row}" for row in rows]
            yield scored(self.learner, [batch], features, labels=None, ids=names)

    def _rendered(
        self, images: Sequence[Any], batch_size: int
    ) -> Iterator[tuple[Sequence[int], list[FloatArray]]]:
        """Preprocessed pixels (3, H, W) by batches of rows; each image is decoded once and then let go of."""
        preprocess, opening = self.learner.encoder.preprocess, Lock()

        def render(row: int) -> FloatArray:
            source = images[row]
            if isinstance(source, Image.Image):
                with opening:  # the same object may stand in several rows
                    source.load()
            return preprocess(open_images([source])[0])

        starts = range(0, len(images), batch_size)
        batches = [range(at, min(at + batch_size, len(images))) for at in starts]
        try:
            yield from rendered_ahead(render, batches)
        except DataError:
            require_readable(images)
            raise

    def calibrate(self, raw: Predictions) -> Predictions:
        """Rows of :meth:`raw` with the calibrator applied, where there is one."""
        return raw if self.calibrator is None else self.calibrator.transform(raw)

    def held_out(self) -> Predictions:
        """Predictions for the held-out rows of the run.

        Raises:
            StoreError: The run has none.
        """
        path = self.folder / HELD_OUT
        if not path.exists():
            raise StoreError(f"{self.folder} has no held-out predictions; calibrate nothing")
        return load_predictions(path)


def fit(
    data: str | Mapping[str, Any] | Dataset | Any,
    *,
    method: str | Mapping[str, Any] = "coop",
    objective: Any = None,
    backbone: str = "pocket",
    shots: int = 16,
    seed: int = 1,
    protocol: str = "all-class",
    store: str | Path = "runs",
    calibrator: str = "temperature",
    device: str = "cpu",
    unchecked: bool = False,
    **train: Any,
) -> Classifier:
    """Prompt-tune on a data set and return a calibrated classifier.

    Args:
        data: Name, path, mapping with options, a :class:`Dataset`, or a ``datasets.Dataset`` with images
            (or several by split).
        method: Method name or mapping with options.
        objective: Name, mapping, or list of these (a sum); None for the method's own.
        backbone: "pocket", a folder, or a hub id.
        shots: Training images per class.
        seed: Seed of sampling and training.
        protocol: "all-class" or "base-to-new".
        store: Where the run is kept; asking for the same run again loads it.
        calibrator: Fitted on the held-out split; "none" for raw confidence.
        device: Torch device.
        unchecked: Train also on data in which ``vlmcal data check`` finds errors.
        **train: Recipe settings such as ``epochs=20`` or ``lr=0.002``.

    Raises:
        VlmcalError: Anything wrong with the data or the settings.
    """
    calibrator_from(calibrator)  # a wrong name fails before anything is trained
    options: dict[str, Any]
    bench = Workbench(device=device, unchecked=unchecked)
    if holds_images(data) or not isinstance(data, str | Path | Mapping):
        images = load_dataset(data)
        options = {"name": images.name}
        bench.add_dataset(options, images)
    else:
        options = as_spec(data)
    spec = parse_spec(
        {
            "data": [{**options, "protocol": protocol}],
            "backbone": backbone,
            "method": [method],
            "objective": [objective],
            "shots": shots,
            "seed": seed,
            "train": train,
        },
        "fit",
    )
    shelf = store_at(store).open()
    (cell,) = plan(spec)
    if cell.adaptation() is not None:
        raise SpecError(_ADAPTS.format(cell.method["name"], "what it starts from"))
    run = run_cell(cell, shelf, bench)
    assert run is not None
    return Classifier.load(shelf.read(run), calibrator=calibrator, device=device)


def run(
    spec: Mapping[str, Any],
    store: str | Path = "runs",
    *,
    device: str = "cpu",
    unchecked: bool = False,
) -> list[Row]:
    """Run an experiment given as a mapping and return its evaluated rows.

    Args:
        spec: As in a YAML file.
        store: Folder for results.
        device: Torch device.
        unchecked: Train also on data in which ``vlmcal data check`` finds errors.

    Raises:
        VlmcalError: The first cell that failed says why; finished cells are kept.
    """
    parsed = parse_spec(spec)
    shelf = store_at(store)
    rows: list[Row] = []
    for result in run_experiment(
        parsed, shelf, bench=Workbench(device=device, unchecked=unchecked)
    ):
        if result.error is not None:
            raise result.error
        assert result.run is not None
        rows += evaluate_run(shelf, result.run, parsed.evaluate)
    return rows


__all__ = ["Classifier", "Prediction", "fit", "predict", "run"]
