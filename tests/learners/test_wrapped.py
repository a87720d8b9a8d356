"""Laplace, SWAG and ensembles: limits in which the answer is known."""

import numpy as np
import pytest
import torch

from vlmcal.backbones import load_backbone
from vlmcal.conformal.abstain import Abstain
from vlmcal.errors import DataError, SpecError
from vlmcal.experiment.extras import scored
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.objectives.compose import parse_objective
from vlmcal.posthoc.ensembles import ensemble
from vlmcal.seeding import torch_generator
from vlmcal.training.config import TrainConfig
from vlmcal.training.loop import TrainingData, fit
from vlmcal.types.features import Features
from vlmcal.types.predictions import Predictions

NAMES = ("zero", "one", "two")


@pytest.fixture(scope="module")
def classes():
    return ClassContext(
        load_backbone("pocket").with_logit_scale(20.0), NAMES, ("a photo of a {}.",)
    )


@pytest.fixture(scope="module")
def features(classes):
    draw = np.random.default_rng(0)
    labels = np.arange(30) % 3
    centres = np.random.default_rng(1).normal(size=(3, 1, classes.encoder.embed_dim))
    rows = centres[labels] + draw.normal(size=(30, 1, classes.encoder.embed_dim))
    return Features(image_features=rows.astype(np.float32), labels=labels,
                    ids=np.arange(30).astype(str), views=np.zeros((30, 1, 5)))  # fmt: skip


def make(name, classes, **options):
    kind = LEARNERS.get(name)
    return kind(classes, kind.Config(**options), torch_generator(1, "init"))


def train(learner, features, epochs=4):
    config = TrainConfig(epochs=epochs, lr=0.01, warmup_epochs=0, batch_size=10)
    fit(learner, parse_objective("ce"), TrainingData(train=features), config, seed=1)
    return learner.eval()


def batch(features):
    return Batch(image_features=torch.from_numpy(features.image_features[:, 0]),
                 labels=torch.from_numpy(features.labels))  # fmt: skip


def test_the_curvature_is_the_diagonal_of_the_hessian(classes, features):
    learner = train(make("laplace", classes), features)
    text = learner.base.classifier().double().detach()
    rows = torch.nn.functional.normalize(batch(features).image_features.double(), dim=-1)
    labels = torch.from_numpy(features.labels)

    def loss(weights):
        logits = 20.0 * rows @ weights.view_as(text).T
        return torch.nn.functional.cross_entropy(logits, labels, reduction="sum")

    hessian = torch.func.hessian(loss)(text.flatten())
    expected = hessian.diagonal().view_as(text)
    torch.testing.assert_close(learner.curvature.double(), expected, rtol=1e-3, atol=1e-4)


def test_a_sure_prior_gives_the_tuned_prompt_back(classes, features):
    coop = train(make("coop", classes), features)
    sure = train(make("laplace", classes, precision=1e10), features)
    given = batch(features)
    mine, theirs = (x.predict([given]).softmax(dim=-1) for x in (sure, coop))
    torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-4)
    loose = train(make("laplace", classes, precision=1.0), features)
    information = loose.signals(torch.nn.functional.normalize(given.image_features, dim=-1))
    assert float(information["mutual_information"].min()) >= 0
    assert float(information["mutual_information"].mean()) > 0.01


def test_names_without_images_are_known_by_the_prior_alone(classes, features):
    learner = train(make("laplace", classes), features)
    new = learner.for_classes(("one", "cat"))
    assert torch.equal(new._known()[0], learner.curvature[1])
    assert float(new._known()[1].abs().max()) == 0
    assert torch.equal(new.for_classes(NAMES)._known(), learner.curvature)
    assert torch.equal(new.delta, learner.delta)


