"""Prompts drawn from a distribution: limits in which the answer is known."""

import math

import pytest
import torch

from vlmcal.backbones import load_backbone
from vlmcal.errors import SpecError
from vlmcal.learners.base import Batch, ClassContext
from vlmcal.learners.bayes_coop import BayesCoOp
from vlmcal.learners.coop import CoOp
from vlmcal.learners.sampled_prompts import predictive
from vlmcal.objectives.ce import CrossEntropy
from vlmcal.objectives.sampled_ce import SampledCE


@pytest.fixture(scope="module")
def classes():
    return ClassContext(load_backbone("pocket"), ("zero", "one", "two"), ("a photo of a {}.",))


def batch(classes, rows=4):
    stream = torch.Generator().manual_seed(0)
    features = torch.randn(rows, classes.encoder.embed_dim, generator=stream)
    return Batch(image_features=features, labels=torch.tensor([0, 1, 2, 0])[:rows])


def learner(classes, **options):
    stream = torch.Generator().manual_seed(1)
    return BayesCoOp(classes, BayesCoOp.Config(init="a photo", predictions=4, **options), stream)


def test_without_spread_it_is_coop(classes):
    bayes = learner(classes, sigma=1e-7)
    coop = CoOp(classes, CoOp.Config(init="a photo"))
    mine, theirs = (x.eval().predict([batch(classes)]).softmax(dim=-1) for x in (bayes, coop))
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=0)
    assert float(bayes.uncertainty([batch(classes)]).information.max()) < 1e-5


def test_the_divergence_of_one_entry_by_hand(classes):
    bayes = learner(classes, sigma=0.02)
    assert float(bayes.kl().detach()) == pytest.approx(0, abs=1e-4)
    with torch.no_grad():
        bayes.ctx[0, 0] += 0.04  # two deviations: 2^2 / 2
    assert float(bayes.kl().detach()) == pytest.approx(2, abs=1e-3)
    bayes.begin(range(10), None)
    assert float(bayes.divergence().detach()) == pytest.approx(0.2, abs=1e-4)


def test_the_lower_bound_is_below_the_mixture(classes):
    bayes = learner(classes, sigma=0.05, samples=5).train()
    outputs = bayes.outputs(batch(classes))
    assert SampledCE().compute(outputs) > CrossEntropy().compute(outputs)
    assert outputs.sample_logits.shape == (4, 5, 3)


def test_predictions_do_not_depend_on_the_batch_and_survive_other_names(classes):
    bayes = learner(classes, sigma=0.05).eval()
    whole, parts = batch(classes), [batch(classes, 2), batch(classes, 4)]
    torch.testing.assert_close(
        bayes.predict([whole])[:2], bayes.predict(parts)[:2], atol=1e-5, rtol=0
    )
    same = bayes.for_classes(("two", "one", "zero")).predict([whole])
    torch.testing.assert_close(same.flip(1), bayes.predict([whole]), atol=1e-4, rtol=0)


def test_information_is_what_samples_disagree_about():
    apart = torch.tensor([[[60.0, 0.0]], [[0.0, 60.0]]])
    out = predictive(apart)
    assert float(out.information) == pytest.approx(math.log(2))
    assert float(predictive(apart[:1]).information) == 0
    agree = predictive(torch.zeros(3, 1, 2))
    assert float(agree.total) == pytest.approx(math.log(2))
    assert float(agree.information) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("options", [{"samples": 0}, {"sigma": 0.0}, {"class_specific": True}])
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(SpecError):
        BayesCoOp.Config(**options)


def test_the_low_rank_divergence_is_that_of_the_whole_covariance(classes):
    bayes = learner(classes, sigma=0.01, low_rank=2, prior_sigma=0.03)
    n = bayes.ctx.numel()
    sigma = bayes.sigma.detach().expand_as(bayes.ctx).reshape(-1).double()
    u = bayes.factor.detach().double()
    covariance = torch.diag(sigma.square()) + u @ u.T
    zero = torch.zeros(n, dtype=torch.float64)
    q = torch.distributions.MultivariateNormal(zero, covariance)
    p = torch.distributions.MultivariateNormal(zero, 0.03**2 * torch.eye(n, dtype=torch.float64))
    expected = float(torch.distributions.kl_divergence(q, p))
    assert float(bayes.kl().detach()) == pytest.approx(expected, rel=1e-4)
    noise = torch.randn(4000, n + 2, generator=torch.Generator().manual_seed(0))
    drawn = (bayes.sampled(noise) - bayes.ctx).detach().reshape(4000, n)[:, :3].double()
    torch.testing.assert_close(torch.cov(drawn.T), covariance[:3, :3], atol=2e-5, rtol=0.2)


def test_the_divergence_warms_up(classes):
    bayes = learner(classes, sigma=0.01, kl_warmup=0.5)
    plain = learner(classes, sigma=0.01)
    assert float(bayes.divergence().detach()) == 0
    for epoch, share in ((0, 0.5), (1, 1.0), (3, 1.0)):
        bayes.on_epoch_end(epoch, 4)
        expected = share * float(plain.divergence().detach())
        assert float(bayes.divergence().detach()) == pytest.approx(expected)
