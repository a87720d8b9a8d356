"""What every registered test-time method must do, whatever it adapts."""

import json
from dataclasses import asdict, replace

import pytest
import torch
from torch.nn.functional import normalize

from tiny_clip import make_tiny_clip
from vlmcal.backbones import load_backbone
from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.options import build
from vlmcal.test_time import ADAPTATIONS

NAMES = ("cat", "the_dog photo", "of")
TEMPLATES = ("a photo of a {}.", "the {}.", "{}")
EACH = pytest.mark.parametrize("name", ADAPTATIONS.names())
N, V = 5, 12


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return load_backbone(str(make_tiny_clip(tmp_path_factory.mktemp("tiny")))).with_logit_scale(5)


def model(encoder, names=NAMES):
    kind = LEARNERS.get("zero_shot")
    return kind(ClassContext(encoder, names, TEMPLATES), kind.Config()).eval()


def views(encoder, n=N, v=V, seed=0):
    draw = torch.Generator().manual_seed(seed)
    common = torch.randn(1, 1, encoder.embed_dim, generator=draw)
    centre = common + 0.5 * torch.randn(n, 1, encoder.embed_dim, generator=draw)
    around = torch.randn(n, v, encoder.embed_dim, generator=draw)
    return normalize(centre + 0.5 * around, dim=-1)


def adapted(name, encoder, images, names=NAMES, pieces=2, **options):
    method = build(ADAPTATIONS, name, options)
    learner = model(encoder, names)
    method.require(learner)
    return method.adapt(learner, iter(images.split(pieces)))


@EACH
def test_scores_are_finite_and_nothing_of_the_backbone_changes(name, encoder):
    before = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    out = adapted(name, encoder, views(encoder))
    assert out.scores.shape == out.before.shape == (N, len(NAMES))
    assert bool(torch.isfinite(out.scores).all())
    assert not out.scores.requires_grad
    assert out.scores.dtype in (torch.float32, torch.float64)
    if out.kind == "log_probs":
        torch.testing.assert_close(out.scores.exp().sum(dim=1).double(), torch.ones(N).double())
    assert all(len(values) == N for values in out.extras.values())
    after = encoder.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert not any(p.requires_grad or p.grad is not None for p in encoder.model.parameters())


@EACH
def test_images_side_by_side_give_what_one_by_one_gives(name, encoder):
    images = views(encoder)
    alone = adapted(name, encoder, images, pieces=1)
    together = adapted(name, encoder, images, pieces=N)
    torch.testing.assert_close(together.scores, alone.scores, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.before, alone.before)


@EACH
def test_the_order_matters_to_online_methods_only_and_a_second_call_starts_anew(name, encoder):
    images, order = views(encoder), torch.tensor([3, 1, 4, 0, 2])
    first, again = (adapted(name, encoder, images, pieces=1).scores for _ in range(2))
    assert torch.equal(first, again)
    shuffled = adapted(name, encoder, images[order], pieces=1).scores
    same = torch.allclose(shuffled, first[order], rtol=1e-4, atol=1e-4)
    assert same == (not ADAPTATIONS.get(name).online)


@EACH
def test_two_classes_and_identical_views(name, encoder):
    tied = views(encoder)[:, :1].expand(-1, V, -1)
    out = adapted(name, encoder, tied, NAMES[:2])
    assert out.scores.shape == (N, 2)
    assert bool(torch.isfinite(out.scores).all())


@EACH
def test_saturated_logits_stay_finite(name, encoder):
    out = adapted(name, encoder.with_logit_scale(3e4), views(encoder))
    assert bool(torch.isfinite(out.scores).all())


@EACH
def test_one_view_is_enough_or_refused_clearly(name, encoder):
    kind = ADAPTATIONS.get(name)
    options = {"start": {"name": "tpt", "views": 1}} if kind.start == "tpt" else {"views": 1}
    if kind.start == "tpt":
        with pytest.raises(SpecError, match=r"compares views .* has views: 1"):
            build(ADAPTATIONS, name, options)
        return
    assert build(ADAPTATIONS, name, options).draw.count == 0
    out = adapted(name, encoder, views(encoder, v=1), **options)
    assert bool(torch.isfinite(out.scores).all())


