"""What adapting at test time is: from a model and the views of each image to other scores, without labels."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple, dataclass_transform

from pydantic import Field
from torch import Tensor

from vlmcal.backbones.views import Draw
from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, Learner, Side
from vlmcal.options import check_fields
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.types.limits import Seed
from vlmcal.types.predictions import ScoreKind

# Random views are cut out and resized as the published code does, whatever the evaluation view uses.
INTERPOLATION = "bilinear"
ZERO_SHOT = "zero_shot"


class Adapted(NamedTuple):
    """What adapting to N images gave, K classes.

    Attributes:
        scores: (N, K).
        kind: What they are.
        before: (N, K) logits of the evaluation view before anything was adapted.
        extras: Further values, the first axis N, under the names that post-hoc methods know.
    """

    scores: Tensor
    kind: ScoreKind
    before: Tensor
    extras: Mapping[str, Tensor]


@dataclass_transform(frozen_default=True, kw_only_default=True)
@dataclass(frozen=True, kw_only=True)
class Adaptation(ABC):
    """One way of adapting a model to test images; its fields are its options.

    A subclass lives in a file named after its method and is registered with ``@ADAPTATIONS.register``. It
    holds no state between calls of :meth:`adapt`: every set of images is adapted to from the start.

    Attributes:
        name: Registry name.
        online: Whether the answer to an image depends on the images before it, so that their order (of the
            run's seed) matters.
        opened: Towers that it puts tokens into.
        version: Raised when the same options give other numbers.
        start: The method, with options, whose model it starts from.
        views: Views of an image, the evaluation view among them; the others are random-resized crops.
        flip: Whether half of the random views are mirrored; false where sides matter.
        augmix: Mix every random view with mild distortions of itself.
        view_seed: Seed of the random views, the same for all runs, so that they are encoded once.
    """

    name: ClassVar[str]
    online: ClassVar[bool] = False
    opened: ClassVar[frozenset[Side]] = frozenset()
    version: ClassVar[int] = 1

    start: str | Mapping[str, Any] = ZERO_SHOT
    views: Annotated[int, Field(ge=1, le=4096)] = 64
    flip: bool = True
    augmix: bool = False
    view_seed: Seed = 0

    def __post_init__(self) -> None:
        check_fields(self, self.name)
        if self.augmix and self.views == 1:
            raise SpecError(
                f"{self.name}: augmix changes the random views, and views: 1 has none; raise views"
            )

    @property
    def draw(self) -> Draw:
        """The random views beside the evaluation view: count 0 where there are none."""
        return Draw(self.views - 1, self.view_seed, self.flip, INTERPOLATION, self.augmix)

    @classmethod
    def check_start(cls, kind: type[Learner]) -> None:
        """Refuse a method that it cannot start from, before anything is trained.

        Raises:
            SpecError: Says what it starts from.
        """
        return

    @abstractmethod
    def require(self, learner: Learner) -> None:
        """Refuse a model that it cannot adapt, before an image is encoded.

        Raises:
            SpecError: Says why, and what can be adapted.
        """

    @abstractmethod
    def adapt(self, learner: Learner, views: Iterable[Tensor]) -> Adapted:
        """Scores of N images.

        Args:
            learner: The model, in evaluation mode; nothing of it changes.
            views: Pieces (B, V, D) of the images' normalised features, in the order in which they come;
                view 0 is the evaluation view.
        """


def require_similarities(learner: Learner, by: str) -> None:
    """Refuse a model whose logits are more than s * cosine with one text feature per class.

    Raises:
        SpecError: Says why.
    """
    kind, reason = type(learner), ""
    if learner.encoder.scores != "softmax":
        reason = f"its scores are {learner.encoder.scores}s"
    elif learner.text_depends_on_image:
        reason = "its text features depend on the image"
    elif kind.scores is not Learner.scores or kind.logits is not Learner.logits:
        reason = "its logits are more than similarities"
    if reason:
        raise SpecError(
            f'{by}: cannot start from "{learner.name}", because {reason}; start from zero_shot or from a '
            "prompt that all images share, such as coop's or maple's"
        )


def prompted() -> list[str]:
    """Names of the methods with a prompt that can be tuned further on each image."""
    return [n for n, k in LEARNERS.items() if k.shared_prompt is not Learner.shared_prompt]


ADAPTATIONS: Registry[type[Adaptation]] = Registry(
    "method",
    "vlmcal.test_time",
    subclass_of(Adaptation),
    "a subclass of Adaptation",
    made=dataclass(frozen=True, kw_only=True),
)
