"""Findings in images without any training: between two sentences, or by the bias of a sigmoid model."""

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal

from vlmcal.data.finding_images import FindingImages
from vlmcal.errors import BackboneError
from vlmcal.types.multi_label import MultiLabel
from vlmcal.types.split import as_split

if TYPE_CHECKING:
    from vlmcal.backbones.base import FeatureEncoder

# As Tiu et al. (2022) ask for each pathology: "cardiomegaly" against "no cardiomegaly".
POSITIVE: Final = "{}"
NEGATIVE: Final = "no {}"


def score_findings(
    encoder: "FeatureEncoder",
    images: FindingImages,
    *,
    template: str = POSITIVE,
    negative: str | None = NEGATIVE,
    cache_dir: str | os.PathLike[str] | Literal[False] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, MultiLabel]:
    """Zero-shot probabilities of the findings of each image, by split.

    As :func:`vlmcal.backbones.zero_shot.zero_shot_findings`, with image features from the cache.

    Args:
        encoder: The frozen model.
        images: Images and the names of the findings; see :mod:`vlmcal.data.finding_images`.
        template: Sentence with one ``{}`` that says the finding is there.
        negative: Sentence that says it is not; None for the pair likelihood of a sigmoid model.
        cache_dir: As :func:`vlmcal.backbones.cache.image_features`.
        progress: Called with (images done, N).

    Raises:
        BackboneError: No negative sentence, and a model without the bias of a sigmoid loss.
        DataError: Sentences without ``{}``, or images that cannot be read.
    """
    import torch  # not with the methods that stand beside this one, which need none

    from vlmcal.backbones.cache import image_features
    from vlmcal.backbones.zero_shot import finding_probabilities, require_read_out

    require_read_out(encoder, negative)
    if encoder.family == "precomputed":
        raise BackboneError(
            f"{encoder.name}: holds features and no pictures or sentences; findings need an encoder of both"
        )
    rows = images.dataset
    encoded = image_features(encoder, rows, cache_dir=cache_dir, progress=progress)
    p, how = finding_probabilities(
        encoder,
        torch.tensor(encoded.image_features[:, 0]),
        images.names,
        template=template,
        negative=negative,
    )
    every = MultiLabel(
        probabilities=p,
        labels=images.truth,  # type: ignore[arg-type]
        names=images.names,
        ids=rows.ids,
        groups=rows.groups,
        provenance={
            "source": rows.name,
            "backbone": encoder.name,
            "read-out": how,
            "template": template,
            "negative": negative,
        },
    )
    return by_split(every, images)


def by_split(rows: MultiLabel, images: FindingImages) -> dict[str, MultiLabel]:
    """The rows of each split, tagged by it, in the order in which splits occur."""
    splits = images.dataset.splits
    return {
        name: replace(rows.subset(splits == name), split=as_split(name))
        for name in dict.fromkeys(splits.tolist())
    }
