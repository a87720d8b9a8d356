"""BiomedCoOp: context optimisation held to an ensemble of sentences about each class."""

from collections.abc import Mapping
from typing import Any, ClassVar

from vlmcal.learners.base import LEARNERS, TokenCount
from vlmcal.learners.coop import CoOp
from vlmcal.learners.descriptions import Described, SentenceTargets

# Data set -> (consistency, distillation, tau) of the released configurations.
_FEW_SHOT = {
    "btmri": (0.5, 0.25, 1.5),
    "busi": (0.75, 0.75, 1.5),
    "chmnist": (0.25, 0.25, 1.5),
    "covid": (0.5, 2.0, 1.5),
    "ctkidney": (1.0, 0.5, 1.5),
    "dermamnist": (5.0, 20.0, 1.5),
    "kneexray": (5.0, 20.0, 1.75),
    "kvasir": (0.75, 0.75, 1.5),
    "lungcolon": (0.5, 0.5, 1.5),
    "octmnist": (1.0, 0.75, 1.5),
    "retina": (0.25, 0.25, 1.5),
}
_BASE_TO_NEW = {
    "btmri": (0.5, 0.5, 1.25),
    "chmnist": (10.0, 1.0, 1.5),
    "covid": (20.0, 1.0, 1.25),
    "ctkidney": (10.0, 0.25, 1.25),
    "dermamnist": (2.0, 0.5, 1.5),
    "kneexray": (0.25, 3.0, 1.25),
    "kvasir": (1.0, 1.0, 1.25),
    "lungcolon": (0.25, 0.75, 1.25),
    "octmnist": (0.75, 0.5, 1.5),
    "retina": (5.0, 1.0, 2.0),
}


def _preset(kind: str, epochs: int, weights: tuple[float, float, float]) -> dict[str, Any]:
    consistency, distillation, tau = weights
    term = {
        "name": "biomedcoop",
        "consistency": consistency,
        "distillation": distillation,
        "tau": tau,
    }
    return {
        "train": {"epochs": epochs, "views": "epochs", "flip": False},
        "objective": ["ce", term],
        "source": f"BiomedCoOp, configs/trainers/BiomedCoOp/{kind}",
    }


@LEARNERS.register("biomedcoop")
class BiomedCoOp(SentenceTargets, CoOp):
    """CoOp's shared context from "a photo of a", trained with the objective ``biomedcoop``.

    The sentences (50 for each class in the public code, written by a language model) come from
    ``descriptions``; without them the data's templates take their place. Prediction is CoOp's.

    Source: Koleilat et al., "BiomedCoOp: Learning to Prompt for Biomedical Vision-Language Models", CVPR
    2025, arXiv 2411.15232; recipe and weights of the public code (lr 0.0025, batch 4, 100 epochs, random
    crops without mirroring).
    """

    default_objective: ClassVar[tuple[Any, ...]] = ("ce", "biomedcoop")
    default_train: ClassVar[Mapping[str, Any]] = {"epochs": 100, "batch_size": 4, "lr": 2.5e-3}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        **{f"biomedcoop-{k}": _preset("few_shot", 100, v) for k, v in _FEW_SHOT.items()},
        **{f"biomedcoop-b2n-{k}": _preset("base_to_novel", 50, v) for k, v in _BASE_TO_NEW.items()},
    }

    class Config(CoOp.Config, Described):
        """Options of BiomedCoOp: those of CoOp, started from words, and the sentences.

        Attributes:
            n_ctx: M, number of context tokens; ignored when ``init`` is given.
            init: Words whose embeddings start the context, or None for random.
            descriptions: Class name -> sentences, or a JSON file of such a mapping; None for the data's
                templates. The smallest number of sentences of any class is used.
        """

        n_ctx: TokenCount = 4
        init: str | None = "a photo of a"
        descriptions: Mapping[str, tuple[str, ...]] | str | None = None

    config: Config
