"""Corruptions of test images by kind and severity: another distribution with the same classes."""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from vlmcal.data.base import DATASETS, load_dataset
from vlmcal.data.corruptions import SIDE, Kind, corrupt
from vlmcal.data.corruptions import STRENGTHS as STRENGTHS
from vlmcal.errors import DataError
from vlmcal.io.images import read_image
from vlmcal.seeding import numpy_generator
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed


@DATASETS.register("corrupted")
def corrupted(
    of: Any, *, kind: Kind = "gaussian_noise", severity: int = 1, seed: Seed = 0
) -> Dataset:
    """Another data set with its test images under a corruption: trained on clean images, tested on others.

    As a target of the protocols "domain-generalisation" and "cross-dataset", or by itself. Severity 0 leaves
    the images as they are. Files are brought to 224 pixels first (shorter side, centre), as in
    ImageNet-C, and only the test images of files are kept; arrays keep their size, and the blur goes with it.
    Noise is drawn for each image by its id. All fifteen kinds of ImageNet-C and its ``gaussian_blur``, with
    the released strengths; where they deviate: :func:`~vlmcal.data.corruptions.corrupt`.

    Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions and
    perturbations", ICLR 2019, arXiv 1903.12261.

    Args:
        of: The data set, as :func:`~vlmcal.data.base.load_dataset` takes it.
        kind: The corruption.
        severity: 0 to 5.
        seed: Of the noise.

    Raises:
        DataError: A severity out of range, or no test images.

    Example:
        >>> data = corrupted("digits", kind="contrast", severity=5)
        >>> data.name, len(data), bool((data.images[-1] > 200).any())
        ('digits-contrast-5', 1797, False)
    """
    if isinstance(severity, bool) or not 0 <= severity <= 5:
        raise DataError(f"corrupted: expected a severity from 0 to 5, got {severity}")
    clean = load_dataset(of)
    name = f"{clean.name}-{kind}-{severity}"
    if severity == 0:
        return replace(clean, name=name)
    if not (clean.splits == "test").any():
        raise DataError(f'corrupted: "{clean.name}" has no test images')
    files = not isinstance(clean.images, np.ndarray)
    kept = clean.of_split("test") if files else clean
    changed = []
    for place, row in enumerate(kept.ids.tolist()):
        image = read_image(kept.images[place])
        if files:
            image = ImageOps.fit(image, (SIDE, SIDE), Image.Resampling.BICUBIC)
        if kept.splits[place] != "test":
            changed.append(np.asarray(image))
            continue
        draw = numpy_generator(seed, "corrupted", kind, severity, row)
        changed.append(corrupt(image, kind, severity, draw))
    return replace(kept, name=name, images=np.stack(changed))