@EACH
def test_one_class_is_answered_or_refused_clearly(name, encoder):
    if name in ("o_tpt", "a_tpt"):  # their regularisers are about pairs of classes
        with pytest.raises(SpecError, match="needs at least 2 classes"):
            adapted(name, encoder, views(encoder), NAMES[:1])
        return
    out = adapted(name, encoder, views(encoder), NAMES[:1])
    torch.testing.assert_close(out.scores.softmax(dim=1), torch.ones(N, 1).to(out.scores))


@EACH
def test_options_survive_json_and_wrong_ones_are_refused(name):
    made = build(ADAPTATIONS, name)
    options = json.loads(json.dumps(asdict(made)))
    assert build(ADAPTATIONS, name, options) == made
    with pytest.raises(SpecError, match=f'method "{name}" has no option "lrr"'):
        build(ADAPTATIONS, name, {"lrr": 1})
    for wrong in ({"views": 0}, {"view_seed": -1}, {"flip": "no"}, {"start": 3}):
        with pytest.raises(SpecError, match=next(iter(wrong))):
            build(ADAPTATIONS, name, wrong)


@EACH
def test_models_whose_logits_are_more_than_similarities_are_refused(name, encoder):
    kind = LEARNERS.get("tip_adapter")
    learner = kind(ClassContext(encoder, NAMES, TEMPLATES), kind.Config())
    with pytest.raises(SpecError, match=r"tip_adapter"):
        build(ADAPTATIONS, name).require(learner)


@EACH
def test_a_released_form_by_name_is_another_method(name, encoder):
    """Every option that stands for a reference's behaviour changes numbers."""
    images = views(encoder, n=8)
    switches = {"a_tpt": {"released_sign": True}}
    if ADAPTATIONS.get(name).online:
        switches[name] = {"order": "predict first"}
    if name not in switches:
        assert not {"released", "released_sign", "order"} & set(asdict(build(ADAPTATIONS, name)))
        return
    plain = adapted(name, encoder, images, pieces=8).scores
    assert not torch.equal(plain, adapted(name, encoder, images, pieces=8, **switches[name]).scores)


def test_prequential_answers_do_not_depend_on_the_image_itself_being_remembered(encoder):
    (image,) = views(encoder, n=1, v=1)
    for name in ("tda", "dmn", "reta"):
        start = adapted(name, encoder, image[None], order="predict first").scores
        both = adapted(name, encoder, image.expand(2, 1, -1), order="predict first").scores
        torch.testing.assert_close(both[:1], start)
        assert not torch.allclose(both[1], both[0])


def test_released_order_lets_the_first_image_speak_for_itself(encoder):
    """The logit of its own prediction rises by alpha, less what the negative cache takes."""
    images = views(encoder, n=1, v=1)
    out = adapted("tda", encoder, images, negative_capacity=0)
    rise = (out.scores - out.before)[0]
    assert float(rise.max()) == pytest.approx(2.0, abs=1e-4)
    assert int(rise.argmax()) == int(out.before.argmax())
    assert int((rise.abs() > 1e-4).sum()) == 1


def test_no_step_is_the_prompt_as_it_was_and_weight_zero_is_tpt(encoder):
    images = views(encoder)
    still = adapted("tpt", encoder, images, steps=0)
    torch.testing.assert_close(still.scores, still.before)
    plain = adapted("tpt", encoder, images).scores
    for name in ("c_tpt", "o_tpt", "a_tpt"):
        torch.testing.assert_close(adapted(name, encoder, images, weight=0.0).scores, plain)
        assert not torch.allclose(adapted(name, encoder, images).scores, plain, atol=1e-3)


