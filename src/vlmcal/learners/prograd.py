"""ProGrad: context optimisation whose gradient never works against the zero-shot model."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, TokenCount
from vlmcal.learners.coop import CoOp
from vlmcal.learners.initial import context_from_words


@LEARNERS.register("prograd")
class ProGrad(CoOp):
    """CoOp's shared context, trained with the projected gradient of the objective ``prograd``.

    The context has M tokens: zeros, and in the last places the embeddings of ``init``, so that the prompt
    starts near the hand-written one. Templates should end with the class name ("a type of pet, a photo of
    a {}."), as the authors re-ordered them. They count words where tokens are meant, so that a comma in a
    template leaves its last word outside the learned tokens; ``prefix: a`` with a shorter ``init`` gives
    their prompt.

    Source: Zhu et al., "Prompt-aligned Gradient for Prompt Tuning", ICCV 2023, arXiv 2205.14865; recipe
    of the public code (M = 16, 100 epochs, batch 32).
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "prograd")
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 100}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "prograd-m16-ep100": {"train": default_train, "source": "ProGrad, and DAC's re-run"}
    }

    class Config(CoOp.Config):
        """Options of ProGrad: those of CoOp.

        Attributes:
            n_ctx: M, number of context tokens, whatever ``init`` says.
            init: Words in the last places of the context, or None for a random context.
        """

        n_ctx: TokenCount = 16
        init: str | None = "a photo of a"

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.init and self.class_specific:
                raise SpecError(
                    "prograd: a class-specific context starts at random; set init: null with it"
                )

    def _start(self, generator: torch.Generator | None) -> Tensor:
        if not self.config.init:
            return super()._start(generator)
        words = context_from_words(self.encoder, self.config.init).to(self.parameter_dtype)
        free = self.config.n_ctx - len(words)
        if free < 0:
            raise SpecError(
                f'prograd: init "{self.config.init}" has {len(words)} tokens, more than n_ctx = '
                f"{self.config.n_ctx}; raise n_ctx or shorten init"
            )
        return torch.cat([words.new_zeros(free, words.shape[1]), words])
