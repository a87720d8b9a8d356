"""TDA: a positive and a negative cache of test images, without any training."""

import math
from collections.abc import Iterable, Iterator
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from vlmcal.objectives.tpt_entropy import confident_views, mean_entropy
from vlmcal.test_time.base import ADAPTATIONS
from vlmcal.test_time.cache import ClassCache, Entry
from vlmcal.test_time.stream import Seen, Stream
from vlmcal.types.limits import Part, Whole


class Streamed(NamedTuple):
    """What a method that watches a stream of N images gave.

    Attributes:
        logits: (N, K) adapted.
        zero_shot_logits: (N, K) before.
        features: (N, D) the feature of each image that the caches hold.
        entropy: (N,) of the zero-shot prediction, in nats.
        positive, negative: (N, K, capacity) image numbers in the caches after each image, -1 where empty.
    """

    logits: Tensor
    zero_shot_logits: Tensor
    features: Tensor
    entropy: Tensor
    positive: Tensor
    negative: Tensor


@ADAPTATIONS.register("tda")
class TDA(Stream):
    r"""Training-free dynamic adapter.

    .. math::
        z_c = s \langle f, t_c \rangle + \alpha \sum_{e: y_e = c} \exp(-\beta (1 - \langle f, f_e \rangle))
        - \alpha^- \sum_e \exp(-\beta^- (1 - \langle f, f_e \rangle)) \, 1[l < p_{ec} < u]

    over the entries e of the positive cache (per predicted class the ``capacity`` images of lowest entropy)
    and of the negative one (images whose entropy in nats over log2 K, at most 0.693, lies strictly within
    ``band``). With several views, an image is the mean of its share of lowest-entropy views, which is not
    normalised again, as released.

    Attributes:
        start: The method whose model is adapted.
        capacity, alpha, beta: Of the positive cache; published alpha and beta differ by data set (2 and 3 for
            DTD, 2 and 5 for ImageNet).
        negative_capacity, negative_alpha, negative_beta: Of the negative cache.
        band: Entropies, over log2 K, that enter the negative cache.
        mask: Probabilities strictly within are those that an entry of the negative cache speaks against.
        share: Share of the views that make the feature.
        flip, augmix, view_seed: How random crops are drawn, where there are several views.
        views: 1 on fine-grained data, 64 for ImageNet and its shifts in the released code.
        order: "update first" meets an image before it is predicted, as released; "predict first" is
            prequential, so that no image speaks for itself.

    Source: Karmanov et al., Efficient test-time adaptation of vision-language models, CVPR 2024, arXiv
    2403.18293; code kdiAAA/TDA.

    Example:
        >>> text, views = torch.eye(2), torch.eye(2)[[0, 0, 1]][:, None]
        >>> TDA().run(views, text, scale=4.0).logits[1].round(decimals=3).tolist()
        [8.0, 0.0]
    """

    views: Annotated[int, Field(ge=1, le=4096)] = 1
    capacity: Whole = 3
    alpha: float = 2.0
    beta: float = 5.0
    negative_capacity: Whole = 2
    negative_alpha: float = 0.117
    negative_beta: float = 1.0
    band: tuple[float, float] = (0.2, 0.5)
    mask: tuple[float, float] = (0.03, 1.0)
    share: Part = 0.1

    def run(self, views: Tensor, text: Tensor, scale: float) -> Streamed:
        """Adapted logits of a stream, in its order.

        Args:
            views: (N, V, D) normalised image features; with V = 1 the image itself.
            text: (K, D) normalised text features.
            scale: s, the logit scale.
        """
        positive, negative = ClassCache(self.capacity), ClassCache(self.negative_capacity)
        k = len(text)
        rows = [
            (one.scores, *one.reported, positive.images(k), negative.images(k))
            for one in self._watch(views, text, scale, positive, negative)
        ]
        return Streamed(*(torch.stack(column) for column in zip(*rows, strict=True)))

    def answers(self, views: Iterable[Tensor], text: Tensor, scale: float) -> Iterator[Seen]:
        """Logits of each image."""
        caches = ClassCache(self.capacity), ClassCache(self.negative_capacity)
        return self._watch(views, text, scale, *caches)

    def _watch(
        self,
        views: Iterable[Tensor],
        text: Tensor,
        scale: float,
        positive: ClassCache,
        negative: ClassCache,
    ) -> Iterator[Seen]:
        k = len(text)
        for image, shown in enumerate(views):
            feature, logits = self._feature(shown, text, scale)
            probabilities = logits.softmax(dim=-1).mean(dim=0)
            plain = scale * feature @ text.T
            entropy = float(mean_entropy(logits))
            label = int(plain.argmax())
            after = plain
            if self.order == "predict first":
                after = self._adapted(feature, plain, positive, negative)
            if self.capacity:
                positive.offer(label, Entry(image, feature, entropy))
            level = entropy / math.log2(k) if k > 1 else 0.0
            if self.negative_capacity and self.band[0] < level < self.band[1]:
                negative.offer(label, Entry(image, feature, entropy, probabilities))
            if self.order == "update first":
                after = self._adapted(feature, plain, positive, negative)
            yield Seen(after, (plain, feature, torch.tensor(entropy, dtype=text.dtype)))

    def _feature(self, shown: Tensor, text: Tensor, scale: float) -> tuple[Tensor, Tensor]:
        logits = scale * shown @ text.T
        if len(shown) == 1:
            return shown[0], logits
        kept = confident_views(logits, self.share)
        return shown[kept].mean(dim=0), logits[kept]

    def _adapted(
        self, feature: Tensor, plain: Tensor, positive: ClassCache, negative: ClassCache
    ) -> Tensor:
        k = len(plain)
        if positive.entries:
            features, labels, _ = positive.stacked()
            near = (-self.beta * (1 - feature @ features.T)).exp()
            plain = plain + self.alpha * near @ one_hot(labels, k).to(plain.dtype)
        if negative.entries:
            features, _, entries = negative.stacked()
            p = torch.stack([e.probabilities for e in entries if e.probabilities is not None])
            against = ((p > self.mask[0]) & (p < self.mask[1])).to(plain.dtype)
            near = (-self.negative_beta * (1 - feature @ features.T)).exp()
            plain = plain - self.negative_alpha * near @ against
        return plain
