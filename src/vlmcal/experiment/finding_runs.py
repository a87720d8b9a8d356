"""Several findings in images: a run of two classes for each, put together to rows of findings."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from vlmcal.data.finding_images import FindingImages, read_finding_images
from vlmcal.errors import DataError, SpecError, StoreError
from vlmcal.experiment.engines.base import CellResult
from vlmcal.experiment.extras import scored
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.plan import plan
from vlmcal.experiment.publishing import predict
from vlmcal.experiment.run import Workbench
from vlmcal.experiment.saved import load_learner
from vlmcal.experiment.spec import ExperimentSpec
from vlmcal.experiment.store import Store
from vlmcal.findings.per_label import PerLabel
from vlmcal.findings.zero_shot import by_split
from vlmcal.hashing import digest
from vlmcal.io.image_files import open_images
from vlmcal.io.json_files import read_sealed, write_sealed
from vlmcal.io.multi_label import read_multi_label
from vlmcal.io.multi_label_output import save_multi_label
from vlmcal.learners.base import Batch, Learner
from vlmcal.types.arrays import FloatArray
from vlmcal.types.multi_label import MultiLabel

INDEX: Final = "findings.json"
LOADER: Final = "finding"
_SPLITS: Final = ("val", "calibration", "test")


@dataclass(frozen=True)
class FindingRun:
    """One method trained for each of several findings.

    Attributes:
        folder: Where the rows and the list of runs are.
        method: Name of the method.
        rows: Raw rows by split: val or calibration, and test.
    """

    folder: Path
    method: str
    rows: Mapping[str, MultiLabel]


def finding_data(
    images: FindingImages, path: str | Path, options: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Data settings of each finding, for an experiment.

    Example:
        >>> finding_data(FindingImages(None, ("Edema",), None, ""), "chest.csv", {"uncertain": "ignore"})
        [{'name': 'finding', 'path': 'chest.csv', 'finding': 'Edema', 'uncertain': 'ignore'}]
    """
    return [
        {"name": LOADER, "path": str(path), "finding": name, **options} for name in images.names
    ]


def train_findings(
    spec: ExperimentSpec,
    store: Store,
    bench: Workbench,
    told: Callable[[CellResult], None] = lambda result: None,
) -> Iterator[FindingRun]:
    """Run an experiment on several findings of one table; yields the rows of each method put together.

    Args:
        spec: With data as :func:`finding_data` gives them.
        store: Where runs and rows go.
        bench: Encoder, features and their cache.
        told: Called with each finished run.

    Raises:
        SpecError: Some runs failed; the others are kept. Or a method adapts at test time.
    """
    if any(cell.adaptation() for cell in plan(spec)):
        raise SpecError(
            "several findings need one fixed model for each, and test-time methods adapt to each image; "
            "choose another method"
        )
    done: dict[str, dict[str, str]] = {}
    failed = 0
    last: CellResult | None = None
    for result in run_experiment(spec, store, bench=bench):
        told(result)
        cell = result.cell
        if result.run is None:
            failed += 1
            continue
        about = {k: v for k, v in cell.data.items() if k not in ("finding", "name", "protocol")}
        key = digest([about, cell.backbone, cell.method, cell.objective, cell.seed, cell.shots])
        done.setdefault(key, {})[str(cell.data["finding"])] = result.run
        last = result
    if failed or last is None:
        raise SpecError(
            f"{failed} runs failed (see above); findings with few images need fewer --shots, or leave them "
            "out with ignore. Mend the cause and run the same command again: only what is missing is done"
        )
    loader = {k: v for k, v in last.cell.loader.items() if k not in ("name", "finding")}
    images = read_finding_images(**loader)
    for runs in done.values():
        yield _gathered(runs, images, store, bench)


