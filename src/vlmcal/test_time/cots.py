"""CoTS and E-CoTS: what prompt tuning gave, at a temperature of each image's own."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from vlmcal.backbones.views import Draw
from vlmcal.errors import SpecError
from vlmcal.learners.base import Learner, Side
from vlmcal.options import build, read
from vlmcal.test_time.base import ADAPTATIONS, Adaptation, Adapted
from vlmcal.test_time.tpt import TPT
from vlmcal.test_time.view_temperature import cots as cots
from vlmcal.test_time.view_temperature import cots_extras
from vlmcal.types.limits import Part


@ADAPTATIONS.register("cots")
class CoTS(Adaptation):
    r"""Confidence-based test-time scaling of a model whose prompt was tuned on each image.

    The temperature brings the adapted model's confidence on the confident views to that of the model before
    it was adapted, see :func:`~vlmcal.test_time.view_temperature.cots`; the predicted class never changes.
    Views are those of ``start``.

    Attributes:
        start: tpt, c_tpt, o_tpt or a_tpt, with options.
        views, flip, augmix, view_seed: Taken from ``start``; not to be set here.
        share: Share of the views that is used, the evaluation view left out; at least one.

    Source: confidence-based test-time scaling (CoTS), section 2; no code is public.

    Example:
        >>> CoTS(start="c_tpt(weight=20)").tuning.weight
        20.0
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"text"})

    start: str | Mapping[str, Any] = "tpt"
    share: Part = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("views", "flip", "augmix", "view_seed"):
            if getattr(self, name) != getattr(Adaptation, name):
                raise SpecError(
                    f"{self.name}: {name} is that of what it starts from: "
                    f"{{name: {self.name}, start: {{name: tpt, {name}: {getattr(self, name)}}}}}"
                )
        if self.tuning.views < 2:
            raise SpecError(
                f"{self.name}: compares views beside the evaluation view, and its start has views: 1"
            )

    @cached_property
    def tuning(self) -> TPT:
        """What is scaled."""
        name = read(self.start, ADAPTATIONS.kind, f"{self.name}: start").name
        kind = ADAPTATIONS.get(name) if name in ADAPTATIONS else None
        if kind is None or not issubclass(kind, TPT):
            raise SpecError(
                f"{self.name}: scales a prompt tuned on each image; start from tpt, c_tpt, o_tpt or a_tpt, "
                f'got "{name}"'
            )
        made = build(ADAPTATIONS, self.start, where=f"{self.name}: start")
        assert isinstance(made, TPT)
        return made

    @property
    def draw(self) -> Draw:
        """The views of what is scaled."""
        return self.tuning.draw

    def require(self, learner: Learner) -> None:
        """Refuse what the tuning refuses."""
        self.tuning.require(learner)

    def adapt(self, learner: Learner, views: Iterable[Tensor]) -> Adapted:
        """Logits over the temperature."""
        scores, before, found = [], [], []
        for out, first in self.tuning.tuned(learner, views):
            extras = cots_extras(out, first, self.share)
            scores.append(self._scaled(out.logits[:, 0].cpu(), extras))
            before.append(first[:, 0].cpu())
            found.append(extras)
        extras = {name: torch.cat([each[name] for each in found]) for name in found[0]}
        return Adapted(torch.cat(scores), "log_probs", torch.cat(before), extras)

    def _scaled(self, logits: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        return (logits / extras["cots_temperature"][:, None]).log_softmax(dim=-1)


@ADAPTATIONS.register("e_cots")
class ECoTS(CoTS):
    r"""E-CoTS: CoTS, with the mean over the confident views at that temperature mixed in.

    .. math:: w \, \sigma(z_0 / \tau) + (1 - w) \frac{1}{|S|} \sum_{v \in S} \sigma(z_v / \tau)

    with w the mean cosine between the adapted text features of two classes (read so, as no code is public).
    The predicted class may change.

    Source: confidence-based test-time scaling (CoTS), section 2; no code is public.
    """

    def _scaled(self, logits: Tensor, extras: Mapping[str, Tensor]) -> Tensor:
        own, share = super()._scaled(logits, extras), extras["cots_share"][:, None].clamp(0, 1)
        views = extras["cots_views"].log()
        return torch.logaddexp(own + share.log(), views + (1 - share).log())
