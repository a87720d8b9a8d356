"""Several trainings that share the passes through the text tower."""

import pytest
import torch

from training.test_loop import features, learner
from vlmcal.errors import TrainingError
from vlmcal.objectives.compose import parse_objective
from vlmcal.training import loop
from vlmcal.training import side_by_side as module
from vlmcal.training.config import TrainConfig
from vlmcal.training.loop import TrainingData, training
from vlmcal.training.side_by_side import alone, side_by_side


def start(encoder, objective="ce", seed=1, n=24, checkpoint=None, **options):
    config = TrainConfig(**{"epochs": 3, "batch_size": 8, "lr": 0.02} | options)
    data = TrainingData(train=features(n), validation=features(12, seed=5))
    terms = parse_objective(objective.split("+"))
    return training(learner(encoder, seed), terms, data, config, seed=seed, checkpoint=checkpoint)


def context(fitted):
    return fitted.learner.ctx.detach()


def both(encoder, settings):
    apart = [alone(start(encoder, **each)) for each in settings]
    ended = dict(side_by_side([start(encoder, **each) for each in settings]))
    return apart, [ended[i] for i in range(len(settings))]


def compare(apart, together):
    for one, other in zip(apart, together, strict=True):
        torch.testing.assert_close(context(other), context(one), rtol=1e-5, atol=1e-6)
        assert [r["accuracy"] for r in other.history] == [r["accuracy"] for r in one.history]
        losses = [[r["loss"] for r in each.history] for each in (one, other)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_seeds_sizes_lengths_and_recipes_may_differ(tiny_encoder):
    compare(
        *both(
            tiny_encoder,
            [
                {"seed": 1},
                {"seed": 2, "n": 9, "epochs": 5},
                {"seed": 3, "optimiser": "adam", "accumulate": 2},
                {"seed": 1, "objective": "ce+tcpt", "weight_decay": 0.1},
                {"seed": 4, "stop": "loss", "epochs": 4},
            ],
        )
    )


@pytest.mark.parametrize("objective", ["ce+tcpt", "ce+mbls", "ce+mdca", "ce+zs_norm", "focal"])
def test_objectives_of_other_runs_change_nothing(tiny_encoder, objective):
    compare(*both(tiny_encoder, [{"objective": objective}, {"objective": "ce", "seed": 2}]))


def test_one_pass_serves_all(tiny_encoder, monkeypatch):
    passes = []
    encode = module.encode_prompts

    def counted(encoder, layout, contexts, **options):
        passes.append(len(contexts))
        return encode(encoder, layout, contexts, **options)

    monkeypatch.setattr(module, "encode_prompts", counted)
    list(side_by_side([start(tiny_encoder, seed=s, epochs=2) for s in (1, 2, 3)]))
    assert passes == [3] * 6  # two epochs of three batches


def test_a_run_that_fails_does_not_stop_the_others(tiny_encoder):
    broken = start(tiny_encoder, seed=2, lr=1e30)
    ended = dict(side_by_side([start(tiny_encoder), broken, start(tiny_encoder, seed=3)]))
    assert isinstance(ended[1], TrainingError)
    compare([alone(start(tiny_encoder)), alone(start(tiny_encoder, seed=3))], [ended[0], ended[2]])


def test_a_company_that_was_interrupted_goes_on(tiny_encoder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)
    files = {seed: tmp_path / f"{seed}.safetensors" for seed in (1, 2)}

    def starts():
        return [start(tiny_encoder, seed=s, epochs=4, checkpoint=f) for s, f in files.items()]

    for run in starts():
        for _ in range(7):  # into the third epoch of three batches
            next(run)
        run.close()
    assert all(file.exists() for file in files.values())
    ended = dict(side_by_side(starts()))
    assert [ended[i].resumed_from for i in (0, 1)] == [2, 2]
    compare([alone(start(tiny_encoder, seed=s, epochs=4)) for s in files], [ended[0], ended[1]])
