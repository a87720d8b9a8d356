"""A text tower that is changed under the fixed words of one template."""

from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import DataError
from vlmcal.learners.base import Learner
from vlmcal.text_encoding import PromptLayout, encode_prompts


class FixedWords(Learner):
    """Text features of the prompts of ``config.template`` under the text tower as it is changed.

    Attributes:
        layout: The prompts of the current classes.
    """

    layout: PromptLayout

    @abstractmethod
    def changed_text(self) -> tuple[DualEncoder, bool]:
        """The encoder with the changed text tower, and whether prompts may share what begins them all."""

    def prompts(self, names: Sequence[str]) -> PromptLayout:
        """The template with each of the names."""
        prefix, suffix = self.config.template.split("{}")
        return PromptLayout.build(
            self.encoder, names, n_ctx=0, prefix=prefix.strip(), suffix=suffix
        )

    def text_features(self, image_features: Tensor | None = None) -> Tensor:
        """Raw features of the template's prompts, (K, D)."""
        return self._text(self.layout)

    def outlier_features(self, names: Sequence[str]) -> Tensor:
        """Raw features (O, D) of other names."""
        return self._text(self.prompts(names))

    def _text(self, layout: PromptLayout) -> Tensor:
        encoder = self.encoder
        changed, share = self.changed_text()
        none = torch.zeros(0, encoder.text_width, device=encoder.device, dtype=encoder.dtype)
        return encode_prompts(changed, layout, none, share_prefix=share)


def require_place(template: str, by: str) -> None:
    """Refuse a template without one place for the name.

    Raises:
        DataError: It has none or several.
    """
    if template.count("{}") != 1:
        raise DataError(f'{by}: template needs exactly one {{}}, got "{template}"')
