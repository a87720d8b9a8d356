"""CoPrompt: tuned features agree with the frozen model's on another text and another view."""

from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES, Objective, Term, Terms
from vlmcal.objectives.text import text_groups
from vlmcal.types.limits import NotNegative
from vlmcal.types.outputs import Outputs


@OBJECTIVES.register("co_prompt")
class CoPrompt(Objective):
    r"""Consistency terms of CoPrompt.

    .. math::
        L = w_t \Bigl( 1 - \frac{1}{K} \sum_c \cos(t_c, s_c) \Bigr)
        + w_v \Bigl( 1 - \frac{1}{B} \sum_i \cos(v_i, v^0_i) \Bigr)

    over tuned text features t (K, D) and image features v (B, D), frozen features s of one sentence per
    class and v0 of another view of the same images. Each step draws one sentence index for all classes
    from the run's stream (``frozen_template_features``, (T, K, D)). Pure regulariser: add ``ce``.

    Attributes:
        weight: lambda; 8 for ImageNet, Flowers, SUN, DTD, 4 for Caltech and Cars, 2 for Aircraft and
            UCF, 0.5 for Food, 0.1 for Pets and EuroSAT; 1 in the released configuration.
        text_weight, image_weight: w_t, w_v; published 1.
        sentences: ``random`` as published, or the normalised ``mean`` of all.

    Example:
        >>> e = torch.eye(2)
        >>> out = Outputs(text_features=e, frozen_template_features=e.flip(0)[None], image_features=e,
        ...               frozen_second_image_features=e, generator=torch.Generator())
        >>> float(CoPrompt().loss(out))
        1.0
    """

    text_weight: NotNegative = 1.0
    image_weight: NotNegative = 1.0
    sentences: Literal["random", "mean"] = "random"

    needs: ClassVar[tuple[str, ...]] = (
        "text_features",
        "frozen_template_features",
        "image_features",
        "frozen_second_image_features",
        "generator",
    )
    source: ClassVar[str] = (
        "Roy and Etemad, Consistency-guided prompt learning, ICLR 2024, arXiv 2306.01195; "
        "code CoPrompt, trainers/coprompt.py."
    )

    @property
    def required(self) -> tuple[str, ...]:
        """The generator only where a sentence is drawn."""
        return self.needs if self.sentences == "random" else self.needs[:-1]

    def compute(self, outputs: Outputs) -> Terms:
        """The two cosine distances, named text and image."""
        text = text_groups(outputs, self.name)
        sentence = self._sentence(outputs)
        if text.shape[1:] != sentence.shape:
            raise SpecError(
                f'objective "{self.name}": text features {tuple(text.shape[1:])} and sentence features '
                f"{tuple(sentence.shape)} must have the same shape (K, D)"
            )
        image = outputs.require("image_features", by=self.name)
        other = outputs.require("frozen_second_image_features", by=self.name).detach()
        return {
            "text": Term(_distance(text, sentence.expand_as(text)), self.text_weight),
            "image": Term(_distance(image, other), self.image_weight),
        }

    def _sentence(self, outputs: Outputs) -> Tensor:
        sentences = outputs.require("frozen_template_features", by=self.name).detach()
        if self.sentences == "mean" or outputs.generator is None:
            return normalize(sentences.mean(dim=0), dim=-1)
        # A copy of the stream, so that computing the loss twice draws the same sentence.
        stream = outputs.generator.clone_state()
        index = torch.randint(len(sentences), (), generator=stream, device=stream.device)
        return sentences[int(index)]


def _distance(tuned: Tensor, frozen: Tensor) -> Tensor:
    return 1 - cosine_similarity(tuned, frozen, dim=-1).mean()