def _gathered(
    runs: Mapping[str, str], images: FindingImages, store: Store, bench: Workbench
) -> FindingRun:
    cell = store.status(next(iter(runs.values())))["cell"]
    encoder = bench.encoder_named(cell["backbone"])
    learners = {
        name: load_learner(store.read(run) / "learner", encoder) for name, run in runs.items()
    }
    wanted = np.isin(images.dataset.splits, _SPLITS)
    part = replace(
        images,
        dataset=images.dataset.subset(wanted),
        truth=None if images.truth is None else images.truth[wanted],
    )
    features = bench.features(encoder, part.dataset)
    columns = []
    for learner in learners.values():
        pair = replace(part.dataset, class_names=learner.classes.class_names)
        columns.append(predict(learner, pair, features, split="test").probabilities()[:, 1])
    rows = MultiLabel(
        probabilities=np.stack(columns, axis=1),
        labels=part.truth,  # type: ignore[arg-type]
        names=tuple(runs),
        ids=part.dataset.ids,
        groups=part.dataset.groups,
        provenance={"source": images.dataset.name, "cell": cell, "runs": dict(runs)},
    )
    found = by_split(rows, part)
    folder = store.root / "findings" / digest(dict(runs))[:16]
    folder.mkdir(parents=True, exist_ok=True)
    for split, each in found.items():
        save_multi_label(each, folder / f"{split}.csv")
    about = {"method": cell["method"]["name"], "backbone": cell["backbone"]}
    about |= {"findings": list(runs), "runs": list(runs.values())}
    write_sealed(folder / INDEX, about)
    return FindingRun(folder, about["method"], found)


@dataclass(frozen=True, eq=False)
class FindingClassifier:
    """Probabilities of several findings for other images.

    Attributes:
        learners: By finding, on one frozen backbone.
        calibrator: Fitted on the held-out rows, or None for raw probabilities.
    """

    learners: Mapping[str, Learner]
    calibrator: PerLabel | None

    @classmethod
    def load(
        cls, folder: str | Path, *, calibrator: str = "platt", device: str = "cpu"
    ) -> "FindingClassifier":
        """Load what :func:`train_findings` wrote, with a calibrator for each finding.

        Raises:
            StoreError: The folder holds no findings.
            DataError: There are no held-out rows to calibrate on.
        """
        from vlmcal.backbones import load_backbone

        path = Path(folder)
        if not (path / INDEX).is_file():
            raise StoreError(f"{path}: no {INDEX}; give the folder that `vlmcal train` printed")
        about = read_sealed(path / INDEX)
        encoder = load_backbone(about["backbone"], device=device)
        place = path.parent.parent / "runs"
        learners = {
            name: load_learner(place / run / "learner", encoder)
            for name, run in zip(about["findings"], about["runs"], strict=True)
        }
        if calibrator == "none":
            return cls(learners, None)
        held = next((f for n in _SPLITS[:2] if (f := path / f"{n}.csv").is_file()), None)
        if held is None:
            raise DataError(f"{path}: no held-out rows to calibrate on; use --calibrator none")
        rows = read_multi_label(held, blank="ignore", split="val", known_classes=tuple(learners))
        return cls(learners, PerLabel(calibrator).fit(rows.data))

    def raw(self, images: Sequence[Any], *, batch_size: int = 64) -> Iterator[FloatArray]:
        """(n, L) uncalibrated probabilities, batch by batch; each image is encoded once.

        Raises:
            DataError: Images cannot be read.
        """
        encoder = next(iter(self.learners.values())).encoder
        for start in range(0, len(images), batch_size):
            pictures = open_images(images[start : start + batch_size])
            pixels = encoder.pixels(pictures).to(encoder.device, encoder.dtype)
            with torch.no_grad(), encoder.encoding():
                features = encoder.encode_pixels(pixels).to(encoder.dtype)
            labels = torch.zeros(len(pictures), dtype=torch.long)
            batch = Batch(image_features=features, labels=labels, pixels=pixels)
            rows = [
                scored(learner, [batch], features, labels=None).probabilities()[:, 1]
                for learner in self.learners.values()
            ]
            yield np.stack(rows, axis=1)

    def predict(self, images: Sequence[Any]) -> MultiLabel:
        """Calibrated probabilities (N, L) of images.

        Raises:
            DataError: Images cannot be read.
        """
        rows = MultiLabel(
            probabilities=np.concatenate(list(self.raw(images))),
            names=tuple(self.learners),
            ids=[str(image) for image in images],  # type: ignore[arg-type]
            split="test",
        )
        return rows if self.calibrator is None else self.calibrator.transform(rows)
