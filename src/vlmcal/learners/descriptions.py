"""Sentences that describe classes, such as those a language model wrote, and their text features."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.backbones.base import DualEncoder
from vlmcal.backbones.zero_shot import clean_name
from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.io.json_text import parse_json
from vlmcal.io.unicode_text import read_text
from vlmcal.learners.base import Learner, Options

Descriptions: TypeAlias = dict[str, tuple[str, ...]]


class Described(Options):
    """Options with the field ``descriptions``, which may name a file: it is read once, here."""

    if TYPE_CHECKING:
        descriptions: Mapping[str, tuple[str, ...]] | str | None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.descriptions is not None:
            object.__setattr__(self, "descriptions", read_descriptions(self.descriptions))


def read_descriptions(given: Any) -> Descriptions:
    """Class name -> sentences, from a mapping or a JSON file of one; names are cleaned.

    Raises:
        SpecError: The file cannot be read, or it is not a mapping from names to lists of sentences.

    Example:
        >>> read_descriptions({"annual_crop": ["Rows of green.", "A field."]})
        {'annual crop': ('Rows of green.', 'A field.')}
    """
    where = "descriptions"
    if isinstance(given, (str, Path)):
        where = f"descriptions {given}"
        try:
            given = parse_json(read_text(Path(given)))
        except (OSError, ValueError, DataError) as error:
            raise SpecError(f"{where}: cannot be read as JSON ({error})") from error
    if not isinstance(given, Mapping) or not given:
        raise SpecError(f"{where}: expected a mapping from class names to lists of sentences")
    read: Descriptions = {}
    for name, sentences in given.items():
        fits = isinstance(sentences, (list, tuple)) and len(sentences) > 0
        if not fits or not all(isinstance(text, str) and text.strip() for text in sentences):
            raise SpecError(f'{where}: "{name}" needs a list of sentences, got {sentences!r}')
        read[clean_name(str(name))] = tuple(sentences)
    return read


def sentence_features(
    encoder: DualEncoder, class_names: Sequence[str], descriptions: Mapping[str, Sequence[str]]
) -> list[Tensor]:
    """Per class, the normalised text features (T_c, D) of its sentences, in the given order.

    Raises:
        SpecError: A class has no sentences; names the nearest one that has.
    """
    features = []
    for name in map(clean_name, class_names):
        if name not in descriptions:
            raise SpecError(
                f'descriptions: none for class "{name}"; {nearest(name, descriptions)} '
                "(every class needs at least one sentence)"
            )
        raw = encoder.encode_texts(list(descriptions[name]))
        wide = torch.promote_types(raw.dtype, torch.float32)
        features.append(normalize(raw.to(wide), dim=-1))
    return features


def stacked_sentence_features(
    encoder: DualEncoder, class_names: Sequence[str], descriptions: Mapping[str, Sequence[str]]
) -> Tensor:
    """Features (T, K, D) of the first T sentences of each class, with T the fewest of any class.

    Raises:
        SpecError: A class has no sentences.
    """
    sets = sentence_features(encoder, class_names, descriptions)
    fewest = min(len(features) for features in sets)
    return torch.stack([features[:fewest] for features in sets], dim=1)


class SentenceTargets(Learner):
    """A learner whose frozen text features are those of its option ``descriptions``, where it is given."""

    config: Any
    _sentences: Tensor | None = None

    @property
    def frozen_template_features(self) -> Tensor:
        """Frozen features of the sentences, (T, K, D), normalised; of the data's templates without them."""
        if self.config.descriptions is None:
            return super().frozen_template_features
        if self._sentences is None:
            names, given = self.classes.class_names, self.config.descriptions
            self._sentences = stacked_sentence_features(self.encoder, names, given)
        return self._sentences
