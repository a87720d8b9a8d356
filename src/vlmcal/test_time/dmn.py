"""DMN: a dynamic memory of test images, read by similarity, beside the text classifier."""

import math
from collections.abc import Iterable, Iterator
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.objectives.tpt_entropy import confident_views
from vlmcal.test_time.base import ADAPTATIONS
from vlmcal.test_time.prompt_tuning import view_entropy
from vlmcal.test_time.stream import Seen, Stream
from vlmcal.types.limits import Count, NotNegative, Part, Share
from vlmcal.types.predictions import ScoreKind


class Remembered(NamedTuple):
    """What reading the memory gave for a stream of N images.

    Attributes:
        probabilities: (N, K) text and memory probabilities, mixed.
        text: (N, K) probabilities of the text classifier on the evaluation view.
        memory: (N, K) probabilities of the memory's classifier on it.
        counts: (N, K) images held for each class after each image.
        entropy: (N, K, capacity) of the images held, inf where there is none.
        kept: (K, capacity, D) features held at the end, zeros where there is none.
    """

    probabilities: Tensor
    text: Tensor
    memory: Tensor
    counts: Tensor
    entropy: Tensor
    kept: Tensor


@ADAPTATIONS.register("dmn")
class DMN(Stream):
    r"""Training-free part of dual memory networks.

    Class c of the memory is read by an image f as the normalised sum over its entries m (and its text
    feature, which is always one of them) of exp(-beta (1 - <f, m>)) m; the memory's logits are s times
    the cosines with these. An image enters the class that its confident views predict on average, if
    the class has room or holds an image of higher entropy. The released code searches the weights of text
    and memory on the test set; here they are fixed.

    Attributes:
        start: The method whose model is adapted.
        views: V, the evaluation view and V - 1 random crops.
        flip, augmix, view_seed: How the random crops are drawn.
        capacity: Images per class; published 50.
        beta: Sharpness of the read-out; published 5.5.
        share: Share of the views, of lowest entropy, that decide class and entropy.
        weight: Weight of the memory in the mixture (1 - w) p_text + w p_memory.
        order: "update first" as released, or "predict first", so that no image speaks for itself.

    Source: Zhang et al., Dual memory networks, CVPR 2024, arXiv 2403.17589; code YBZh/DMN.

    Example:
        >>> out = DMN().run(torch.eye(2)[:, None], torch.eye(2), scale=2.0)
        >>> [round(p, 4) for p in out.probabilities[0].tolist()]
        [0.8808, 0.1192]
    """

    kind: ClassVar[ScoreKind] = "log_probs"

    capacity: Count = 50
    beta: NotNegative = 5.5
    share: Part = 0.1
    weight: Share = 0.5

    def run(self, views: Tensor, text: Tensor, scale: float) -> Remembered:
        """Mixed probabilities of a stream, in its order.

        Args:
            views: (N, V, D) normalised image features, view 0 the evaluation view.
            text: (K, D) normalised text features.
            scale: s, the logit scale.
        """
        kept = text.new_zeros(len(text), self.capacity, text.shape[1])
        rows = [(one.scores.exp(), *one.reported) for one in self._watch(views, text, scale, kept)]
        columns = [torch.stack(column) for column in zip(*rows, strict=True)]
        return Remembered._make([*columns, kept])

    def answers(self, views: Iterable[Tensor], text: Tensor, scale: float) -> Iterator[Seen]:
        """Log-probabilities of each image."""
        kept = text.new_zeros(len(text), self.capacity, text.shape[1])
        return self._watch(views, text, scale, kept)

    def _watch(
        self, views: Iterable[Tensor], text: Tensor, scale: float, kept: Tensor
    ) -> Iterator[Seen]:
        entropy = text.new_full((len(text), self.capacity), torch.inf)
        own = math.log1p(-self.weight) if self.weight < 1 else -math.inf
        other = math.log(self.weight) if self.weight > 0 else -math.inf
        for shown in views:
            if self.order == "predict first":
                memory = self._read(shown[0], kept, text, scale)
            self._offer(shown, kept, entropy, text, scale)
            if self.order == "update first":
                memory = self._read(shown[0], kept, text, scale)
            plain = (scale * shown[0] @ text.T).log_softmax(dim=-1)
            mixed = torch.logaddexp(plain + own, memory + other)
            counts = entropy.isfinite().sum(dim=1)
            yield Seen(mixed, (plain.exp(), memory.exp(), counts, entropy.clone()))

    def _offer(
        self, shown: Tensor, kept: Tensor, entropy: Tensor, text: Tensor, scale: float
    ) -> None:
        logits = scale * shown @ text.T
        mean = logits[confident_views(logits, self.share)].softmax(dim=-1).mean(dim=0)
        label = int(mean.argmax())
        own = view_entropy(mean.log())
        worst = int(entropy[label].argmax())  # an empty place first, because its entropy is inf
        if own < entropy[label, worst]:
            kept[label, worst], entropy[label, worst] = shown[0], own

    def _read(self, feature: Tensor, kept: Tensor, text: Tensor, scale: float) -> Tensor:
        entries = torch.cat([kept, text[:, None]], dim=1)
        near = (-self.beta * (1 - entries @ feature)).exp()
        classifier = normalize((near[..., None] * entries).sum(dim=1), dim=-1)
        return (scale * classifier @ feature).log_softmax(dim=-1)
