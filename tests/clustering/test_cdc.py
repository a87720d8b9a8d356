"""Clusters of blobs whose classes are known."""

import numpy as np
import pytest
import torch

from vlmcal.clustering.cdc import CDC, Settings, Views, choose, cluster, prototypes_apart
from vlmcal.clustering.kmeans import kmeans
from vlmcal.clustering.scores import agreement
from vlmcal.errors import DataError, SpecError

SMALL = Settings(hidden=16, batch=100, sub_batch=50, lr=1e-3, epochs=10)


def blobs(rows=200, spread=0.05):
    rng = np.random.default_rng(0)
    labels = np.arange(rows) % 4
    return np.eye(4, 8)[labels] + spread * rng.normal(size=(rows, 8)), labels


def test_separate_blobs_are_found_and_the_seed_decides():
    features, labels = blobs()
    found = cluster(features, 4, settings=SMALL)
    assert agreement(found.labels, labels).accuracy > 0.98
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(200), abs=1e-5)
    again = cluster(features, 4, settings=SMALL)
    assert np.array_equal(found.probabilities, again.probabilities)


def test_prototypes_end_as_a_simplex():
    start = torch.tensor([[1.0, 0.2, 0.0], [1.0, 0.0, 0.2], [0.8, 0.1, -0.3]])
    unit = torch.nn.functional.normalize(prototypes_apart(start), dim=1)
    torch.testing.assert_close(unit @ unit.T, 1.5 * torch.eye(3) - 0.5, atol=0.02, rtol=0)


def test_unsure_classes_give_fewer_rows():
    sure = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    assert choose(sure, 2).all()
    assert int(choose(0.5 * torch.ones(4, 2), 2).sum()) == 1  # both classes take the same first row


def test_a_batch_moves_both_heads_and_a_batch_without_a_choice_only_one():
    features = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    first = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    second = torch.randn(3, 5, generator=torch.Generator().manual_seed(2))
    views = Views(features, features, features)
    groups = torch.arange(20) % 10
    for per_class, moves in ((5, True), (1, False)):  # int(a * 1) = 0: nothing is chosen
        heads = CDC(first, second, Settings(sub_batch=10, per_class=per_class))
        before = heads.clustering.linear2.weight.detach().clone()
        losses = heads.batch(views, groups)
        assert bool((heads.clustering.linear2.weight != before).any()) == moves
        assert bool(losses["ce"].isnan().all()) != moves
        assert (heads.calibration.linear2.weight != second).any()


def test_kmeans_of_equal_rows_ends():
    centres, labels, inertia = kmeans(torch.ones(6, 2), 2, torch.Generator().manual_seed(0))
    assert inertia == 0
    assert centres.isfinite().all()
    assert len(labels) == 6


def test_agreement_by_hand():
    out = agreement([0, 0, 1, 1, 2], [1, 1, 0, 1, 0])
    assert out.accuracy == pytest.approx(3 / 5)
    assert sorted(out.matched.tolist()) == [-1, 0, 1]
    named = agreement(torch.tensor([0, 0, 1, 1, 2]), ["b", "b", "a", "b", "a"])
    assert (named.accuracy, named.matched.tolist()) == (out.accuracy, out.matched.tolist())


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda: cluster(blobs()[0], 1), SpecError),
        (lambda: cluster(blobs(6)[0], 4), DataError),
        (lambda: cluster(blobs()[0], 4, weak=blobs(100)[0]), DataError),
        (lambda: agreement([0, 1], [0]), DataError),
        (lambda: agreement([0, -1], [0, 1]), DataError),
        (lambda: agreement([0, 1], [0, 0.5]), DataError),
    ],
)
def test_what_cannot_be_clustered_is_refused(call, kind):
    with pytest.raises(kind):
        call()
