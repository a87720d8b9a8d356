"""Teacher objectives and gradient rules."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax, normalize, softmax

from vlmcal.errors import SpecError
from vlmcal.learners.averaging import aggregation_weights
from vlmcal.objectives.base import OBJECTIVES, SumCombiner, Term, weighted_sum
from vlmcal.objectives.carot_distillation import teacher_momentum
from vlmcal.objectives.combiners import ProjectionCombiner, projected
from vlmcal.objectives.compose import parse_objective
from vlmcal.types.outputs import Outputs


def make(name, **fields):
    return OBJECTIVES.get(name)(**fields)


@pytest.mark.parametrize("seed", range(20))
def test_projected_gradient_never_increases_the_guide_to_first_order(seed):
    stream = torch.Generator().manual_seed(seed)
    g, h = (torch.randn(4, 3, generator=stream, dtype=torch.float64) for _ in range(2))
    # A step along -out changes the guide by -<out, h>, which must not be positive.
    out = projected(g, h)
    assert float((out * h).sum()) >= -1e-12
    if float((g * h).sum()) >= 0:
        assert torch.equal(out, g)
    else:
        assert float((out * h).sum()) == pytest.approx(0, abs=1e-12)


def test_projection_strength_and_zero_guide():
    g, h = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 3.0])
    assert projected(g, h, 0.5).tolist() == [1, -1]
    assert projected(g, h, 0.0).tolist() == [1, -2]
    assert projected(g, torch.zeros(2)).tolist() == [1, -2]


def linear_step(seed):
    torch.manual_seed(seed)
    model = nn.Linear(5, 3).double()
    x = torch.randn(8, 5, dtype=torch.float64)
    labels, teacher = torch.randint(3, (8,)), 4 * torch.randn(8, 3, dtype=torch.float64)
    return model, Outputs(logits=model(x), labels=labels, zero_shot_logits=teacher), x


@pytest.mark.parametrize("seed", range(6))
def test_a_prograd_step_does_not_raise_the_divergence(seed):
    model, outputs, x = linear_step(seed)
    objective = parse_objective(["ce", "prograd"])
    terms = objective.terms(outputs)
    total = objective.combiner().backward(terms, model.parameters())
    assert float(total) == pytest.approx(cross_entropy(outputs.logits, outputs.labels).item())

    @torch.no_grad()
    def divergence():
        return kl_div(
            log_softmax(model(x), 1), softmax(outputs.zero_shot_logits, 1), reduction="batchmean"
        )

    before = float(divergence())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= 1e-5 * parameter.grad
    assert float(divergence()) <= before + 1e-9


def test_prograd_projects_tensor_by_tensor_and_leaves_agreeing_ones(make_batch):
    model, outputs, _ = linear_step(1)
    terms = parse_objective(["ce", "prograd"]).terms(outputs)
    parameters = list(model.parameters())
    task = torch.autograd.grad(terms["ce"].value, parameters, retain_graph=True)
    guide = torch.autograd.grad(terms["prograd"].value, parameters, retain_graph=True)
    ProjectionCombiner().backward(terms, parameters)
    for parameter, g, h in zip(parameters, task, guide, strict=True):
        unit = h / h.norm()
        along = float((g * unit).sum())
        want = g if along >= 0 else g - along * unit
        torch.testing.assert_close(parameter.grad, want)


def test_prograd_steers_all_other_terms():
    model, outputs, _ = linear_step(2)
    objective = parse_objective(["ce", "dca", "prograd"])
    terms = objective.terms(outputs)
    total = objective.combiner().backward(terms, model.parameters())
    torch.testing.assert_close(total, (terms["ce"].value + terms["dca"].value).detach())


def test_a_guide_cannot_be_summed_silently():
    model, outputs, _ = linear_step(0)
    terms = parse_objective(["ce", "prograd"]).terms(outputs)
    with pytest.raises(SpecError, match="prograd steer"):
        SumCombiner().backward(terms, model.parameters())
    with pytest.raises(SpecError, match='add the objective "prograd"'):
        ProjectionCombiner().backward({"ce": terms["ce"]}, model.parameters())
    with pytest.raises(SpecError, match="only guides"):
        ProjectionCombiner().backward({"prograd": terms["prograd"]}, model.parameters())


def test_prograd_can_be_summed_on_request():
    model, outputs, _ = linear_step(0)
    objective = parse_objective(["ce", {"name": "prograd", "combine": "sum"}])
    terms = objective.terms(outputs)
    assert isinstance(objective.combiner(), SumCombiner)
    total = objective.combiner().backward(terms, model.parameters())
    torch.testing.assert_close(total, (terms["ce"].value + terms["prograd"].value).detach())


def test_combiners_skip_parameters_that_no_term_reaches():
    used, unused = (nn.Parameter(torch.ones(2)) for _ in range(2))
    terms = {"a": Term(used.sum(), 1.0), "b": Term(-used.sum(), 1.0, guide=True)}
    ProjectionCombiner().backward(terms, [used, unused])
    assert unused.grad is None
    assert used.grad.tolist() == pytest.approx([0, 0], abs=1e-6)


def test_sum_combiner_is_backward_of_the_weighted_sum():
    w = nn.Parameter(torch.tensor([2.0]))
    total = SumCombiner().backward({"a": Term(w**2, 3.0), "b": Term(w, -1.0)}, [w])
    assert (float(total), float(w.grad)) == (10, 11)
    assert float(weighted_sum({"a": Term(w, 1.0), "b": Term(w, 9.0, guide=True)})) == 2


def test_prompt_src_terms(make_batch):
    outputs = make_batch(batch=3, classes=4)
    outputs.frozen_image_features = normalize(torch.randn(3, 6, dtype=torch.float64), dim=-1)
    terms = make("prompt_src").terms(outputs)
    assert {key: term.weight for key, term in terms.items()} == {
        "text": 25,
        "image": 10,
        "logits": 1,
    }
    divergence = kl_div(
        log_softmax(outputs.logits, 1),
        log_softmax(outputs.zero_shot_logits, 1),
        reduction="sum",
        log_target=True,
    )
    torch.testing.assert_close(terms["logits"].value, divergence / 12)
    text = (outputs.text_features - outputs.frozen_text_features).abs().mean()
    torch.testing.assert_close(terms["text"].value, text)


def test_prompt_aggregation_weights():
    weights = aggregation_weights(20, 15, 1)
    assert sum(weights) == pytest.approx(1)
    assert max(weights) == weights[14]
    assert weights[0] < 1e-30
    flat = aggregation_weights(50, 30, 30)
    assert flat[29] / flat[49] == pytest.approx(math.exp(400 / 1800))


def sentences():
    return normalize(torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(7)), dim=-1)


def co_prompt(seed, text):
    image = normalize(torch.ones(2, 6), dim=-1)
    outputs = Outputs(
        text_features=text,
        frozen_template_features=sentences(),
        image_features=image,
        frozen_second_image_features=image,
        generator=torch.Generator().manual_seed(seed),
    )
    return float(make("co_prompt").loss(outputs))


def test_co_prompt_draws_one_sentence_for_all_classes():
    for number in range(4):
        values = {round(co_prompt(seed, sentences()[number]), 5) for seed in range(30)}
        assert 0 in values
        assert len(values) == 4


def test_co_prompt_with_the_mean_of_all_sentences_needs_no_stream():
    image = normalize(torch.ones(2, 6), dim=-1)
    outputs = Outputs(
        text_features=normalize(sentences().mean(0), dim=-1),
        frozen_template_features=sentences(),
        image_features=image,
        frozen_second_image_features=-image,
    )
    terms = make("co_prompt", sentences="mean").terms(outputs)
    assert float(terms["text"].value) == pytest.approx(0, abs=1e-6)
    assert float(terms["image"].value) == pytest.approx(2)


def test_carot_orthogonality_of_both_layouts():
    matrix = torch.linalg.qr(torch.randn(5, 3, dtype=torch.float64)).Q
    for layout, stored in (("width_embed", matrix), ("embed_width", matrix.T)):
        objective = make("carot_orthogonality", parameter="proj", layout=layout)
        value = objective.loss(Outputs(parameters={"image.proj": 2 * stored}))
        assert float(value) == pytest.approx(3 * math.sqrt(3))


def test_carot_names_the_matrices_there_are():
    outputs = Outputs(parameters={"visual_projection.weihgt": torch.eye(2)})
    with pytest.raises(SpecError, match=r'found 0; did you mean "visual_projection\.weihgt"'):
        make("carot_orthogonality").loss(outputs)


def test_carot_distillation_of_an_identical_teacher_is_the_entropy():
    image, text = (normalize(torch.randn(4, 6, dtype=torch.float64), dim=-1) for _ in range(2))
    outputs = Outputs(
        labels=torch.arange(4),
        image_features=image,
        text_features=text,
        frozen_image_features=image,
        frozen_text_features=text,
        logit_scale=torch.tensor(3.0, dtype=torch.float64),
    )
    scores = 3 * image @ text.T
    entropy = [-(softmax(s, 1) * log_softmax(s, 1)).sum(1).mean() for s in (scores, scores.T)]
    torch.testing.assert_close(make("carot_distillation").loss(outputs), sum(entropy))


def test_contrastive_uses_the_text_of_each_label():
    text = torch.eye(3)
    outputs = Outputs(
        labels=torch.tensor([2, 0]),
        image_features=torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        text_features=text,
        logit_scale=torch.tensor(50.0),
    )
    assert float(make("clip_contrastive").loss(outputs)) == pytest.approx(0, abs=1e-6)


def test_teacher_momentum_rises_over_the_first_fifth():
    assert teacher_momentum(0, 500) == pytest.approx(0.05)
    assert teacher_momentum(50, 500) == pytest.approx(0.475)
    assert teacher_momentum(100, 500) == teacher_momentum(499, 500) == pytest.approx(0.9)


@pytest.mark.parametrize("seed", range(4))
def test_biomedcoop_is_its_released_formula(seed):
    stream = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=stream, dtype=torch.float64)  # noqa: E731
    tuned, sentences = normalize(draw(3, 6), dim=-1), normalize(draw(9, 3, 6), dim=-1)
    images, scale = normalize(draw(5, 6), dim=-1), torch.tensor(20.0, dtype=torch.float64)
    logits = scale * images @ tuned.T
    outputs = Outputs(
        logits=logits,
        text_features=tuned,
        frozen_template_features=sentences,
        frozen_image_features=images,
        logit_scale=scale,
    )
    terms = make("biomedcoop", consistency=2.0, distillation=3.0, tau=1.25).terms(outputs)
    scores = torch.stack([(scale * images @ one.T).max(dim=1).values.mean() for one in sentences])
    centre = scores.median()
    robust = (scores - centre) / (scores - centre).abs().median()
    kept = ((robust - robust.mean()) / robust.std()).abs() <= 1.25
    assert 0 < int(kept.sum()) < 9
    teacher = normalize(sentences[kept].mean(dim=0), dim=-1)
    expected = kl_div(
        log_softmax(logits, 1),
        log_softmax(scale * images @ teacher.T, 1),
        reduction="sum",
        log_target=True,
    )
    mean = normalize(sentences.mean(dim=0), dim=-1)
    assert float(terms["distillation"].value) == pytest.approx(float(expected) / logits.numel())
    assert float(terms["consistency"].value) == pytest.approx(float((tuned - mean).square().mean()))
    assert [terms[name].weight for name in ("consistency", "distillation")] == [2.0, 3.0]


def test_biomedcoop_keeps_every_sentence_where_all_scores_are_equal():
    e = torch.eye(2)
    outputs = Outputs(
        logits=torch.zeros(2, 2),
        text_features=e,
        frozen_template_features=e.expand(4, 2, 2),
        frozen_image_features=e,
        logit_scale=torch.tensor(1.0),
    )
    assert math.isfinite(float(make("biomedcoop").loss(outputs)))
