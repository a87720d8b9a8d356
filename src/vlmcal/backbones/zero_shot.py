"""Text features of hand-written prompts: the zero-shot classifier of a dual encoder."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.errors import BackboneError, DataError
from vlmcal.io.image_files import open_images
from vlmcal.types.arrays import FloatArray, Numbers
from vlmcal.types.multi_label import MultiLabel


def clean_name(name: str) -> str:
    """A class name as models read it: underscores and runs of spaces become single spaces.

    Example:
        >>> clean_name("annual_crop  land")
        'annual crop land'
    """
    return " ".join(name.replace("_", " ").split())


def raw_text_features(
    encoder: FeatureEncoder, class_names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """Text features (T, K, D) of every template filled with every class name, not normalised.

    At least float32, whatever the encoder computes in.

    Args:
        encoder: The frozen model.
        class_names: K names; underscores are read as spaces.
        templates: T prompts with one ``{}`` for the name.

    Raises:
        DataError: A template lacks ``{}``, there are no names, or a prompt is too long.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> tuple(raw_text_features(encoder, ["zero", "one"], ["a {}."]).shape)
        (1, 2, 64)
    """
    wrong = [template for template in templates if template.count("{}") != 1]
    if wrong or not templates or not class_names:
        raise DataError(
            "expected class names and templates with exactly one {} in each, got "
            f"{wrong or 'none'}"
        )
    names = [clean_name(name) for name in class_names]
    texts = [template.replace("{}", name) for template in templates for name in names]
    features = encoder.encode_texts(texts)
    wide = torch.promote_types(features.dtype, torch.float32)
    return features.to(wide).reshape(len(templates), len(names), -1)


def text_features(
    encoder: FeatureEncoder, class_names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """L2-normalised text features (T, K, D) of every template filled with every class name.

    Args and errors as for :func:`raw_text_features`.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> tuple(text_features(encoder, ["zero", "one"], ["a {}.", "the {}.", "{}"]).shape)
        (3, 2, 64)
    """
    return normalize(raw_text_features(encoder, class_names, templates), dim=-1)


def require_read_out(encoder: FeatureEncoder, negative: str | None) -> None:
    """Refuse probabilities of single sentences from a model whose scores are none.

    Raises:
        BackboneError: No negative sentence, and a model without the bias of a sigmoid loss.
    """
    if negative is None and encoder.logit_bias is None:
        raise BackboneError(
            f"{encoder.name}: no bias of a sigmoid loss, so its scores are no probabilities by themselves; "
            'give a negative sentence such as "a chest X-ray without {}." to choose between two'
        )


def finding_probabilities(
    encoder: FeatureEncoder,
    features: Tensor,
    findings: Sequence[str],
    *,
    template: str,
    negative: str | None = None,
) -> tuple[FloatArray, str]:
    """Probabilities (N, L) of findings from image features (N, D), and how they were read off, in words.

    Args and errors as :func:`zero_shot_findings`.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> p, how = finding_probabilities(
        ...     load_backbone("pocket"), torch.ones(2, 64), ["three"], template="a {}.", negative="no {}.")
        >>> p.shape, how
        ((2, 1), 'softmax over the two sentences')
    """
    require_read_out(encoder, negative)
    sentences = [template] if negative is None else [template, negative]
    text = text_features(encoder, findings, sentences)
    image = normalize(features.to(text.device, text.dtype), dim=-1)
    scaled = encoder.logit_scale.to(text.dtype) * (image @ text.flatten(0, 1).T)
    if negative is None:
        odds = scaled + (encoder.logit_bias or 0.0)
        how = "sigmoid of each pair, with the bias of the model"
    else:
        count = len(findings)
        odds = scaled[:, :count] - scaled[:, count:]
        how = "softmax over the two sentences"
    return torch.sigmoid(odds.double()).detach().cpu().numpy(), how


def zero_shot_findings(
    encoder: FeatureEncoder,
    images: Sequence[Any],
    findings: Sequence[str],
    *,
    template: str,
    negative: str | None = None,
    labels: Numbers | None = None,
    ids: Sequence[str] | None = None,
    batch_size: int = 64,
) -> MultiLabel:
    """Independent probabilities (N, L) of findings that do not exclude each other, without any training.

    With ``negative``, each finding is a choice between two sentences, P_l = softmax over the pair =
    sigmoid(s <f, t_l+> - s <f, t_l->). Without it, the pair likelihood of a sigmoid model,
    P_l = sigmoid(s <f, t_l> + b), whose bias was fitted against the pairs of its training and is usually far
    too low: calibrate it (``vlmcal calibrate --multi-label``).

    Args:
        encoder: The frozen model.
        images: N paths, arrays or PIL images.
        findings: L names.
        template: Sentence with one ``{}`` that says the finding is there.
        negative: Sentence that says it is not.
        labels: (N, L) truths, where they are known.
        ids: N names of the rows; default: the paths as they are, else row numbers.
        batch_size: Images at once.

    Raises:
        DataError: Images that cannot be read, or sentences without ``{}``.
        BackboneError: No negative sentence, and a model without the bias of a sigmoid loss.

    Source: Zhai et al., "Sigmoid loss for language image pre-training", ICCV 2023, arXiv 2303.15343; pairs
    of sentences: Tiu et al., "Expert-level detection of pathologies ... via self-supervised learning", Nature
    Biomedical Engineering 2022.

    Example:
        >>> import numpy as np
        >>> from vlmcal.backbones import load_backbone
        >>> picture = np.zeros((28, 28, 3), dtype=np.uint8)
        >>> rows = zero_shot_findings(
        ...     load_backbone("pocket"), [picture], ["three", "four"], template="a {}.", negative="no {}.")
        >>> rows.names, rows.probabilities.shape
        (('three', 'four'), (1, 2))
    """
    require_read_out(encoder, negative)
    if not len(images):
        raise DataError("no images")
    parts = [
        encoder.encode_images(open_images(images[start : start + batch_size]))
        for start in range(0, len(images), batch_size)
    ]
    probabilities, how = finding_probabilities(
        encoder, torch.cat(parts), findings, template=template, negative=negative
    )
    named = all(isinstance(image, str | Path) for image in images)
    return MultiLabel(
        probabilities=probabilities,
        labels=labels,  # type: ignore[arg-type]
        names=tuple(map(str, findings)),
        ids=ids or ([str(image) for image in images] if named else None),  # type: ignore[arg-type]
        split="test",
        provenance={
            "backbone": encoder.name,
            "read-out": how,
            "template": template,
            "negative": negative,
        },
    )
