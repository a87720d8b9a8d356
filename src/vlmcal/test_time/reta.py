"""ReTA: cache entries ranked by how several text classifiers agree, and text tuned on each image."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize, one_hot

from vlmcal.errors import SpecError
from vlmcal.learners.base import Learner
from vlmcal.learners.descriptions import sentence_features
from vlmcal.learners.zero_shot import ZeroShot
from vlmcal.objectives.tpt_entropy import confident_views, mean_entropy
from vlmcal.test_time.base import ADAPTATIONS
from vlmcal.test_time.cache import ClassCache, Entry
from vlmcal.test_time.prompt_tuning import view_entropy
from vlmcal.test_time.stream import Seen, Stream
from vlmcal.types.limits import Count, Part, Positive, Share
from vlmcal.types.predictions import ScoreKind

_INFO_NCE_TEMPERATURE = 0.01
_CERTAIN = 0.1  # normalised entropy below which an image moves the text of later images


class Refined(NamedTuple):
    """What a stream of N images gave, with R text sets of width D over K classes.

    Attributes:
        probabilities: (N, K) the answers.
        logits: (N, K) of the evaluation view with the cache, after the step.
        votes: (N, R) class that each text set predicts.
        reliability: (N,) the weight w of the entropy, 0 where all sets agree with the model.
        entropy: (N,) normalised, before it is weighted.
        losses: (N,) minimised value; ``alignment`` its contrastive part, without weight.
        alignment: (N,).
        gradient, residual: (N, D, R, K) of the step, and after it.
        images: (N, K, capacity) images in the cache after each image, -1 where empty.
        updates: (N,) how often the text sets had been moved so far.
        text: (D, R, K) text sets at the end.
    """

    probabilities: Tensor
    logits: Tensor
    votes: Tensor
    reliability: Tensor
    entropy: Tensor
    losses: Tensor
    alignment: Tensor
    gradient: Tensor
    residual: Tensor
    images: Tensor
    updates: Tensor
    text: Tensor


@ADAPTATIONS.register("reta")
class ReTA(Stream):
    r"""Reliable test-time adaptation.

    Each class has R = 3 text features: cumulative means over its prompts, ordered by how like the others
    they are (:func:`text_sets`). An image enters the cache of the class it is predicted as with its
    normalised entropy times 1 + w, w = ratio ln(R / n_top * c), where n_top of the R sets vote for their
    most common class on the feature projected on the text, and c is 2 if that class is not the predicted
    one. One AdamW step moves a residual of the text sets, fresh for each image, on

    .. math::
        H(z + z^{cache}) + a \, InfoNCE(keys, text) + [w = 0] \, b \, CE(z^{gauss}, \hat y)

    and the answer is lam p(view 0) + (1 - lam) mean p(confident views), each with the cache. The constants of
    the paper differ by data set and were chosen without a validation split; the defaults are one
    setting for all.

    Attributes:
        start: The method whose model is adapted.
        views: V, the evaluation view and V - 1 random crops.
        flip, augmix, view_seed: How the random crops are drawn.
        sets: R, text sets; each class needs at least as many prompts.
        capacity, alpha, beta: Of the cache, as in TDA.
        ratio: Factor of w.
        lam: Weight of the evaluation view in the answer.
        lr: Learning rate of the step (eps 1e-3, weight decay 0.1).
        align: a.
        train: b.
        components: Text directions that features are projected on for the votes.
        share: Share of the views that count as confident; at least one.
        order: "update first" as released, or "predict first", so that no image speaks for itself.
        mean_view: Use the mean feature of the confident views in place of view 0, which is released for
            ImageNet-A.
        released: Normalise the entropy by log2 of the number of sets, and take all ``components`` rows of V
            even where there are fewer classes, as the code does; else by log2 K, and at most K rows.

    Source: Liang et al., Advancing reliable test-time adaptation of vision-language models under visual
    variations, ACM MM 2025, arXiv 2507.09500; code Evelyn1ywliang/ReTA.
    """

    kind: ClassVar[ScoreKind] = "log_probs"

    sets: Count = 3
    capacity: Count = 3
    alpha: float = 5.0
    beta: float = 5.0
    ratio: float = 1.0
    lam: Share = 0.5
    lr: Positive = 3e-4
    align: float = 0.3
    train: float = 0.02
    components: Count = 64
    share: Part = 0.1
    mean_view: bool = False
    released: bool = False

    @classmethod
    def check_start(cls, kind: type[Learner]) -> None:
        """Refuse anything but zero-shot, whose templates make the text sets."""
        if kind is not ZeroShot:
            raise SpecError(
                "reta: its text sets are made of the data's templates, so it starts from zero_shot, not "
                f'from "{kind.name}"'
            )

    def require(self, learner: Learner) -> None:
        """Refuse fewer prompts than text sets."""
        super().require(learner)
        self.check_start(type(learner))
        _require_prompts(min(map(len, self._prompts(learner))), self.sets)

    def text(self, learner: Learner) -> Tensor:
        """Text sets (D, R, K) of the templates and, where zero_shot has them, the descriptions."""
        return _sets(self._prompts(learner), self.sets)

    def _prompts(self, learner: Learner) -> list[Tensor]:
        """Normalised features (T_c, D) of the prompts of each class."""
        rows = list(learner.classes.template_features.unbind(dim=1))
        described = learner.config.descriptions
        if not described:
            return rows
        more = sentence_features(learner.encoder, learner.classes.class_names, described)
        return [
            torch.cat([own, normalize(new, dim=-1)]) for own, new in zip(rows, more, strict=True)
        ]

    def classes(self, text: Tensor) -> Tensor:
        """The last set: the mean over all prompts."""
        return text[:, -1].T

    def run(self, views: Tensor, text: Tensor, scale: float) -> Refined:
        """Answers to a stream, in its order.

        Args:
            views: (N, V, D) normalised image features, view 0 the evaluation view.
            text: (D, R, K) text sets from :func:`text_sets`.
            scale: s, the logit scale.
        """
        cache, rows, final = ClassCache(self.capacity), [], [text]
        for one in self._watch(views, text, scale, cache, final):
            *reported, updates = one.reported
            rows.append((one.scores.exp(), *reported, cache.images(text.shape[2]), updates))
        columns = [torch.stack(column) for column in zip(*rows, strict=True)]
        return Refined._make([*columns, final[-1]])

    def answers(self, views: Iterable[Tensor], text: Tensor, scale: float) -> Iterator[Seen]:
        """Log-probabilities of each image."""
        return self._watch(views, text, scale, ClassCache(self.capacity), [text])

    def _watch(
        self,
        views: Iterable[Tensor],
        text: Tensor,
        scale: float,
        cache: ClassCache,
        current: list[Tensor],
    ) -> Iterator[Seen]:
        """``current`` holds the text sets that the next image meets, and is moved on."""
        updates = 0
        for image, shown in enumerate(views):
            with torch.enable_grad():
                one = self._image(image, shown, current[0], cache, scale)
            if float(one.certainty) < _CERTAIN:
                updates += 1
                current[0] = (current[0] * updates + one.text) / (updates + 1)
            yield Seen(one.scores, (*one.reported, torch.tensor(updates)))

    def _image(
        self, image: int, shown: Tensor, current: Tensor, cache: ClassCache, scale: float
    ) -> "_Step":
        _, n_sets, k = current.shape
        residual = torch.zeros_like(current, requires_grad=True)
        sets = normalize(current + residual, dim=0)
        main = sets[:, -1]
        feature, logits, entropy = self._view(shown, main, scale)
        predicted = int(logits.argmax())
        normaliser = math.log2(n_sets if self.released else max(k, 2))
        normalised = float(entropy) / normaliser
        votes = self._votes(feature, main.detach(), current)
        w = self._reliability(votes, predicted)
        entry = Entry(image, feature, normalised * (1 + w))
        if self.order == "update first":
            cache.offer(predicted, entry)
        keys, labels = _prototypes(cache, feature)
        if self.order == "predict first":
            cache.offer(predicted, entry)
        cached = self._from_cache(feature[None], keys, labels, k)[0]
        aligned = _info_nce(keys, (main if self.ratio >= 0.5 else sets.mean(dim=1))[:, labels].T)
        loss = mean_entropy((logits + cached)[None]) + self.align * aligned
        if w == 0:
            gauss = gaussian_logits(shown, sets, predicted, scale)
            kept = gauss[confident_views(gauss, self.share)]
            target = torch.full((len(kept),), predicted)
            loss = loss + self.train * cross_entropy(kept, target)
        optimiser = torch.optim.AdamW([residual], lr=self.lr, eps=1e-3, weight_decay=0.1)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        with torch.no_grad():
            sets = normalize(current + residual, dim=0)
            answer, final = self._answer(shown, sets, keys, labels, scale)
            certainty = view_entropy(final) / normaliser
        assert residual.grad is not None
        reported = (
            *(final, votes, current.new_tensor(w), current.new_tensor(normalised)),
            *(loss.detach(), aligned.detach(), residual.grad, residual.detach()),
        )
        return _Step(answer, reported, certainty, sets)

    def _view(self, shown: Tensor, main: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
        logits = scale * shown @ main
        if not self.mean_view:
            return shown[0], logits[0], view_entropy(logits[0]).detach()
        kept = confident_views(logits, self.share)
        entropy = mean_entropy(logits[kept]).detach()
        return shown[kept].mean(dim=0), logits[kept].mean(dim=0), entropy

    def _votes(self, feature: Tensor, main: Tensor, current: Tensor) -> Tensor:
        directions = torch.linalg.svd(main.T).Vh
        rows = self.components if self.released else min(self.components, main.shape[1])
        basis = directions[:rows]
        projected = feature @ basis.T @ basis
        return torch.einsum("d,drk->rk", projected, current).argmax(dim=1)

    def _reliability(self, votes: Tensor, predicted: int) -> float:
        classes, counts = torch.unique(votes, return_counts=True)
        top = int(counts.argmax())  # of equal counts the smallest class
        doubt = 1.0 if int(classes[top]) == predicted else 2.0
        return self.ratio * math.log(len(votes) / int(counts[top]) * doubt)

    def _from_cache(self, features: Tensor, keys: Tensor, labels: Tensor, k: int) -> Tensor:
        near = (-self.beta * (1 - features @ keys.T)).exp()
        return self.alpha * near @ one_hot(labels, k).to(near.dtype)

    def _answer(
        self, shown: Tensor, sets: Tensor, keys: Tensor, labels: Tensor, scale: float
    ) -> tuple[Tensor, Tensor]:
        feature, logits, _ = self._view(shown, sets[:, -1], scale)
        rows = feature[None] if self.mean_view else shown
        cached = self._from_cache(rows, keys, labels, sets.shape[2])
        mean = scale * rows @ sets.mean(dim=1) + cached
        final = logits + cached[0]
        kept = mean[confident_views(mean, self.share)].log_softmax(dim=-1)
        views = kept.logsumexp(dim=0) - math.log(len(kept))
        parts = torch.stack([final.log_softmax(dim=-1), views])
        weights = parts.new_tensor([self.lam, 1 - self.lam]).log()
        return (parts + weights[:, None]).logsumexp(dim=0), final


class _Step(NamedTuple):
    scores: Tensor
    reported: tuple[Tensor, ...]
    certainty: Tensor
    text: Tensor


def text_sets(features: Tensor, n_sets: int = 3) -> Tensor:
    """Text sets (D, R, K) of prompt features (T, K, D): cumulative means from the least typical prompt on.

    Within a class, prompts are sorted by their summed cosine to the others, ascending; set r is the
    normalised mean of the first r floor(T / R) of them, the last one of all.

    Args:
        features: Normalised.
        n_sets: R; T must be at least as large.

    Raises:
        SpecError: Fewer prompts than sets.

    Example:
        >>> text_sets(torch.eye(4)[:3, None], 3)[:, 0, 0].tolist()
        [1.0, 0.0, 0.0, 0.0]
    """
    return _sets(features.unbind(dim=1), n_sets)


def _sets(rows: Sequence[Tensor], n_sets: int) -> Tensor:
    """Text sets of the prompt features (T_c, D) of each class, whose number may differ."""
    columns = []
    for one in rows:
        count = len(one)
        _require_prompts(count, n_sets)
        similar = (one @ one.T).fill_diagonal_(0).sum(dim=1)
        ordered = one[similar.argsort(stable=True)]
        ends = [r * (count // n_sets) for r in range(1, n_sets)] + [count]
        columns.append(torch.stack([normalize(ordered[:e].mean(dim=0), dim=0) for e in ends], 1))
    return torch.stack(columns, dim=2)


def _require_prompts(count: int, n_sets: int) -> None:
    if count < n_sets:
        raise SpecError(
            f"reta: {n_sets} text sets need at least as many prompts of each class, got {count}; give the "
            "data several templates (templates: [...]), zero_shot some descriptions (start: {name: "
            "zero_shot, descriptions: FILE}), or ask for fewer sets"
        )


def gaussian_logits(features: Tensor, sets: Tensor, label: int, scale: float) -> Tensor:
    r"""Logits (V, K) of Gaussian text classes: s <v, mu_c> + s^2 / 2 sum_d v_d^2 Var_d(t_c - t_y).

    The variance is that of the difference to class y over the R sets, divided by R + 1.

    Args:
        features: (V, D).
        sets: (D, R, K).
        label: y.
        scale: s.
    """
    mean = sets.mean(dim=1)
    centred = sets - mean[:, None]
    difference = centred - centred[:, :, label : label + 1]
    variance = difference.square().sum(dim=1) / (sets.shape[1] + 1)
    return scale * features @ mean + 0.5 * scale**2 * features.square() @ variance


def _prototypes(cache: ClassCache, like: Tensor) -> tuple[Tensor, Tensor]:
    labels = sorted(cache.entries)
    if not labels:
        return like.new_zeros(0, len(like)), torch.zeros(0, dtype=torch.long)
    means = [torch.stack([e.feature for e in cache.entries[c]]).mean(dim=0) for c in labels]
    return normalize(torch.stack(means), dim=1), torch.tensor(labels)


def _info_nce(keys: Tensor, text: Tensor) -> Tensor:
    if not len(keys):
        return text.sum() * 0
    similar = keys @ normalize(text, dim=1).T / _INFO_NCE_TEMPERATURE
    return cross_entropy(similar, torch.arange(len(keys)))
