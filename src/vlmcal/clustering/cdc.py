"""Calibrated deep clustering: a clustering head and a calibration head that choose and correct each other."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from vlmcal.clustering.kmeans import group_means, kmeans, zscored
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import FloatArray, IntArray, Numbers, as_array, require_finite


class Head(nn.Module):
    """Linear, batch normalisation, ReLU, linear: (B, D) -> (B, K)."""

    def __init__(self, first: Tensor, second: Tensor) -> None:
        super().__init__()
        self.linear1 = _linear(first)
        self.bn = nn.BatchNorm1d(len(first), dtype=first.dtype, device=first.device)
        self.linear2 = _linear(second)

    def forward(self, features: Tensor) -> Tensor:
        """Logits."""
        hidden: Tensor = self.bn(self.linear1(features))
        found: Tensor = self.linear2(hidden.relu())
        return found


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], len(weight), device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.zero_()
    return layer


def prototypes_apart(prototypes: Tensor, steps: int = 2000, scale: float = 5.0) -> Tensor:
    """Prototypes (K, D) turned away from each other: trained as a cosine classifier of themselves.

    SGD with momentum 0.9, weight decay 1e-4 and a cosine from 0.1 on the cross-entropy of
    scale * cos(w_i, w_j) with target i = j. With K <= D + 1 cosines end at -1 / (K - 1).

    Example:
        >>> w = prototypes_apart(torch.tensor([[1.0, 0.4], [1.0, -0.4]]))
        >>> bool(torch.cosine_similarity(w[0], w[1], dim=0) < -0.95)
        True
    """
    weight = prototypes.detach().clone().requires_grad_(True)
    optimiser = torch.optim.SGD([weight], lr=0.1, momentum=0.9, weight_decay=1e-4)
    target = torch.arange(len(weight), device=weight.device)
    for step in range(steps):
        optimiser.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / steps))
        unit = normalize(weight, dim=1)
        optimiser.zero_grad()
        torch.autograd.backward(cross_entropy(scale * unit @ unit.T, target))
        optimiser.step()
    return weight.detach()


def hidden_prototypes(features: Tensor, first: Tensor) -> Tensor:
    """What the second layer's prototypes are found in: z-scored activations (N, H) of the first centres.

    relu(z W' / sqrt(1 + 1e-5)), the batch normalisation being fresh and in evaluation mode.
    """
    return zscored((zscored(features) @ first.T / math.sqrt(1 + 1e-5)).relu())


def choose(probabilities: Tensor, per_class: int) -> Tensor:
    """Rows (N,) bool that train the clustering head.

    For each class the ``per_class`` rows with the largest probability of it; of these the first
    floor(a per_class), where a is the mean of their largest probabilities: where the calibration head is
    unsure, fewer rows are taken.

    Example:
        >>> choose(torch.tensor([[0.9, 0.1], [0.7, 0.3], [0.2, 0.8]]), 2).tolist()
        [True, False, True]
    """
    kept = torch.zeros(len(probabilities), dtype=torch.bool, device=probabilities.device)
    confident = probabilities.max(dim=1).values
    size = min(per_class, len(probabilities))
    for column in probabilities.T:
        top = column.sort(descending=True, stable=True).indices[:size]
        kept[top[: int(float(confident[top].mean()) * size)]] = True
    return kept


@dataclass(frozen=True)
class Settings:
    """Published settings; what depends on the batch is a share of it.

    Attributes:
        hidden: Width of the heads' hidden layer.
        batch: Rows that pseudo-labels and super-clusters are made of.
        sub_batch: Rows of one optimiser step.
        groups: Super-clusters of a batch; None for half its rows.
        per_class: Candidates of each class in a batch; None for rows / classes.
        entropy: Weight of the mean prediction's negative entropy.
        lr: Of Adam, one optimiser for each head.
        epochs: Passes over the rows.
    """

    hidden: int = 512
    batch: int = 1000
    sub_batch: int = 500
    groups: int | None = None
    per_class: int | None = None
    entropy: float = 1.0
    lr: float = 1e-4
    epochs: int = 100


class Views(NamedTuple):
    """Frozen features of one batch, (B, D) each: plain, weakly and strongly augmented."""

    plain: Tensor
    weak: Tensor
    strong: Tensor


class CDC:
    """Two heads on the same frozen features, trained by one batch after the other.

    Per batch: pseudo-labels and their choice from the calibration head on the weak view; targets of the
    calibration head are the clustering head's probabilities, averaged over super-clusters of the batch.
    Per sub-batch: cross-entropy of the clustering head on the strong view of chosen rows, then of the
    calibration head on the plain view plus the negative entropy of its mean prediction.

    Source: Jia et al., "Towards Calibrated Deep Clustering Network", ICLR 2025, arXiv 2403.02998; here the
    encoder stays frozen.
    """

    def __init__(self, first: Tensor, second: Tensor, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.clustering, self.calibration = Head(first, second), Head(first, second)
        lr = self.settings.lr
        self.optimisers = [
            torch.optim.Adam(head.parameters(), lr=lr)
            for head in (self.clustering, self.calibration)
        ]

    @torch.no_grad()
    def look(self, views: Views) -> tuple[Tensor, Tensor]:
        """Probabilities of the clustering head (plain view) and the calibration head (weak view).

        Both heads are in training mode, so that their batch statistics move.
        """
        self.train(True)
        plain = self.clustering(views.plain).softmax(dim=1)
        self.clustering(views.weak)  # as in the code, which asks both heads: its statistics move
        return plain, self.calibration(views.weak).softmax(dim=1)

    def train(self, mode: bool) -> None:
        """Training or evaluation mode of both heads."""
        self.clustering.train(mode)
        self.calibration.train(mode)

    def batch(self, views: Views, groups: Tensor) -> dict[str, Tensor]:
        """Train on one batch whose super-clusters (B,) are given; the loss terms of every sub-batch."""
        settings = self.settings
        plain, weak = self.look(views)
        targets = group_means(plain, groups, int(groups.max()) + 1)[groups]
        labels = weak.argmax(dim=1)
        kept = choose(weak, settings.per_class or max(1, len(weak) // weak.shape[1]))
        losses: dict[str, list[Tensor]] = {}
        for start in range(0, len(plain), settings.sub_batch):
            rows = slice(start, start + settings.sub_batch)
            found = self._step(views, rows, labels, kept, targets)
            for name, value in found.items():
                losses.setdefault(name, []).append(value.detach())
        told = {"targets": targets, "labels": labels, "selected": kept}
        told |= {"clustering_probabilities": plain, "calibration_probabilities": weak}
        return told | {name: torch.stack(values) for name, values in losses.items()}

    def _step(
        self, views: Views, rows: slice, labels: Tensor, kept: Tensor, targets: Tensor
    ) -> dict[str, Tensor]:
        inside = kept[rows]
        found = {"ce": views.plain.new_tensor(float("nan"))}
        if bool(inside.any()) and len(inside) > 1:  # batch statistics need two rows
            scores = self.clustering(views.strong[rows])[inside]
            found["ce"] = cross_entropy(scores, labels[rows][inside])
            self._update(0, found["ce"])
        if rows.start + 1 < len(views.plain):
            logs = self.calibration(views.plain[rows]).log_softmax(dim=1)
            # by logarithms: a class that no row of the part gives any probability would be 0 log 0
            mean = logs.logsumexp(dim=0) - math.log(len(logs))
            found["soft_ce"] = -(targets[rows] * logs).sum(dim=1).mean()
            found["negative_entropy"] = (mean.exp() * mean).sum()
            total = found["soft_ce"] + self.settings.entropy * found["negative_entropy"]
            found["calibration_total"] = total
            self._update(1, total)
        return found

    def _update(self, which: int, loss: Tensor) -> None:
        self.optimisers[which].zero_grad()
        torch.autograd.backward(loss)
        self.optimisers[which].step()

    @torch.no_grad()
    def probabilities(self, features: Tensor) -> Tensor:
        """The calibration head's probabilities (N, K) of plain features: the confidence to report."""
        self.train(False)
        found: Tensor = self.calibration(features).softmax(dim=1)
        return found


class Clusters(NamedTuple):
    """Clusters of N rows.

    Attributes:
        labels: (N,) cluster of each row.
        probabilities: (N, K) of the calibration head.
        uncalibrated: (N, K) of the clustering head.
    """

    labels: IntArray
    probabilities: FloatArray
    uncalibrated: FloatArray


def require_enough(n: int, k: int) -> None:
    """Refuse a number of clusters that N rows cannot fill.

    Raises:
        SpecError: k is below 2.
        DataError: Fewer than two rows for each cluster.
    """
    if k < 2:
        raise SpecError(f"k: expected at least 2 clusters, got {k}")
    if n < 2 * k:
        raise DataError(
            f"{k} clusters need at least {2 * k} rows, got {n}; ask for fewer clusters or give more rows"
        )


def cluster(
    features: Numbers,
    k: int,
    *,
    weak: Numbers | None = None,
    strong: Numbers | None = None,
    settings: Settings | None = None,
    seed: int = 0,
) -> Clusters:
    """Cluster frozen features (N, D) into k groups with calibrated confidences; no label is read.

    Args:
        features: Of the plain view; brought to unit length.
        k: Number of clusters; must be given.
        weak: Features of a weakly augmented view, or None for the plain ones.
        strong: Features of a strongly augmented view, or None for the plain ones.
        settings: Of the heads.
        seed: Of centres and order.

    Raises:
        SpecError: k is below 2.
        DataError: Fewer than two rows for each cluster, NaN, or shapes that differ.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> rows = np.eye(3)[np.arange(60) % 3] + 0.05 * rng.normal(size=(60, 3))
        >>> found = cluster(rows, 3, settings=Settings(hidden=8, epochs=2))
        >>> len({(int(a), b % 3) for b, a in enumerate(found.labels)})
        3
    """
    given = [features if view is None else view for view in (features, weak, strong)]
    arrays = [as_array(view) for view in given]
    shapes = {view.shape for view in arrays}
    if len(shapes) != 1 or arrays[0].ndim != 2:
        raise DataError(f"features: expected one shape (N, D) for all views, got {sorted(shapes)}")
    require_enough(len(arrays[0]), k)
    for view in arrays:
        require_finite(view, "features")
    chosen = settings or Settings()
    plain, *others = (normalize(torch.tensor(view, dtype=torch.float32)) for view in arrays)
    views = Views(plain, *others)
    stream = torch.Generator().manual_seed(seed)
    first, _, _ = kmeans(zscored(plain), min(chosen.hidden, len(plain)), stream)
    second, _, _ = kmeans(hidden_prototypes(plain, first), k, stream, starts=10)
    heads = CDC(prototypes_apart(first), prototypes_apart(second), chosen)
    for _ in range(chosen.epochs):
        order = torch.randperm(len(plain), generator=stream)
        for start in range(0, len(order), chosen.batch):
            rows = order[start : start + chosen.batch]
            if len(rows) < 2 * k:
                continue
            part = Views(*(view[rows] for view in views))
            shares = part.plain / part.plain.abs().sum(dim=1, keepdim=True)
            groups = chosen.groups or max(1, len(rows) // 2)
            _, found, _ = kmeans(shares, min(groups, len(rows)), stream, iterations=20)
            heads.batch(part, found)
    probabilities = heads.probabilities(plain)
    with torch.no_grad():
        raw = heads.clustering(plain).softmax(dim=1)
    return Clusters(
        probabilities.argmax(dim=1).numpy(), probabilities.double().numpy(), raw.double().numpy()
    )
