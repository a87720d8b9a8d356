"""TPT and its calibrated variants: the prompt is tuned on the views of each image, then forgotten."""

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.learners.base import Learner, SharedPrompt, Side
from vlmcal.learners.initial import context_from_words
from vlmcal.learners.zero_shot import ZeroShot
from vlmcal.objectives.base import Objective
from vlmcal.objectives.text_angles import TextAngles
from vlmcal.objectives.text_dispersion import TextDispersion
from vlmcal.objectives.text_orthogonality import TextOrthogonality
from vlmcal.test_time.base import ADAPTATIONS, Adaptation, Adapted, prompted, require_similarities
from vlmcal.test_time.prompt_tuning import Steps, Tuned, features_in, tune_prompt
from vlmcal.test_time.view_temperature import cots_extras
from vlmcal.text_encoding import PromptLayout, encode_prompts, images_at_once
from vlmcal.types.limits import NotNegative, Part, Positive


@ADAPTATIONS.register("tpt")
class TPT(Adaptation):
    r"""Test-time prompt tuning: confident views of one image should agree.

    For each image a fresh copy of the prompt takes ``steps`` steps of AdamW (betas 0.9, 0.999, eps 1e-8) on

    .. math:: H\Bigl( \frac{1}{|S|} \sum_{v \in S} p_v \Bigr)

    over the floor(``share`` V) views of lowest entropy, at least one (the released code keeps none of fewer
    than 10 views). The answer is that of the evaluation view. The order of the images does not matter. From
    a learner whose image tower has tokens (MaPLe) the text context is tuned and the image side stays as
    trained.

    Attributes:
        start: "zero_shot" for the words of ``init`` with the class name after them (no template), or a method
            with one prompt for all images: coop, kgcoop, prograd, maple, ...
        views: V, the evaluation view and V - 1 random crops.
        flip, augmix, view_seed: How the random crops are drawn.
        init: Words that the prompt starts from; those of a trained start are used instead.
        steps: Optimiser steps.
        lr: Learning rate; the first step moves every coordinate by about this much.
        weight_decay: Of AdamW.
        share: Share of the views that the loss sees, chosen once under the first prompt.

    Source: Shu et al., Test-time prompt tuning, NeurIPS 2022, arXiv 2209.07511; code azshue/TPT.

    Example:
        >>> TPT(lr=0.01).regulariser is None, CTPT(weight=20).regulariser.weight
        (True, 20.0)
    """

    opened: ClassVar[frozenset[Side]] = frozenset({"text"})

    init: str = "a photo of a"
    steps: Annotated[int, Field(ge=0, le=10_000)] = 1
    lr: Positive = 5e-3
    weight_decay: NotNegative = 0.01
    share: Part = 0.1

    @property
    def regulariser(self) -> Objective | None:
        """What is added to the entropy, with its weight."""
        return None

    @classmethod
    def check_start(cls, kind: type[Learner]) -> None:
        """Refuse a method without a prompt that all images share."""
        if kind is not ZeroShot and kind.name not in prompted():
            raise SpecError(
                f'{cls.name}: "{kind.name}" has no prompt that all images and classes share; start from '
                f"zero_shot or one of {', '.join(prompted())}"
            )

    def require(self, learner: Learner) -> None:
        """Refuse a model without a shared prompt, or too few classes for the regulariser."""
        require_similarities(learner, self.name)
        self.prompt(learner)
        least = getattr(self.regulariser, "minimum_classes", 1)
        k = len(learner.classes.class_names)
        if k < least:
            raise SpecError(f"{self.name}: needs at least {least} classes, got {k}")

    def adapt(self, learner: Learner, views: Iterable[Tensor]) -> Adapted:
        """Logits of the evaluation view under each image's own prompt."""
        scores, before, extras = [], [], []
        for out, first in self.tuned(learner, views):
            scores.append(out.logits[:, 0].cpu())
            before.append(first[:, 0].cpu())
            if out.logits.shape[1] > 1:
                extras.append(cots_extras(out, first))
        names = extras[0] if extras else {}
        return Adapted(
            torch.cat(scores),
            "logits",
            torch.cat(before),
            {name: torch.cat([each[name] for each in extras]) for name in names},
        )

    def tuned(self, learner: Learner, views: Iterable[Tensor]) -> Iterator[tuple[Tuned, Tensor]]:
        """What tuning gave for each piece of the images, with the logits (B, V, K) of all views before it."""
        prompt = self.prompt(learner)
        scale = learner.logit_scale.detach().to(learner.parameter_dtype)
        steps = Steps(
            steps=self.steps, lr=self.lr, weight_decay=self.weight_decay, share=self.share
        )
        start, encode = prompt.context.detach(), features_in(prompt.encode, learner.parameter_dtype)
        with torch.no_grad():
            text = encode(start[None])[0]
        size = images_at_once(learner.encoder, prompt.layout)
        for piece in views:
            for part in torch.split(piece.to(text.device, text.dtype), size):
                out = tune_prompt(encode, scale, start, part, text, self.regulariser, steps)
                yield out, scale * part @ text.T

    def prompt(self, learner: Learner) -> SharedPrompt:
        """The prompt that every image starts from."""
        if not isinstance(learner, ZeroShot):
            return learner.shared_prompt()
        if learner.config.descriptions is not None:
            raise SpecError(
                f"{self.name}: tunes the words before the class names, so zero_shot's descriptions have no "
                "place in it; start from zero_shot without options"
            )
        encoder = learner.encoder
        words = context_from_words(encoder, self.init).to(encoder.device, learner.parameter_dtype)
        if not len(words):
            raise SpecError(f'{self.name}: init must have words, got "{self.init}"')
        layout = PromptLayout.build(encoder, learner.classes.class_names, n_ctx=len(words))

        def encode(tokens: Tensor) -> Tensor:
            return encode_prompts(encoder, layout, tokens, context_axis="image")

        return SharedPrompt(words, layout, encode)


