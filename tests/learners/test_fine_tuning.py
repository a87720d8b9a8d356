"""Methods that train the towers: what moves, what they start from, what they cost."""

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from contracts.test_learners import NAMES, TEMPLATES, Material
from tiny_clip import make_tiny_clip
from vlmcal.api import run
from vlmcal.backbones import load_backbone
from vlmcal.cli.app import app
from vlmcal.errors import SpecError
from vlmcal.experiment.store import Store
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.learners.linear_probe import LinearProbe
from vlmcal.learners.whole_model import Weights, tower_tensors
from vlmcal.metrics.feature_spectrum import smallest_singular_value
from vlmcal.objectives.clip_contrastive import ClipContrastive
from vlmcal.objectives.compose import parse_objective
from vlmcal.report.pages.runs import runs_table, shown_metrics
from vlmcal.seeding import torch_generator
from vlmcal.training.config import TrainConfig, learning_rate
from vlmcal.training.loop import fit
from vlmcal.types.outputs import Outputs


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    folder = make_tiny_clip(tmp_path_factory.mktemp("tiny"), text_layers=2, image_layers=2)
    return load_backbone(str(folder)).with_logit_scale(20.0)


@pytest.fixture(scope="module")
def material(encoder):
    return Material(encoder)


def make(name, encoder, **options):
    kind = LEARNERS.get(name)
    classes = ClassContext(encoder, NAMES, TEMPLATES)
    return kind(classes, kind.Config(**{**kind.small, **options}), torch_generator(1, "init"))


def train(learner, material, objective=None, **changes):
    settings = {"epochs": 2, "batch_size": 6, "optimiser": "adamw", "lr": 1e-3, "warmup_epochs": 0}
    objective = parse_objective(list(objective or learner.default_objective))
    fit(learner, objective, material.data(), TrainConfig(**(settings | changes)), seed=1)
    return learner.eval()


def state(learner):
    return {name: tensor.clone() for name, tensor in learner.state_dict().items()}


def test_before_the_first_step_they_are_zero_shot(encoder, material):
    zero = make("zero_shot", encoder).predict(material.batches(make("zero_shot", encoder)))
    for name in ("fine_tune", "flyp", "carot"):
        learner = make(name, encoder).eval()
        found = learner.predict(material.batches(learner))
        torch.testing.assert_close(found, zero, rtol=1e-4, atol=1e-4)


def test_only_the_declared_tower_is_there_to_move(encoder, material):
    image, text = (set(tower_tensors(encoder, side)) for side in ("image", "text"))
    rest = {n for n, _ in encoder.model.named_parameters()} - image - text
    assert rest == {"logit_scale"}
    learner = train(make("fine_tune", encoder), material)
    learned = {n.removeprefix("towers.") for n, _ in learner.named_parameters()}
    assert learned == image | {"weight", "bias"}
    learned = {n.removeprefix("towers.") for n, _ in make("flyp", encoder).named_parameters()}
    assert learned == image | text | {"log_scale"}


def test_without_its_terms_carot_is_flyp(encoder, material):
    flyp = state(train(make("flyp", encoder), material))
    carot = state(
        train(
            make("carot", encoder), material, objective=["clip_contrastive(false_negatives=mask)"]
        )
    )
    assert all(torch.equal(tensor, carot[name]) for name, tensor in flyp.items())


def test_the_teacher_follows_after_step_zero_and_then_every_so_many(encoder, material):
    learner = make("carot", encoder, every=3)
    start = state(learner)
    train(learner, material, epochs=1, batch_size=12)  # one step
    after = state(learner)
    for name in ("visual_projection.weight", "text_model.final_layer_norm.bias"):
        expected = 0.05 * start[f"towers.{name}"] + 0.95 * after[f"towers.{name}"]
        torch.testing.assert_close(after[f"teacher.{name}"], expected)
    expected = 0.05 * start["log_scale"] + 0.95 * after["log_scale"]
    torch.testing.assert_close(after["teacher_log_scale"], expected)
    kept = after["teacher_log_scale"].clone()
    learner.on_step_end(1, 10)
    assert torch.equal(learner.teacher_log_scale, kept)
    assert make("carot", encoder).interval(10_000) == 500
    assert make("carot", encoder).interval(40) == 2


def test_distillation_begins_after_step_zero(encoder, material):
    learner = make("carot", encoder).train()
    (batch,) = material.batches(learner)
    batch.seed = 1
    outputs = learner.outputs(batch)
    (term,) = parse_objective(["carot_distillation(weight=1)"], allow_incomplete=True).objectives
    assert float(term.compute(outputs)) == 0
    outputs.step = 1
    assert float(term.compute(outputs)) > 0


def test_masked_and_soft_false_negatives_by_hand():
    image = torch.eye(3)
    same = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0]])
    out = Outputs(image_features=same, caption_features=same, labels=torch.tensor([0, 0, 1]),
                  text_features=same[[0, 2]], logit_scale=torch.tensor(2.0))  # fmt: skip
    e = float(np.exp(2.0))
    masked = np.mean([np.log(1 + 1 / e), np.log(1 + 1 / e), np.log(1 + 2 / e)])
    kept = np.mean([np.log(2 + 1 / e)] * 2 + [np.log(1 + 2 / e)])
    assert float(ClipContrastive(false_negatives="mask").compute(out)) == pytest.approx(masked)
    assert float(ClipContrastive().compute(out)) == pytest.approx(kept)
    assert float(ClipContrastive(false_negatives="soft").compute(out)) == pytest.approx(kept)
    out = Outputs(image_features=image, caption_features=image.roll(1, 0), logit_scale=torch.tensor(2.0),
                  labels=torch.arange(3), text_features=image)  # fmt: skip
    values = [
        float(ClipContrastive(false_negatives=f).compute(out)) for f in ("keep", "mask", "soft")
    ]
    assert values == pytest.approx([values[0]] * 3)