def test_swag_records_the_mean_and_covariance_of_its_epochs(classes, features):
    learner, seen = make("swag", classes, start=0.5, rank=4), []
    learner.on_epoch_end, inner = None, learner.on_epoch_end

    def record(epoch, epochs):
        inner(epoch, epochs)
        seen.append(learner._flat())

    learner.on_epoch_end = record
    train(learner, features, epochs=6)
    rows = torch.stack(seen[3:])
    torch.testing.assert_close(learner.mean, rows.mean(dim=0))
    torch.testing.assert_close(learner.base.ctx.flatten(), rows.mean(dim=0))
    spread = learner.square - learner.mean.square()
    torch.testing.assert_close(spread, rows.var(dim=0, correction=0), rtol=1e-2, atol=1e-7)
    torch.testing.assert_close(learner.deviations[-1], rows[-1] - rows.mean(dim=0))
    assert learner.classifier().shape == (20, 3, classes.encoder.embed_dim)
    torch.testing.assert_close(
        learner.base.ctx.flatten(), rows.mean(dim=0)
    )  # put back after the draws


def test_swag_of_one_epoch_says_that_its_draws_are_one(classes, features):
    with pytest.warns(UserWarning, match="only one epoch was recorded"):
        train(make("swag", classes, start=0.9), features, epochs=2)


def test_before_training_swag_is_its_method(classes, features):
    plain, wrapped = make("coop", classes).eval(), make("swag", classes).eval()
    mine, theirs = (x.predict([batch(features)]).softmax(dim=-1) for x in (wrapped, plain))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("name", ["laplace", "swag"])
def test_what_has_no_single_prompt_is_refused(name, classes):
    for base in ("zero_shot", "cocoop", "maple", "clip_adapter", "linear_probe", name):
        with pytest.raises(SpecError):
            make(name, classes, base=base)


@pytest.mark.parametrize("name", ["bayes_coop", "laplace"])
def test_rows_carry_what_the_draws_disagree_about(name, classes, features):
    learner = make(name, classes, predictions=5).eval()
    frozen = torch.from_numpy(features.image_features[:, 0])
    rows = scored(learner, [batch(features)], frozen, labels=features.labels, split="val")
    information = rows.extras["mutual_information"]
    assert information.shape == (30,)
    assert (information >= 0).all()
    assert len(rows.subset([0, 1]).extras["mutual_information"]) == 2
    plain = scored(make("coop", classes).eval(), [batch(features)], frozen, labels=features.labels)
    assert "mutual_information" not in plain.extras


def test_an_ensemble_averages_probabilities_and_refuses_other_rows():
    draw = np.random.default_rng(0)
    labels = np.arange(20) % 3
    members = [Predictions(logits=draw.normal(size=(20, 3)), labels=labels) for _ in range(4)]
    both = ensemble(members)
    mean = np.mean([m.probabilities() for m in members], axis=0)
    np.testing.assert_allclose(both.probabilities(), mean)
    entropies = [-(m.probabilities() * np.log(m.probabilities())).sum(axis=1) for m in members]
    expected = -(mean * np.log(mean)).sum(axis=1) - np.mean(entropies, axis=0)
    np.testing.assert_allclose(both.extras["mutual_information"], expected, atol=1e-12)
    alone = ensemble(members[:1] * 3)
    np.testing.assert_allclose(alone.extras["mutual_information"], 0, atol=1e-12)
    with pytest.raises(SpecError, match="at least two"):
        ensemble(members[:1])
    with pytest.raises(DataError, match="member 2"):
        ensemble([members[0], members[1].subset(np.arange(10))])


def test_abstain_can_go_by_what_draws_disagree_about():
    draw = np.random.default_rng(0)
    labels = np.arange(400) % 2
    wrong = draw.random(400) < 0.3
    logits = np.where(
        (labels ^ wrong)[:, None] == np.arange(2), 2.0, 0.0
    )  # the same confidence everywhere
    extras = {"mutual_information": np.where(wrong, 0.5, 0.01) + 0.001 * draw.random(400)}
    rows = Predictions(logits=logits, labels=labels, extras=extras, split="val")
    new = Predictions(
        logits=logits, labels=labels, extras=extras, ids=[f"n{i}" for i in range(400)]
    )
    assert Abstain().fit(rows, 0.1).predict(new).sets.sum(axis=1).mean() == 2
    sets = Abstain(signal="mutual_information").fit(rows, 0.1).predict(new).sets
    answered = sets.sum(axis=1) == 1
    assert answered.mean() > 0.6
    assert wrong[answered].mean() < 0.1
    plain = Predictions(logits=logits, labels=labels, split="val")
    with pytest.raises(DataError, match="mutual_information"):
        Abstain(signal="mutual_information").fit(plain, 0.1)