@ADAPTATIONS.register("c_tpt")
class CTPT(TPT):
    r"""C-TPT: TPT with class features spread around their mean.

    The minimised loss is TPT's minus ``weight`` times the mean distance of the K text features to their mean
    (``text_dispersion``), in the same step.

    Attributes:
        weight: Published 50 (fine-grained data) and 20 (ImageNet shifts).

    Source: Yoon et al., C-TPT, ICLR 2024, arXiv 2403.14119; code hee-suk-yoon/C-TPT.
    """

    weight: NotNegative = 50.0

    @property
    def regulariser(self) -> Objective | None:
        """Minus the dispersion."""
        return TextDispersion(weight=self.weight)


@ADAPTATIONS.register("o_tpt")
class OTPT(TPT):
    r"""O-TPT: TPT with class features orthogonal to each other.

    The minimised loss is TPT's plus ``weight`` times ``text_orthogonality``, in the same step.

    Attributes:
        weight: Published 18 (fine-grained data) and 2 (ImageNet shifts).

    Source: Sharifdeen et al., O-TPT, CVPR 2025, arXiv 2503.12096; code ashshaksharifdeen/O-TPT.
    """

    weight: NotNegative = 18.0

    @property
    def regulariser(self) -> Objective | None:
        """The distance from orthogonality."""
        return TextOrthogonality(weight=self.weight)


@ADAPTATIONS.register("a_tpt")
class ATPT(TPT):
    r"""A-TPT: TPT with a large smallest angle from each class to another.

    The minimised loss is TPT's minus ``weight`` times the mean smallest angle (``text_angles``), as
    described. The released repository holds both signs: its script for fine-grained data adds the angle,
    which pulls classes together (``released_sign``); its ImageNet branch subtracts it.

    Attributes:
        weight: Published 80 (fine-grained data) and 10 (ImageNet shifts).
        released_sign: Add the angle, as the script for fine-grained data does.

    Source: A-TPT; code MB-Shihab-Aaqil-Ahamed/A-TPT.
    """

    weight: NotNegative = 80.0
    released_sign: bool = False

    @property
    def regulariser(self) -> Objective | None:
        """Minus the mean smallest angle, or plus."""
        return TextAngles(weight=self.weight, released_sign=self.released_sign)
