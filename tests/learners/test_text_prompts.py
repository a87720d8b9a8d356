"""Text-prompt learners against their formulas on 77 tokens per class, in float64."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import log_softmax, relu, softmax

from learners.check import (
    NAMES,
    NEW_NAMES,
    assert_near,
    ce,
    check,
    check_loss,
    context,
    filled,
    logits_of,
    scatter,
)
from learners.plain_clip import put, unit
from vlmcal.errors import SpecError
from vlmcal.learners.cocoop import CoCoOp
from vlmcal.learners.coop import CoOp
from vlmcal.learners.kgcoop import KgCoOp
from vlmcal.learners.proda import ProDA
from vlmcal.learners.prograd import ProGrad
from vlmcal.learners.tcp import TCP
from vlmcal.learners.zero_shot import ZeroShot


def placed(plain, encoder, ctx, position, names=NAMES):
    """Embedded prompts of learned context around the names, built token by token."""
    rows, ends = [], []
    for k, name in enumerate(names):
        name = name.replace("_", " ")
        (alone,), (whole,) = encoder.token_ids([name]), encoder.token_ids([f"{name}."])
        mine = ctx[k] if ctx.ndim == 3 else ctx
        before = {"end": len(mine), "middle": len(mine) // 2, "front": 0}[position]
        word = plain.embed(torch.tensor(alone))
        rest = plain.embed(torch.tensor(whole[len(alone) :]))
        end = plain.embed(torch.tensor([encoder.eos_id]))
        start = plain.embed(torch.tensor([encoder.sos_id]))
        row = torch.cat([start, mine[:before], word, mine[before:], rest, end])
        ends.append(len(row) - 1)
        rows.append(torch.cat([row, end.expand(77 - len(row), -1)]))
    return torch.stack(rows), torch.tensor(ends)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("class_specific", [False, True])
def test_coop(wide_encoder, plain, pixel_batch, position, class_specific):
    config = CoOp.Config(n_ctx=5, position=position, class_specific=class_specific)
    learner = scatter(CoOp(context(wide_encoder), config))

    def reference(p):
        text = plain.text(*placed(plain, wide_encoder, p["ctx"], position))
        logits = logits_of(plain, pixel_batch, text)
        return logits, ce(logits, pixel_batch)

    check(learner, pixel_batch, "ce", reference)


def test_coop_with_other_names_and_for_outlier_words(wide_encoder, plain, pixel_batch):
    learner = scatter(CoOp(context(wide_encoder), CoOp.Config(init="a photo of a")))
    text = plain.text(*placed(plain, wide_encoder, learner.ctx, "end", NEW_NAMES))
    want = logits_of(plain, pixel_batch, text).detach()
    assert_near(learner.for_classes(NEW_NAMES).predict([pixel_batch]), want, "new logits")
    assert_near(learner.outlier_features(NEW_NAMES), text.detach(), "outliers")
    specific = CoOp(context(wide_encoder), CoOp.Config(n_ctx=2, class_specific=True))
    with pytest.raises(SpecError, match="no prompt that applies to other names"):
        specific.outlier_features(NEW_NAMES)
    with pytest.raises(SpecError, match="no path to other class names"):
        specific.for_classes(NEW_NAMES)


def test_words_start_the_context(wide_encoder, plain):
    learner = CoOp(context(wide_encoder), CoOp.Config(init="a_photo of a"))
    rows, _ = plain.prompts(wide_encoder, ["a photo of a"])
    assert_near(learner.ctx.detach(), rows[0, 1:5], "init")


def test_kgcoop(wide_encoder, plain, pixel_batch):
    learner = scatter(KgCoOp(context(wide_encoder), KgCoOp.Config()))
    sets = [unit(plain.frozen_text(wide_encoder, filled(t))) for t in learner.classes.templates]
    frozen = unit(torch.stack(sets).mean(dim=0))

    def reference(p):
        text = unit(plain.text(*placed(plain, wide_encoder, p["ctx"], "end")))
        logits = logits_of(plain, pixel_batch, text)
        guide = 1 - (text * frozen).sum(dim=1).mean()
        return logits, ce(logits, pixel_batch) + 8 * guide

    check(learner, pixel_batch, ["ce", "kgcoop"], reference)


def test_prograd(wide_encoder, plain, pixel_batch):
    learner = ProGrad(
        context(wide_encoder, templates=("a photo of a {}.",)), ProGrad.Config(n_ctx=6)
    )
    rows, _ = plain.prompts(wide_encoder, ["a photo of a"])
    assert torch.equal(learner.ctx[:2], torch.zeros_like(learner.ctx[:2]))
    assert_near(learner.ctx[2:].detach(), rows[0, 1:5], "init")
    frozen = unit(plain.frozen_text(wide_encoder, filled("a photo of a {}.")))
    teacher = softmax(logits_of(plain, pixel_batch, frozen), dim=1)
    met = set()
    for seed in range(3):
        scatter(learner, seed, size=0.05)
        pixel_batch = replace(pixel_batch, labels=torch.full((3,), seed))
        ctx = learner.ctx.detach().clone().requires_grad_()
        logits = logits_of(plain, pixel_batch, plain.text(*placed(plain, wide_encoder, ctx, "end")))
        loss = ce(logits, pixel_batch)
        guide = -(teacher * log_softmax(logits, dim=1)).sum(dim=1).mean()
        (g,) = torch.autograd.grad(loss, ctx, retain_graph=True)
        (h,) = torch.autograd.grad(guide, ctx)
        along = float((g * h).sum())
        met.add(along < 0)
        if along < 0:
            g = g - 0.8 * along * h / float((h * h).sum())
        objective = ["ce", {"name": "prograd", "strength": 0.8}]
        check_loss(learner, pixel_batch, objective, loss.detach(), {"ctx": g})
    assert met == {True, False}, "these seeds never met both sides of the rule"


def test_cocoop(wide_encoder, plain, pixel_batch):
    learner = scatter(CoCoOp(context(wide_encoder), CoCoOp.Config(reduction=4)))

    def reference(p):
        rows = []
        for image in unit(pixel_batch.image_features):
            hidden = relu(p["meta_net.0.weight"] @ image + p["meta_net.0.bias"])
            shift = p["meta_net.2.weight"] @ hidden + p["meta_net.2.bias"]
            text = plain.text(*placed(plain, wide_encoder, p["ctx"] + shift, "end"))
            rows.append(plain.scale * unit(text) @ image)
        logits = torch.stack(rows)
        return logits, ce(logits, pixel_batch)

    check(learner, pixel_batch, "ce", reference)
    with pytest.raises(SpecError, match="without an image"):
        learner.text_features()


def test_tcp(wide_encoder, plain, pixel_batch):
    config = TCP.Config(prefix="of the", suffix=", a type of cat.", layer=4)
    learner = scatter(TCP(context(wide_encoder, templates=("a photo of a {}.",)), config))
    frozen = unit(plain.frozen_text(wide_encoder, filled("a photo of a {}.")))

    def reference(p):
        hidden = frozen @ p["meta_net.0.weight"].T + p["meta_net.0.bias"]
        hidden = hidden * torch.sigmoid(1.702 * hidden)
        tokens = (hidden @ p["meta_net.2.weight"].T + p["meta_net.2.bias"]).reshape(3, 4, -1)
        texts = filled("X X X X of the {}, a type of cat.")
        rows, ends = plain.prompts(wide_encoder, texts)
        text = unit(plain.text(put(rows, p["ctx"]), ends, {4: tokens}))
        logits = logits_of(plain, pixel_batch, text)
        guide = 1 - (text * frozen).sum(dim=1).mean()
        return logits, ce(logits, pixel_batch) + 8 * guide

    check(learner, pixel_batch, ["ce", "kgcoop"], reference)


def test_tcp_makes_class_tokens_of_new_and_outlier_names(wide_encoder, plain, pixel_batch):
    learner = scatter(TCP(context(wide_encoder), TCP.Config(layer=4)))
    new = learner.for_classes(NEW_NAMES)
    assert_near(new.text_features(), learner.outlier_features(NEW_NAMES), "outliers")
    assert not torch.allclose(new.class_tokens()[0], learner.class_tokens()[0])


def proda_reference(plain, encoder, batch, p, chosen):
    """ProDA's two terms with every matrix written out."""
    positions = ("front", "front", "middle", "middle", "end", "end", "end", "end")

    def features(which):
        sets = [plain.text(*placed(plain, encoder, p["ctx"][i], positions[i])) for i in which]
        return unit(torch.stack(sets, dim=1))

    image, w = unit(batch.image_features), features(chosen)
    mean = w.mean(dim=1)
    d = w - mean[:, None]
    covariance = torch.einsum("ipj,kpj->jik", d, d) / (len(chosen) + 1)
    r = torch.einsum("bj,jik->bik", image**2, covariance)
    logits = plain.scale * image @ mean.T
    sigma = torch.empty_like(logits)
    for b, y in enumerate(batch.labels.tolist()):
        for c in range(3):
            sigma[b, c] = r[b, y, y] + r[b, c, c] - 2 * r[b, y, c]
    rows, ends = plain.prompts(encoder, [" ".join(["X"] * 3) + "."])
    bare = unit(torch.cat([plain.text(put(rows, ctx), ends) for ctx in p["ctx"]]))
    gram = (bare @ bare.T).abs()
    diversity = (gram.sum() - gram.trace()) / (8 * 7)
    loss = ce(logits + 0.5 * plain.scale**2 * sigma, batch) + 0.1 * diversity
    return plain.scale * image @ features(range(8)).mean(dim=1).T, loss


