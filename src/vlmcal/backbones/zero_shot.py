"""Text features of hand-written prompts: the zero-shot classifier of a dual encoder."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.errors import DataError


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


def mean_text_features(
    encoder: FeatureEncoder, class_names: Sequence[str], templates: Sequence[str]
) -> Tensor:
    """L2-normalised mean (K, D) over templates of normalised text features: prompt ensembling.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> mean = mean_text_features(load_backbone("pocket"), ["zero", "one"], ["a {}.", "the {}."])
        >>> mean.norm(dim=1).round(decimals=5).tolist()
        [1.0, 1.0]

    Source:
        Radford et al., Learning Transferable Visual Models From Natural Language Supervision,
        ICML 2021, arXiv:2103.00020, section 3.1.4.
    """
    return normalize(text_features(encoder, class_names, templates).mean(dim=0), dim=-1)
