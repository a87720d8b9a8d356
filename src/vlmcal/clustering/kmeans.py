"""K-means with spread-out starts, and the row scaling that the heads' prototypes are found in."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def zscored(rows: Tensor) -> Tensor:
    """Every row minus its mean, of length 1.

    Example:
        >>> [round(value, 3) for value in zscored(torch.tensor([[1.0, 3.0]]))[0].tolist()]
        [-0.707, 0.707]
    """
    return normalize(rows - rows.mean(dim=1, keepdim=True), dim=1)


def kmeans(
    rows: Tensor, k: int, generator: torch.Generator, *, starts: int = 1, iterations: int = 100
) -> tuple[Tensor, Tensor, float]:
    """Centres (k, D), labels (N,) and inertia, the sum of distances (not squared), of the best start.

    The first centre is a random row, each further one a row drawn with probability proportional to the
    squared distance from the nearest centre (k-means++). A centre that loses its rows stays where it is.

    Example:
        >>> rows = torch.tensor([[0.0], [0.2], [5.0], [5.2]])
        >>> centres, labels, inertia = kmeans(rows, 2, torch.Generator().manual_seed(0))
        >>> sorted(round(value, 1) for value in centres.flatten().tolist()), round(inertia, 2)
        ([0.1, 5.1], 0.4)
    """
    best: tuple[Tensor, Tensor, float] | None = None
    for _ in range(starts):
        found = _once(rows, _spread(rows, k, generator), iterations)
        if best is None or found[2] < best[2]:
            best = found
    assert best is not None
    return best


def _spread(rows: Tensor, k: int, generator: torch.Generator) -> Tensor:
    picked = [int(torch.randint(len(rows), (1,), generator=generator))]
    nearest = torch.cdist(rows, rows[picked]).square()[:, 0]
    while len(picked) < k:
        weights = nearest if float(nearest.sum()) > 0 else torch.ones_like(nearest)
        picked.append(int(torch.multinomial(weights.cpu(), 1, generator=generator)))
        nearest = torch.minimum(nearest, torch.cdist(rows, rows[picked[-1:]]).square()[:, 0])
    return rows[picked].clone()


def _once(rows: Tensor, centres: Tensor, iterations: int) -> tuple[Tensor, Tensor, float]:
    labels = torch.cdist(rows, centres).argmin(dim=1)
    for _ in range(iterations):
        centres = group_means(rows, labels, len(centres), centres)
        new = torch.cdist(rows, centres).argmin(dim=1)
        if torch.equal(new, labels):
            break
        labels = new
    inertia = float((rows - centres[labels]).norm(dim=1).sum())
    return centres, labels, inertia


def group_means(rows: Tensor, labels: Tensor, k: int, empty: Tensor | None = None) -> Tensor:
    """Mean row (k, D) of each group; a group without rows is 0, or its row of ``empty``.

    Example:
        >>> group_means(torch.tensor([[1.0], [3.0]]), torch.tensor([0, 0]), 2).tolist()
        [[2.0], [0.0]]
    """
    sums = rows.new_zeros(k, rows.shape[1]).index_add_(0, labels, rows)
    counts = torch.bincount(labels, minlength=k).to(rows.dtype)[:, None]
    means = sums / counts.clamp_min(1)
    return means if empty is None else torch.where(counts > 0, means, empty)
