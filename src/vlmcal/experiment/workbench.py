"""Data sets, backbones and features that the cells of one process share."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from vlmcal.backbones import load_backbone
from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.cache import image_features
from vlmcal.backbones.compiling import compile_towers
from vlmcal.backbones.views import Draw
from vlmcal.data.base import load_dataset
from vlmcal.data.sound import require_sound
from vlmcal.errors import DataError
from vlmcal.experiment.plan import Cell, run_id
from vlmcal.experiment.protocol import load_target, shares_groups
from vlmcal.hashing import digest, digest_array
from vlmcal.io.fingerprint import dataset_fingerprint
from vlmcal.training.parallel import ALONE, Team
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features

EVALUATION = Draw()


@dataclass
class Workbench:
    """Data sets, backbones and features shared by the cells of one process.

    Attributes:
        device: Torch device for encoding and training.
        cache_dir: Feature cache; None for the default folder.
        progress: Called with (done, total) while images are encoded.
        word_progress: Likewise, while a vocabulary of outlier words is encoded.
        compile: Compile the backbones' blocks; changes the speed, not the id of a run.
        team: The processes that work on the same cells together.
        unchecked: Use data also where ``vlmcal data check`` finds errors.
        reading_progress: Called with (done, total) while images are checked.
        adapting_progress: Likewise, while a test-time method adapts to images.
        shipped: Brings what is loaded to other processes, instead of leaving it to them.
    """

    device: str = "cpu"
    cache_dir: Path | None = None
    progress: Callable[[int, int], None] | None = None
    word_progress: Callable[[int, int], None] | None = None
    compile: bool = False
    team: Team = ALONE
    unchecked: bool = False
    reading_progress: Callable[[int, int], None] | None = None
    adapting_progress: Callable[[int, int], None] | None = None
    shipped: bool = False
    _datasets: dict[str, Dataset] = field(default_factory=dict)
    _given: set[str] = field(default_factory=set)
    _encoders: dict[str, DualEncoder] = field(default_factory=dict)
    _features: dict[str, Features] = field(default_factory=dict)
    _fingerprints: dict[str, str] = field(default_factory=dict)
    _contents: WeakKeyDictionary[Dataset, str] = field(default_factory=WeakKeyDictionary)
    _hashes: dict[str, Any] = field(default_factory=dict)
    _unsound: dict[tuple[str, bool], DataError | None] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs: settings and data from memory; it loads and encodes the rest itself.

        With ``shipped`` it gets what is loaded here, too.
        """
        fresh = Workbench(
            self.device, self.cache_dir, compile=self.compile, unchecked=self.unchecked
        )
        given = {key: self._datasets[key] for key in self._given}
        own: dict[str, Any] = {"_datasets": given, "_given": self._given}
        if self.shipped:
            kept = ("_datasets", "_features", "_fingerprints", "_unsound")
            own |= {key: getattr(self, key) for key in kept}
            # An accelerator of this machine is none of the other one: there, weights come from their file.
            on_cpu = {k: e for k, e in self._encoders.items() if e.device.type == "cpu"}
            own["_encoders"] = on_cpu if self.device == "cpu" else {}
            own["_contents"] = [
                (d, self._contents[d]) for d in self._datasets.values() if d in self._contents
            ]
        return {**vars(fresh), "_contents": [], **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As it was pickled."""
        vars(self).update({**state, "_contents": WeakKeyDictionary(state["_contents"])})

    def dataset(self, cell: Cell) -> Dataset:
        """The cell's data set, loaded and checked once.

        Raises:
            DataError: It cannot be loaded, or the check finds an error and ``unchecked`` is off.
        """
        key = digest(cell.loader)
        if key not in self._datasets:
            self._datasets[key] = load_dataset(cell.loader)
        data = self._datasets[key]
        shared = shares_groups(cell.protocol)
        if not self.unchecked and (key, shared) not in self._unsound:
            self._unsound[key, shared] = self._error(data, shared)
        error = self._unsound.get((key, shared))
        if error is not None:
            raise error
        return data

    def _error(self, data: Dataset, shared: bool) -> DataError | None:
        try:
            require_sound(
                data,
                self.content(data),
                shared_groups=shared,
                cache_dir=self.cache_dir,
                progress=self.reading_progress,
            )
        except DataError as error:
            return error
        return None

    def add_dataset(self, options: Mapping[str, Any], data: Dataset) -> None:
        """Use a data set from memory for cells whose data are ``options``."""
        key = digest(dict(options))
        self._datasets[key] = data
        self._given.add(key)

    def content(self, data: Dataset) -> str:
        """Fingerprint of a data set, whose images are read for it once."""
        if data not in self._contents:
            self._contents[data] = dataset_fingerprint(data, known=self._hashes)
        return self._contents[data]

    def encoder(self, cell: Cell) -> DualEncoder:
        """The cell's backbone, loaded once."""
        return self.encoder_named(cell.backbone)

    def encoder_named(self, name: str) -> DualEncoder:
        """A backbone by its name, loaded once."""
        if name not in self._encoders:
            self._encoders[name] = load_backbone(name, device=self.team.device or self.device)
            if self.compile:
                compile_towers(self._encoders[name])
        return self._encoders[name]

    def features(self, encoder: DualEncoder, data: Dataset, draw: Draw = EVALUATION) -> Features:
        """Cached features of a data set under the views of ``draw``; by default the evaluation view."""
        random = replace(draw, seed=draw.seed if draw.count > 1 else 0)
        key = digest([self.content(data), encoder.fingerprint, asdict(random)])
        if key not in self._features:
            self._features[key] = image_features(
                encoder,
                data,
                views=draw.count,
                seed=draw.seed,
                flip=draw.flip,
                interpolation=draw.interpolation,
                augmix=draw.augmix,
                cache_dir=self.cache_dir,
                progress=self.progress,
            )
        return self._features[key]

    def fingerprint(self, cell: Cell) -> str:
        """Content of the cell's data: images, labels, names, splits, groups and templates."""
        data = self.dataset(cell)
        key = digest(dict(cell.data))
        if key not in self._fingerprints:
            groups = None if data.groups is None else digest_array(data.groups)
            parts = [self.content(data), digest_array(data.splits), groups, data.templates]
            for target in map(load_target, cell.protocol.get("targets", ())):
                parts += [target.name, self.content(target), target.templates]
            self._fingerprints[key] = digest(parts)
        return self._fingerprints[key]

    def run_id(self, cell: Cell) -> str:
        """Content-addressed id of the cell."""
        return run_id(cell, self.fingerprint(cell), self.encoder(cell).fingerprint)