@pytest.mark.parametrize("name", ["fine_tune", "carot"])
def test_passes_in_chunks_give_the_same_gradients_for_less_memory(name, encoder, material):
    found = {}
    for chunk in (0, 2):
        learner = make(name, encoder, chunk=chunk).train()
        (batch,) = material.batches(learner)
        batch.seed = 1
        kept = []

        def pack(tensor, kept=kept):
            kept.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            outputs = learner.outputs(batch)
            loss = torch.nn.functional.cross_entropy(outputs.logits, outputs.labels)
        slopes = torch.autograd.grad(loss, list(learner.parameters()), allow_unused=True)
        found[chunk] = sum(kept), loss, slopes
    (whole, loss, slopes), (parts, other_loss, other) = found[0], found[2]
    assert parts < whole / 4
    torch.testing.assert_close(other_loss, loss)
    for one, two in zip(slopes, other, strict=True):
        assert (one is None) == (two is None)
        if one is not None:
            torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-5)


def test_lp_ft_starts_from_the_probe(encoder, material):
    learner = make("lp_ft", encoder, inverse_strength=10.0)
    learner.begin(material.features, None)
    probe = LinearProbe(learner.classes, LinearProbe.Config(inverse_strength=10.0))
    probe.begin(material.features, None)
    batches = material.batches(learner)
    torch.testing.assert_close(
        learner.eval().predict(batches), probe.eval().predict(batches), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("base", ["fine_tune", "flyp", "coop"])
def test_the_ends_of_wise_ft_are_the_start_and_the_tuned_model(base, encoder, material):
    options = {"init": "a photo of a"} if base == "coop" else {}
    start = make(base, encoder, **options).eval()
    tuned = train(make(base, encoder, **options), material)
    batches = material.batches(tuned)
    for alpha, other in ((0.0, start), (1.0, tuned)):
        learner = make("wise_ft", encoder, alpha=alpha, base=base, options=options)
        learner.take(tuned)
        assert torch.equal(learner.eval().predict(batches), other.predict(batches))
    half = make("wise_ft", encoder, base=base, options=options)
    half.take(tuned)
    (name, value), *_ = half.base.named_parameters()
    middle = (start.get_parameter(name) + tuned.get_parameter(name)) / 2
    torch.testing.assert_close(value, middle)


def test_wise_ft_around_what_has_no_training_is_refused(encoder):
    for base in ("zero_shot", "wise_ft"):
        with pytest.raises(SpecError, match="no training"):
            make("wise_ft", encoder, base=base)
    with pytest.raises(SpecError, match="alpha"):
        make("wise_ft", encoder, alpha=1.5)


def test_a_curve_over_alpha_trains_once_and_shows_the_terms_of_the_bound(
    tiny_folder, small_images, tmp_path
):
    metrics = ["accuracy", "ece", "smallest_singular_value"]
    rows = run(
        {
            "data": {"path": str(small_images)},
            "backbone": str(tiny_folder),
            "method": ["fine_tune", {"name": "wise_ft", "alpha": [0.0, 0.5, 1.0]}],
            "shots": 2,
            "train": {"epochs": 2, "batch_size": 4, "lr": 1e-3},
            "evaluate": {"calibrators": ["none"], "metrics": metrics, "resamples": 100},
        },
        tmp_path,
    )
    tuned, start, middle, end = (row.predictions.logits for row in rows)
    np.testing.assert_array_equal(end, tuned)
    assert not np.array_equal(start, tuned)
    assert not np.array_equal(middle, tuned)
    store = Store(tmp_path)
    assert len(store.runs()) == 4
    histories = {row.run: store.history(row.run) for row in rows}
    assert len({str(history) for history in histories.values()}) == 1
    report = CliRunner().invoke(
        app, ["report", str(tmp_path), "-c", "none", "--metrics", ",".join(metrics)]
    )
    assert report.exit_code == 0, report.output
    for text in (report.output, runs_table(rows, shown_metrics(metrics)).to_text()):
        assert all(f"wise_ft (alpha={alpha})" in text for alpha in (0.0, 0.5, 1.0))
        assert "smallest singular value" in text
        assert "NLL" not in text
    for row in rows:
        found = row.evaluation["smallest_singular_value"].value
        assert found == smallest_singular_value(row.predictions.extras["image_features"])


def test_a_schedule_per_step():
    config = TrainConfig(schedule="cosine_step", warmup_epochs=0, warmup_steps=2, lr=1.0)
    rates = [learning_rate(config, 0, step, 5) for step in range(5)]
    assert rates == pytest.approx([0.5, 1.0, 1.0, 0.75, 0.25])
    for wrong in ({"warmup_steps": 2}, {"schedule": "cosine_step"}):
        with pytest.raises(SpecError, match="warmup"):
            TrainConfig(**wrong)


def test_weights_keep_their_names_and_are_copies():
    given = {"a.b.weight": torch.ones(2), "a.bias": torch.zeros(1, dtype=torch.bfloat16)}
    weights = Weights(given)
    assert set(weights.named()) == set(given)
    assert weights.get_parameter("a.bias").dtype == torch.float32
    with torch.no_grad():
        weights.get_parameter("a.b.weight").zero_()
    assert given["a.b.weight"].tolist() == [1.0, 1.0]
    assert not list(Weights(given, learned=False).parameters())
