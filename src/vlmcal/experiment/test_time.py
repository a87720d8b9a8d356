"""Test-time methods in experiments: their views, the order of the images, and what is stored of them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.views import Draw, draw_views
from vlmcal.errors import SpecError
from vlmcal.experiment.extras import array_of, feature_extras
from vlmcal.experiment.plan import Cell
from vlmcal.hashing import canonical
from vlmcal.io.images import read_image
from vlmcal.learners.base import Batch, Learner
from vlmcal.learners.open_towers import require_open
from vlmcal.seeding import numpy_generator
from vlmcal.test_time.base import Adaptation
from vlmcal.types.arrays import IntArray
from vlmcal.types.dataset import Dataset
from vlmcal.types.features import Features
from vlmcal.types.predictions import Predictions

_IMAGES = 16  # whose views are in memory at a time
_AT_ONCE = 64  # views that a tuned image tower encodes at a time

Progress = Callable[[int, int], None]


def require_adaptable(encoder: DualEncoder, adaptation: Adaptation) -> None:
    """Refuse a backbone that a test-time method cannot work on, before anything is encoded.

    Raises:
        BackboneError: Its text tower takes no tokens.
        SpecError: Its logits are no similarities, or there are no pictures to draw views of.
    """
    require_open(encoder, adaptation.opened, adaptation.name)
    if encoder.scores != "softmax":
        raise SpecError(
            f'"{adaptation.name}" adapts similarities, so that scores={encoder.scores} of {encoder.name} '
            "cannot be kept; leave out scores=..."
        )
    if adaptation.draw.count and encoder.family == "precomputed":
        raise SpecError(
            f'"{adaptation.name}" draws {adaptation.draw.count} random views of each picture, and '
            f"{encoder.name} holds features of one view; set views: 1, or name the pictures and a backbone"
        )


def about_adaptation(cell: Cell, adaptation: Adaptation, start: str) -> dict[str, Any]:
    """What stored predictions say of how they were adapted.

    ``method`` is what a calibrator must have been fitted on to be applied to them.

    Args:
        cell: The cell.
        adaptation: Its method.
        start: Id of the run whose model is adapted.
    """
    about: dict[str, Any] = {"method": canonical(cell.method), "start": start, "labels": "none"}
    if adaptation.online:
        about["order"] = {"seed": cell.seed or 0, "rows": "shuffled", "parts": "each on its own"}
    return about


def seeded_order(adaptation: Adaptation, n: int, seed: int | None) -> IntArray:
    """The order (N,) in which the images of a part come; that of the data where it does not matter.

    Example:
        >>> from vlmcal.test_time.tda import TDA
        >>> seeded_order(TDA(), 4, seed=1).tolist()
        [1, 3, 0, 2]
    """
    if not adaptation.online:
        return np.arange(n)
    order: IntArray = numpy_generator(seed or 0, "stream").permutation(n)
    return order


def adapt(
    adaptation: Adaptation,
    learner: Learner,
    data: Dataset,
    centre: Features,
    random: Features | None,
    order: IntArray,
    progress: Progress | None = None,
    **rows: Any,
) -> Predictions:
    """Predictions of a test-time method for a data set, in the data set's order.

    Beside the adapted scores they carry the logits before (``unadapted_logits``), zero-shot's with the data's
    templates (``zero_shot_logits``), and the place of each image in the stream (``stream_position``).

    Args:
        adaptation: The method.
        learner: Its start, with the data set's class names, in evaluation mode.
        data: N images; their labels are stored and never looked at.
        centre: Frozen features of the evaluation views.
        random: Those of the random views, at least as many as are asked for; None where there are none.
        order: (N,) the rows as they come.
        progress: Called with (images done, N).
        **rows: Further fields of :class:`~vlmcal.types.predictions.Predictions`.
    """
    first: list[Tensor] = []

    def views() -> Iterator[Tensor]:
        for begin in range(0, len(order), _IMAGES):
            part = order[begin : begin + _IMAGES]
            shown = _views(learner, data, centre, random, adaptation.draw, part)
            first.append(shown[:, 0].cpu())
            yield shown
            if progress is not None:
                progress(min(begin + _IMAGES, len(order)), len(order))

    adapted = adaptation.adapt(learner, views())
    back = np.argsort(order)  # from the data set's rows to their places in the stream
    frozen = torch.from_numpy(np.array(centre.image_features[:, 0]))
    extras = feature_extras(learner, torch.cat(first)[back], frozen)
    # The text features that made the scores are other ones for each image.
    extras.pop("text_features", None)
    extras["unadapted_logits"] = array_of(adapted.before[back])
    extras |= {name: array_of(values[back]) for name, values in adapted.extras.items()}
    if adaptation.online:
        extras["stream_position"] = back.astype(np.float32)
    return Predictions(
        logits=array_of(adapted.scores[back]),
        kind=adapted.kind,
        labels=data.labels,
        ids=data.ids,
        groups=data.groups,
        class_names=learner.classes.class_names,
        extras=extras,
        **rows,
    )


@torch.no_grad()
def _views(
    learner: Learner,
    data: Dataset,
    centre: Features,
    random: Features | None,
    draw: Draw,
    rows: IntArray,
) -> Tensor:
    """Normalised features (B, V, D) of some images under the learner, the evaluation view first."""
    device = learner.encoder.device
    parts = [centre.image_features[rows]]
    if random is not None:
        parts.append(random.image_features[rows, : draw.count])
    frozen = torch.from_numpy(np.concatenate(parts, axis=1)).to(device)
    flat, raw = frozen.flatten(0, 1), []
    pixels = _pixels(learner, data, draw, rows) if learner.consumes == "pixels" else None
    for begin in range(0, len(flat), _AT_ONCE):
        piece = slice(begin, begin + _AT_ONCE)
        features = flat[piece]
        batch = Batch(
            image_features=features,
            labels=torch.zeros(len(features), dtype=torch.long, device=device),
            pixels=None if pixels is None else pixels[piece].to(device),
        )
        raw.append(normalize(learner.image_features(batch).to(learner.parameter_dtype), dim=-1))
    return torch.cat(raw).view(*frozen.shape[:2], -1)


def _pixels(learner: Learner, data: Dataset, draw: Draw, rows: IntArray) -> Tensor:
    """Pixels (B V, 3, H, W) of the same views, for a learner that changes the image tower."""
    recipe, pictures = learner.encoder.preprocess, []
    for row in rows.tolist():
        image, item = read_image(data.images[row]), str(data.ids[row])
        pictures.append(draw_views(image, Draw(), recipe, item)[0])
        if draw.count:
            pictures.append(draw_views(image, at_least_two(draw), recipe, item)[0][: draw.count])
    return torch.from_numpy(np.concatenate(pictures))


def at_least_two(draw: Draw) -> Draw:
    """The same random views and, for a single one, another: a count of 1 is read as the centre view."""
    return replace(draw, count=max(draw.count, 2))