def test_proda(wide_encoder, plain, pixel_batch):
    learner = ProDA(context(wide_encoder), ProDA.Config(n_prompts=8, n_ctx=3, prompts_per_step=4))
    chosen = learner.choose(pixel_batch).tolist()
    check(
        scatter(learner),
        pixel_batch,
        ["ce", "prompt_diversity"],
        lambda p: proda_reference(plain, wide_encoder, pixel_batch, p, chosen),
    )


def test_proda_uses_every_context_once_per_round(wide_encoder, pixel_batch):
    config = ProDA.Config(n_prompts=8, n_ctx=2, prompts_per_step=4)
    learner = ProDA(context(wide_encoder), config)
    seen = []
    for step in range(4):
        pixel_batch.step = step
        seen.append(learner.choose(pixel_batch).tolist())
    pixel_batch.step = 0
    assert sorted(seen[0] + seen[1]) == list(range(8)) == sorted(seen[2] + seen[3])
    assert seen[:2] != seen[2:]
    with pytest.raises(SpecError, match="multiple of prompts_per_step"):
        ProDA.Config(n_prompts=6, prompts_per_step=4)


def test_proda_can_normalise_its_mean(wide_encoder, pixel_batch):
    options = {"n_prompts": 4, "n_ctx": 2}
    plainly = scatter(ProDA(context(wide_encoder), ProDA.Config(**options)))
    unit_length = ProDA(context(wide_encoder), ProDA.Config(**options, normalise=True))
    unit_length.load_state_dict(plainly.state_dict())
    assert bool((plainly.classifier().norm(dim=1) < 1).all())
    ratio = unit_length.predict([pixel_batch]) / plainly.predict([pixel_batch])
    assert_near(ratio, (1 / plainly.classifier().norm(dim=1)).expand_as(ratio), "ratio")


def test_zero_shot_with_templates_and_with_descriptions(wide_encoder, plain, pixel_batch):
    learner = ZeroShot(context(wide_encoder), ZeroShot.Config())
    sets = [unit(plain.frozen_text(wide_encoder, filled(t))) for t in learner.classes.templates]
    want = logits_of(plain, pixel_batch, torch.stack(sets).mean(dim=0))
    assert_near(learner.predict([pixel_batch]), want, "templates")
    sentences = {"cat": ["soft", "it purrs"], "annual crop land": ["rows"], "the_dog": ["loud"]}
    described = ZeroShot(context(wide_encoder), ZeroShot.Config(descriptions=sentences))
    means = [unit(plain.frozen_text(wide_encoder, s)).mean(dim=0) for s in sentences.values()]
    want = logits_of(plain, pixel_batch, torch.stack(means))
    assert_near(described.predict([pixel_batch]), want, "descriptions")
    with pytest.raises(SpecError, match='none for class "sea"'):
        described.for_classes(NEW_NAMES[1:])
