"""A frozen encoder together with a list of class names and its zero-shot text features."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final, Self
from weakref import WeakKeyDictionary

from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.zero_shot import raw_text_features

# Runs of the same data set ask for the same names again; of each encoder the latest few are kept.
_KEPT: Final = 8
_KNOWN: Final[WeakKeyDictionary[DualEncoder, dict[tuple[tuple[str, ...], ...], Tensor]]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True, eq=False)
class ClassContext:
    """What a learner is built on; text features are encoded when first asked for, and once.

    Attributes:
        encoder: The frozen dual encoder.
        class_names: K names; underscores are read as spaces.
        templates: T zero-shot prompts with one ``{}`` each.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> classes = ClassContext(load_backbone("pocket"), ("zero", "one"), ("a {}.", "the {}."))
        >>> tuple(classes.template_features.shape), tuple(classes.text_features.shape)
        ((2, 2, 64), (2, 64))
    """

    encoder: DualEncoder
    class_names: tuple[str, ...]
    templates: tuple[str, ...]

    @cached_property
    def raw_template_features(self) -> Tensor:
        """Text features per template before normalisation, (T, K, D), at least float32."""
        known = _KNOWN.setdefault(self.encoder, {})
        key = self.class_names, self.templates
        if key not in known:
            known[key] = raw_text_features(self.encoder, *key)
            if len(known) > _KEPT:
                del known[next(iter(known))]
        return known[key]

    @cached_property
    def template_features(self) -> Tensor:
        """Text features per template, normalised, (T, K, D)."""
        return normalize(self.raw_template_features, dim=-1)

    @cached_property
    def raw_text_features(self) -> Tensor:
        """Mean over templates of the raw features, (K, D)."""
        return self.raw_template_features.mean(dim=0)

    @cached_property
    def text_features(self) -> Tensor:
        """Mean over templates of the normalised features, normalised again, (K, D)."""
        return normalize(self.template_features.mean(dim=0), dim=-1)

    def for_classes(self, class_names: Sequence[str]) -> Self:
        """The same encoder and templates with other names."""
        return replace(self, class_names=tuple(class_names))