def test_cots_keeps_the_class_and_brings_confidence_back(encoder):
    images = views(encoder, n=8)
    options = {"start": {"name": "tpt", "lr": 0.05, "steps": 3}}
    tuned = adapted("tpt", encoder, images, lr=0.05, steps=3)
    scaled = adapted("cots", encoder, images, **options)
    assert torch.equal(scaled.scores.argmax(dim=1), tuned.scores.argmax(dim=1))
    expected = (tuned.scores / tuned.extras["cots_temperature"][:, None]).log_softmax(dim=1)
    torch.testing.assert_close(scaled.scores, expected)
    ensemble = adapted("e_cots", encoder, images, **options).scores.exp()
    share, others = tuned.extras["cots_share"][:, None], tuned.extras["cots_views"]
    torch.testing.assert_close(ensemble, share * expected.exp() + (1 - share) * others)


def test_fewer_than_ten_views_keep_the_most_confident_one(encoder):
    """The released code selects int(9 * 0.1) = 0 of them, and its loss is NaN."""
    images = views(encoder, v=9)
    out = next(iter(build(ADAPTATIONS, "tpt").tuned(model(encoder), [images])))[0]
    assert out.selected.shape == (N, 1)
    assert bool(torch.isfinite(out.losses).all())


@pytest.mark.parametrize("start", ["coop", "kgcoop", "prograd", "maple", "co_prompt", "ivlp"])
def test_a_learned_prompt_is_where_tuning_starts(start, encoder):
    kind = LEARNERS.get(start)
    config = kind.Config(**kind.small)
    learner = kind(
        ClassContext(encoder, NAMES, TEMPLATES), config, torch.Generator().manual_seed(1)
    ).eval()
    method = build(ADAPTATIONS, "tpt")
    method.check_start(kind)
    method.require(learner)
    images = views(encoder)
    still = replace(method, steps=0).adapt(learner, [images])
    own = encoder.logit_scale * images[:, 0] @ learner.classifier().T
    torch.testing.assert_close(still.scores, own.detach(), rtol=1e-4, atol=1e-4)
    moved = method.adapt(learner, [images]).scores
    assert not torch.allclose(moved, still.scores, atol=1e-3)


@pytest.mark.parametrize("start", ["cocoop", "bayes_coop", "proda", "clip_adapter", "linear_probe"])
def test_methods_without_a_shared_prompt_are_refused_with_those_that_have_one(start):
    with pytest.raises(SpecError, match=r"no prompt that all images and classes share.*maple"):
        ADAPTATIONS.get("tpt").check_start(LEARNERS.get(start))


def test_class_specific_prompts_are_refused(encoder):
    kind = LEARNERS.get("coop")
    learner = kind(ClassContext(encoder, NAMES, TEMPLATES), kind.Config(class_specific=True))
    with pytest.raises(SpecError, match=r"all images and classes share"):
        build(ADAPTATIONS, "tpt").require(learner)


def test_reta_needs_as_many_prompts_as_sets(encoder):
    kind = LEARNERS.get("zero_shot")
    learner = kind(ClassContext(encoder, NAMES, TEMPLATES[:1]), kind.Config())
    with pytest.raises(SpecError, match=r"3 text sets need .* got 1; .*templates"):
        build(ADAPTATIONS, "reta").require(learner)
    build(ADAPTATIONS, "reta", {"sets": 1}).require(learner)
    sentences = {name: (f"{name} one", f"{name} two") for name in NAMES}
    described = kind(ClassContext(encoder, NAMES, TEMPLATES[:1]), kind.Config(sentences))
    method = build(ADAPTATIONS, "reta")
    method.require(described)
    assert method.adapt(described, [views(encoder)]).scores.shape == (N, 3)


def test_retas_votes_do_not_depend_on_the_order_of_few_classes(encoder):
    """With the released 64 rows of V the null space decides below 64 classes; with min(64, K) it does not."""
    images = views(encoder, n=8)
    forward = adapted("reta", encoder, images).scores
    backward = adapted("reta", encoder, images, NAMES[::-1]).scores
    torch.testing.assert_close(backward.flip(1), forward, rtol=1e-3, atol=1e-3)
