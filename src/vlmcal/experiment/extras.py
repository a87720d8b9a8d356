"""What predictions carry beside their logits, for post-hoc methods of vision-language models."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.learners.base import Batch, Learner
from vlmcal.types.arrays import FloatArray
from vlmcal.types.predictions import Predictions


@torch.no_grad()
def feature_extras(learner: Learner, image: Tensor, frozen: Tensor) -> dict[str, FloatArray]:
    """Features and zero-shot logits of N images under the names of ``learner``.

    Args:
        learner: The tuned model.
        image: Its normalised image features (N, D), see ``Learner.predict_with_features``.
        frozen: Raw image features (N, D) of the frozen encoder.

    Returns:
        ``image_features`` (N, D) and ``text_features`` (K, D) of the tuned model, and of the frozen one
        ``zero_shot_text_features`` (K, D) and ``zero_shot_logits`` (N, K); float32, features normalised.
        There are no ``text_features`` where a class has several, or one for each image.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> from vlmcal.learners.base import LEARNERS, ClassContext
        >>> classes = ClassContext(load_backbone("pocket"), ("one", "two"), ("a photo of a {}.",))
        >>> kind, image = LEARNERS.get("zero_shot"), torch.eye(64)[:3]
        >>> extras = feature_extras(kind(classes, kind.Config()), image, 2 * image)
        >>> extras["zero_shot_logits"].shape, extras["text_features"].shape
        ((3, 2), (2, 64))
    """
    dtype = learner.parameter_dtype
    unit = normalize(frozen.cpu(), dim=-1).to(dtype)
    zero_shot = learner.classes.text_features.to(dtype).cpu()
    scale = learner.encoder.logit_scale.to(dtype).cpu()
    extras = {
        "image_features": image,
        "zero_shot_text_features": zero_shot,
        "zero_shot_logits": scale * unit @ zero_shot.T,
    }
    if not learner.text_depends_on_image:
        extras["text_features"] = normalize(learner.text_features(), dim=-1)
    return {name: array_of(values) for name, values in extras.items() if values.ndim == 2}


def scored(learner: Learner, batches: Iterable[Batch], frozen: Tensor, **rows: Any) -> Predictions:
    """Predictions of a learner for N images, with what post-hoc methods read beside their logits.

    Args:
        learner: With the class names that are asked about, in evaluation mode.
        batches: The images, in order.
        frozen: Raw image features (N, D) of the frozen encoder.
        **rows: Further fields of :class:`~vlmcal.types.predictions.Predictions`, labels (or None) among them.
    """
    logits, image = learner.predict_with_features(batches)
    with torch.no_grad():
        signals = {name: array_of(values) for name, values in learner.signals(image).items()}
    return Predictions(
        logits=array_of(logits),
        class_names=learner.classes.class_names,
        extras={**feature_extras(learner, image, frozen), **signals},
        **rows,
    )


def array_of(values: Tensor) -> FloatArray:
    """A tensor as a float32 array, wherever and in whatever type it is."""
    array: FloatArray = np.asarray(values.detach().float().cpu().numpy())
    return array
