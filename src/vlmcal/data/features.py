"""Data sets of precomputed image features, as clinics and organisers of challenges hand them out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vlmcal.data.assemble import as_templates
from vlmcal.data.base import DATASETS, accepts
from vlmcal.data.splits import stratified_split
from vlmcal.errors import DataError
from vlmcal.io.feature_files import KEY, holds_features, read_features
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed


@DATASETS.register("features")
@accepts(holds_features)
def features(
    path: str | Path,
    *,
    class_names: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
) -> Dataset:
    """Load features instead of images, with labels, from an NPZ file or a folder of arrays.

    Keys (or files ``<key>.npy``, ``<key>.txt``): ``image_features`` (N, D), ``labels`` (N,), ``class_names``
    (K,), and if wanted ``splits``, ``groups``, ``ids``. Name the same path as the backbone: it gives the
    text features (``text_features``; see :mod:`vlmcal.backbones.families.precomputed`).

    Args:
        path: The file or folder.
        class_names: K names in label order, where the file has none.
        templates: Prompts with one ``{}``; by default the bare name, under which text features are found.
        name: Name for reports; default: the file name.
        split_seed: Seed of the split 50/20/30 that is drawn if there is none.

    Raises:
        DataError: Unreadable, or keys, shapes or labels that do not fit.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "clinic.npz")
        >>> np.savez(file, image_features=np.eye(4, dtype=np.float32), labels=[0, 1, 0, 1],
        ...          class_names=["ill", "well"], splits=["train", "train", "test", "test"])
        >>> data = features(file)
        >>> data.images.shape, data.templates, len(data.of_split("test"))
        ((4, 4), ('{}',), 2)
    """
    file = Path(path).expanduser()
    content = read_features(file)
    names = class_names if class_names is not None else content.get("class_names")
    if names is None or "labels" not in content:
        missing = "labels" if "labels" not in content else "class_names"
        raise DataError(
            f"{file}: no {missing}; what a feature or a number stands for is not guessed"
        )
    rows = np.ascontiguousarray(content[KEY], dtype=np.float32)
    labels = content["labels"].reshape(len(content["labels"]), -1)[:, 0]
    groups = content.get("groups")
    drawn = "splits" not in content
    return Dataset(
        name=name or file.stem,
        images=rows,  # type: ignore[arg-type]
        labels=labels,
        splits=stratified_split(labels, groups=groups, seed=split_seed)
        if drawn
        else content["splits"],
        class_names=tuple(map(str, names)),
        ids=content.get("ids", np.arange(len(rows))).astype(np.str_),
        templates=("{}",) if templates is None else as_templates(templates),
        groups=groups,
    )
