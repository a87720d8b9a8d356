"""Methods that watch a stream of images and remember some of them."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from vlmcal.learners.base import Learner
from vlmcal.test_time.base import Adaptation, Adapted, require_similarities
from vlmcal.types.predictions import ScoreKind

Order = Literal["update first", "predict first"]


class Seen(NamedTuple):
    """What one image of a stream gave.

    Attributes:
        scores: (K,) the answer.
        reported: Whatever else the method reports of it.
    """

    scores: Tensor
    reported: tuple[Tensor, ...]


@dataclass(frozen=True, kw_only=True)
class Stream(Adaptation):
    """An adaptation whose answers depend on the images before.

    Attributes:
        order: "update first" lets an image into the memory before it is predicted, as all released codes do;
            "predict first" is prequential, so that no image speaks for itself.
    """

    online: ClassVar[bool] = True
    kind: ClassVar[ScoreKind] = "logits"

    order: Order = "update first"

    def require(self, learner: Learner) -> None:
        """Refuse a model whose logits are more than similarities with one text feature per class."""
        require_similarities(learner, self.name)

    def text(self, learner: Learner) -> Tensor:
        """What the stream is compared with."""
        return learner.classifier()

    def classes(self, text: Tensor) -> Tensor:
        """Text features (K, D) of the model before it is adapted."""
        return text

    def adapt(self, learner: Learner, views: Iterable[Tensor]) -> Adapted:
        """Scores of the images, each after those before it."""
        with torch.no_grad():
            text = self.text(learner).detach().cpu()
        scale, before = float(learner.logit_scale), []

        def images() -> Iterator[Tensor]:
            for piece in views:
                piece = piece.to(text.device, text.dtype)
                before.append(scale * piece[:, 0] @ self.classes(text).T)
                yield from piece

        scores = torch.stack([one.scores for one in self.answers(images(), text, scale)])
        return Adapted(scores, self.kind, torch.cat(before), {})

    @abstractmethod
    def answers(self, views: Iterable[Tensor], text: Tensor, scale: float) -> Iterator[Seen]:
        """What each image gives, one after the other.

        Args:
            views: (V, D) of each image, normalised.
            text: As :meth:`text` gives it.
            scale: s, the logit scale.
        """
