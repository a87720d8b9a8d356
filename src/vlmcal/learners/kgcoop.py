"""KgCoOp: context optimisation that stays close to the hand-written prompts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from vlmcal.learners.base import LEARNERS, TokenCount
from vlmcal.learners.coop import CoOp


@LEARNERS.register("kgcoop")
class KgCoOp(CoOp):
    """CoOp's shared context, started from "a photo of a" and tied to the zero-shot text features.

    Trained on CE + w (1 - mean_c cos(t_c, f_c)) with f_c the frozen feature of the hand-written prompt;
    the term is the objective ``kgcoop`` (w = 8).

    Source: Yao et al., "Visual-Language Prompt Tuning with Knowledge-guided Context Optimization", CVPR
    2023, arXiv 2303.13283; recipe of the public code (batch 128, 100 epochs).
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "kgcoop")
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 100, "batch_size": 128}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "kgcoop-w8-ep100-b128": {"train": default_train, "source": "KgCoOp, vit_b16_ep100_ctxv1"},
        "kgcoop-w8-ep200-b32": {
            "train": {"epochs": 200, "batch_size": 32},
            "source": "DAC's configuration",
        },
    }

    class Config(CoOp.Config):
        """Options of KgCoOp: those of CoOp, started from words.

        Attributes:
            n_ctx: M, number of context tokens; ignored when ``init`` is given.
            init: Words whose embeddings start the context, or None for random.
        """

        n_ctx: TokenCount = 4
        init: str | None = "a photo of a"
