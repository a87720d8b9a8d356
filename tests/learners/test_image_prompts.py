"""Learners that change the image tower against plain formulas on both towers, in float64."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cross_entropy, log_softmax, relu, softmax

from learners.check import (
    NAMES,
    NEW_NAMES,
    assert_near,
    ce,
    check,
    check_loss,
    context,
    filled,
    scatter,
)
from learners.plain_clip import put, unit
from vlmcal.errors import SpecError
from vlmcal.learners.averaging import aggregation_weights
from vlmcal.learners.clip_lora import CLIPLoRA
from vlmcal.learners.co_prompt import CoPrompt
from vlmcal.learners.dept import DePT
from vlmcal.learners.image_tokens import encode_image
from vlmcal.learners.ivlp import IVLP
from vlmcal.learners.maple import MaPLe
from vlmcal.learners.mma import MMA
from vlmcal.learners.prompt_src import PromptSRC
from vlmcal.learners.vpt import VPT

PHOTO = "a photo of a {}."


def prompted(plain, encoder, p, names=NAMES):
    """Raw text features under a context and deeper tokens called text_deep."""
    rows, ends = plain.prompts(encoder, filled(PHOTO, names))
    deep = {int(n.split(".")[1]) + 1: t for n, t in p.items() if n.startswith("text_deep.")}
    return plain.text(put(rows, p["ctx"]), ends, deep)


def free_image(plain, p, pixels):
    """Raw image features under free image tokens."""
    sets = [t for n, t in p.items() if n.startswith("image_prompts.")]
    return plain.image(pixels, sets[0], dict(enumerate(sets[1:], start=1)))


def mapped_image(plain, p, pixels):
    """Raw image features under MaPLe's mapped tokens."""
    deep = {}
    for k in range(sum(n.startswith("text_deep.") for n in p)):
        mapped = p[f"text_deep.{k}"] @ p[f"deep_proj.{k}.weight"].T + p[f"deep_proj.{k}.bias"]
        deep[k + 1] = mapped
    return plain.image(pixels, p["ctx"] @ p["proj.weight"].T + p["proj.bias"], deep)


def similarity(plain, image, text):
    return plain.scale * unit(image) @ unit(text).T


def test_without_tokens_the_numbers_are_the_librarys(wide_encoder, plain, pixel_batch):
    want = wide_encoder.encode_pixels(pixel_batch.pixels)
    assert_near(encode_image(wide_encoder, pixel_batch.pixels), want, "image features")
    assert_near(plain.image(pixel_batch.pixels), want, "the plain tower")


def test_tokens_are_checked(wide_encoder, pixel_batch):
    tokens = torch.zeros(2, wide_encoder.image_width)
    for wrong, message in (
        ({1: tokens}, "must start at block 0"),
        ({0: tokens, 10: tokens}, "has blocks 0 to 9"),
        ({0: tokens, 1: tokens[:1]}, r"expected shape \(n=2, d=48\), got \(1, 48\)"),
    ):
        with pytest.raises(SpecError, match=message):
            encode_image(wide_encoder, pixel_batch.pixels, wrong)


@pytest.mark.parametrize("depth", [1, 3, None])
def test_vpt(wide_encoder, plain, pixel_batch, depth):
    learner = scatter(VPT(context(wide_encoder), VPT.Config(n_tokens=3, depth=depth)))
    assert len(learner.image_prompts) == (depth or 10)
    text = plain.frozen_text(wide_encoder, filled(PHOTO))

    def reference(p):
        logits = similarity(plain, free_image(plain, p, pixel_batch.pixels), text)
        return logits, ce(logits, pixel_batch)

    check(learner, pixel_batch, "ce", reference)


@pytest.mark.parametrize("n_image", [0, 3])
def test_ivlp(wide_encoder, plain, pixel_batch, n_image):
    options = {"n_ctx": 2, "n_image": n_image, "text_depth": 4, "image_depth": 3}
    learner = scatter(IVLP(context(wide_encoder), IVLP.Config(**options)))
    assert learner.consumes == ("pixels" if n_image else "features")

    def reference(p):
        image = pixel_batch.image_features
        image = free_image(plain, p, pixel_batch.pixels) if n_image else image
        logits = similarity(plain, image, prompted(plain, wide_encoder, p))
        return logits, ce(logits, pixel_batch)

    check(learner, pixel_batch, "ce", reference)
    with pytest.raises(SpecError, match="text_depth must be 1 to 10 for this backbone, got 12"):
        IVLP(context(wide_encoder), IVLP.Config(text_depth=12))


def test_maple(wide_encoder, plain, pixel_batch):
    learner = MaPLe(context(wide_encoder), MaPLe.Config(depth=4))
    rows, _ = plain.prompts(wide_encoder, ["a photo"])
    assert_near(learner.ctx.detach(), rows[0, 1:3], "init")
    first, second = learner.deep_proj[0].weight, learner.deep_proj[1].weight
    assert torch.equal(first, second)
    assert first is not second

    def reference(p):
        image = mapped_image(plain, p, pixel_batch.pixels)
        logits = similarity(plain, image, prompted(plain, wide_encoder, p))
        return logits, ce(logits, pixel_batch)

    check(scatter(learner), pixel_batch, "ce", reference)
    p = dict(learner.named_parameters())
    new = similarity(
        plain,
        mapped_image(plain, p, pixel_batch.pixels),
        prompted(plain, wide_encoder, p, NEW_NAMES),
    )
    assert_near(learner.for_classes(NEW_NAMES).predict([pixel_batch]), new, "new logits")
    with pytest.raises(SpecError, match="needs pixels, but this run gives cached features only"):
        learner.predict([replace(pixel_batch, pixels=None)])
    with pytest.raises(SpecError, match="cannot make n_ctx = 9 tokens"):
        MaPLe(context(wide_encoder), MaPLe.Config(n_ctx=9))


def test_prompt_src(wide_encoder, plain, pixel_batch):
    options = {"n_ctx": 2, "n_image": 3, "text_depth": 3, "image_depth": 2}
    learner = scatter(PromptSRC(context(wide_encoder), PromptSRC.Config(**options)))
    templates = learner.classes.templates
    raw = torch.stack([plain.frozen_text(wide_encoder, filled(t)) for t in templates])
    target, f0 = unit(raw.mean(dim=0)), unit(plain.image(pixel_batch.pixels))
    z0 = plain.scale * f0 @ target.T

    def reference(p):
        t = unit(prompted(plain, wide_encoder, p))
        f = unit(free_image(plain, p, pixel_batch.pixels))
        logits = plain.scale * f @ t.T
        kl = (softmax(z0, 1) * (log_softmax(z0, 1) - log_softmax(logits, 1))).sum() / logits.numel()
        loss = ce(logits, pixel_batch) + 25 * (t - target).abs().mean()
        return logits, loss + 10 * (f - f0).abs().mean() + kl

    check(learner, pixel_batch, ["ce", "prompt_src"], reference)


def test_prompt_src_loads_the_gaussian_average_of_its_epochs(wide_encoder):
    config = PromptSRC.Config(
        n_ctx=1, n_image=1, text_depth=2, image_depth=1, gpa_mean=2.0, gpa_std=1.5
    )
    learner = PromptSRC(context(wide_encoder), config)
    learner.on_fit_end()
    assert float(learner.ctx.detach().abs().max()) > 0, "without an epoch there is no average"
    weights = aggregation_weights(3, 2.0, 1.5)
    assert sum(weights) == pytest.approx(1)
    assert weights[1] / weights[0] == pytest.approx(2.718281828 ** (1 / 4.5))
    for _ in range(2):  # a second fit starts anew
        total = {n: torch.zeros_like(p) for n, p in learner.named_parameters()}
        for epoch in range(3):
            scatter(learner, epoch)
            for n, p in learner.named_parameters():
                total[n] += weights[epoch] * p.detach()
            learner.on_epoch_end(epoch, 3)
        learner.on_fit_end()
        for n, p in learner.named_parameters():
            assert_near(p, total[n], n)


def test_aggregation_far_from_the_mean_stays_finite():
    assert aggregation_weights(2, 500.0, 1.0) == pytest.approx((0.0, 1.0))


def test_co_prompt(wide_encoder, plain, pixel_batch):
    sentences = {name: [f"{name} one", "it is soft"] for name in NAMES}
    config = CoPrompt.Config(depth=3, descriptions=sentences)
    learner = scatter(CoPrompt(context(wide_encoder), config))
    clean = [[f"{name} one", "it is soft"] for name in NAMES]
    frozen = torch.stack([unit(plain.frozen_text(wide_encoder, each)) for each in clean], dim=1)
    teacher = unit(plain.image(pixel_batch.second_pixels))

    def adapted(x, p, side, ratio):
        hidden = relu(x @ p[f"adapter_{side}.0.weight"].T)
        return ratio * relu(hidden @ p[f"adapter_{side}.2.weight"].T) + (1 - ratio) * x

    def reference(p):
        t = unit(adapted(prompted(plain, wide_encoder, p), p, "text", 0.2))
        f = unit(adapted(mapped_image(plain, p, pixel_batch.pixels), p, "image", 0.1))
        logits = plain.scale * f @ t.T
        mean = unit(frozen.mean(dim=0))
        apart = 2 - (t * mean).sum(dim=1).mean() - (f * teacher).sum(dim=1).mean()
        return logits, ce(logits, pixel_batch) + 3 * apart

    # The mean of the sentences is a constant target, unlike the drawn one.
    objective = ["ce", {"name": "co_prompt", "weight": 3, "sentences": "mean"}]
    check(learner, pixel_batch, objective, reference)


@pytest.mark.parametrize("base", ["coop", "cocoop", "maple"])
def test_dept(wide_encoder, plain, pixel_batch, base):
    options = {"coop": {"n_ctx": 2}, "cocoop": {"reduction": 4}, "maple": {"depth": 3}}[base]
    learner = DePT(context(wide_encoder), DePT.Config(base=base, options=options))
    assert learner.consumes == ("pixels" if base == "maple" else "features")
    assert torch.equal(learner.film_image.scale, torch.ones(24, dtype=torch.float64))
    labels = pixel_batch.labels

    def parts(p):
        own = {n.removeprefix("base."): t for n, t in p.items()}
        if base == "maple":
            image = mapped_image(plain, own, pixel_batch.pixels)
            return image, prompted(plain, wide_encoder, own)
        image = pixel_batch.image_features
        context_ = own["ctx"]
        if base == "coop":
            rows, ends = plain.prompts(wide_encoder, filled("X X {}."))
            return image, plain.text(put(rows, context_), ends)
        hidden = relu(unit(image) @ own["meta_net.0.weight"].T + own["meta_net.0.bias"])
        shifts = hidden @ own["meta_net.2.weight"].T + own["meta_net.2.bias"]
        rows, ends = plain.prompts(wide_encoder, filled(PHOTO))
        return image, torch.stack([plain.text(put(rows, context_ + s), ends) for s in shifts])

    def reference(p):
        image, text = parts(p)
        per_image = text if text.ndim == 3 else text.expand(3, -1, -1)
        similar = plain.scale * torch.einsum("bd,bkd->bk", unit(image), unit(per_image))
        mine = per_image[torch.arange(3), labels]
        both = torch.cat(
            [
                p["film_text.scale"] * mine + p["film_text.bias"],
                p["film_image.scale"] * image + p["film_image.bias"],
            ]
        )
        linear = both @ p["head.weight"].T + p["head.bias"]
        loss = 0.3 * ce(similar, pixel_batch) + 0.7 * cross_entropy(linear, labels.repeat(2))
        return 0.3 * similar + 0.7 * linear[3:], loss

    check(scatter(learner), pixel_batch, [{"name": "ce", "weight": 0.3}, "dept"], reference)


def test_dept_uses_its_head_for_trained_names_only(wide_encoder, pixel_batch):
    learner = scatter(DePT(context(wide_encoder), DePT.Config(options={"n_ctx": 2}))).eval()
    whole = learner.predict([pixel_batch])
    new = learner.for_classes(NEW_NAMES)
    assert_near(
        new.predict([pixel_batch]),
        learner.base.for_classes(NEW_NAMES).predict([pixel_batch]),
        "new",
    )
    assert torch.equal(new.for_classes(NAMES).predict([pixel_batch]), whole)
    some = learner.for_classes((NAMES[2], NAMES[0]))
    assert_near(some.predict([pixel_batch]), whole[:, [2, 0]], "two of the trained classes")
    groups = learner.parameter_groups(0.1)
    assert [round(g["lr"], 9) for g in groups] == [0.1, 0.65]
    for wrong in ("zero_shot", "proda", "dept"):
        with pytest.raises(SpecError, match=f'cannot wrap "{wrong}"'):
            DePT(context(wide_encoder), DePT.Config(base=wrong))
    with pytest.raises(SpecError, match='options of "coop"'):
        DePT(context(wide_encoder), DePT.Config(options={"nctx": 2}))


@pytest.mark.parametrize("towers", ["both", "text", "image"])
def test_clip_lora(wide_encoder, plain, pixel_batch, towers):
    config = CLIPLoRA.Config(rank=2, alpha=3.0, dropout=0.0, towers=towers)
    learner = CLIPLoRA(context(wide_encoder), config)
    frozen = plain.frozen_text(wide_encoder, filled(PHOTO))
    start = similarity(plain, pixel_batch.image_features, frozen)
    assert_near(learner.predict([pixel_batch]), start, "before training")
    assert learner.consumes == ("features" if towers == "text" else "pixels")

    def reference(p):
        lora = {}
        for name in p:
            maps, block, which, part = name.split(".")
            if part == "A":
                change = p[f"{maps}.{block}.{which}.B"] @ p[name]
                side = "vision" if maps == "image_maps" else "text"
                lora[side, int(block), which[0]] = 3.0 / 2**0.5 * change
        image = pixel_batch.image_features
        if towers != "text":
            image = plain.image(pixel_batch.pixels, lora=lora)
        text = plain.text(*plain.prompts(wide_encoder, filled(PHOTO)), lora=lora)
        logits = similarity(plain, image, text)
        return logits, ce(logits, pixel_batch)

    check(scatter(learner), pixel_batch, "ce", reference)


def test_lora_dropout_has_its_own_stream(wide_encoder, pixel_batch):
    learner = scatter(CLIPLoRA(context(wide_encoder), CLIPLoRA.Config()))
    state = torch.get_rng_state()
    first, again = (learner.train().outputs(pixel_batch).logits for _ in range(2))
    later = learner.outputs(replace(pixel_batch, step=1)).logits
    quiet = learner.eval().outputs(pixel_batch).logits
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first, again)
    assert not torch.equal(first, later)
    assert not torch.equal(first, quiet)


def test_lora_dropout_is_the_same_when_classes_go_through_in_pieces(
    wide_encoder, pixel_batch, monkeypatch
):
    """The backward pass computes pieces anew; their masks have to be those of the forward pass."""
    from vlmcal.text_encoding import encode

    monkeypatch.setattr(encode, "ACTIVATION_BUDGET", 1 << 10)
    found = []
    for recompute in (True, False):
        if not recompute:
            whole = lambda f, *a, use_reentrant: f(*a)  # noqa: E731
            monkeypatch.setattr(encode, "checkpoint", whole)
        learner = scatter(CLIPLoRA(context(wide_encoder), CLIPLoRA.Config(dropout=0.5)))
        logits = learner.train().outputs(pixel_batch).logits
        logits.square().mean().backward()
        found.append((logits.detach(), {n: p.grad for n, p in learner.named_parameters()}))
    assert torch.equal(found[0][0], found[1][0])
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(gradient, found[1][1][name], rtol=1e-6, atol=1e-9, msg=name)


def mma_reference(plain, encoder, batch, p, scale, first, through=True):
    def change(side, key, block):
        def added(normed):
            x = normed if through else normed.detach()
            hidden = relu(x @ p[f"down.{key}.weight"].T + p[f"down.{key}.bias"])
            shared = p[f"shared.{block}.weight"], p[f"shared.{block}.bias"]
            hidden = relu(hidden @ shared[0].T + shared[1])
            return scale * (hidden @ p[f"up.{key}.weight"].T + p[f"up.{key}.bias"])

        return added

    extra = {}
    for block in range(first - 1, 10):
        extra["text", block] = change("text", f"text_{block}", block)
        extra["vision", block] = change("image", f"image_{block}", block)
    text = plain.text(*plain.prompts(encoder, filled(PHOTO)), extra=extra)
    return similarity(plain, plain.image(batch.pixels, extra=extra), text)


def test_mma(wide_encoder, plain, pixel_batch):
    learner = MMA(context(wide_encoder), MMA.Config(first=8, width=5, scale=0.02))
    leaves = {n: p.detach().clone().requires_grad_() for n, p in learner.named_parameters()}
    logits = mma_reference(plain, wide_encoder, pixel_batch, leaves, 0.02, 8)
    assert_near(learner.eval().predict([pixel_batch]), logits.detach(), "logits")
    loss = ce(logits, pixel_batch)
    exact = torch.autograd.grad(loss, list(leaves.values()))
    # Learned tensors see the gradient that they would have at factor 1, everything below the exact one.
    wanted = {name: g / 0.02 for name, g in zip(leaves, exact, strict=True)}
    check_loss(learner, pixel_batch, "ce", loss.detach(), wanted)


def test_mma_keeps_the_rows_of_its_frozen_blocks(wide_encoder, pixel_batch, monkeypatch):
    learner = scatter(MMA(context(wide_encoder), MMA.Config(first=8, width=5))).train()
    batch = replace(pixel_batch, sample_index=torch.tensor([4, 7, 2]), view=0)
    plainly = learner.outputs(pixel_batch).logits
    assert_near(learner.outputs(batch).logits, plainly, "first time")
    kept = learner._kept.used
    assert kept == 3 * 5 * 48 * 8
    other = replace(
        batch, sample_index=torch.tensor([7, 4, 9]), pixels=pixel_batch.pixels[[1, 0, 2]]
    )
    assert_near(learner.outputs(other).logits, plainly[[1, 0, 2]], "partly kept")
    assert learner._kept.used == kept // 3 * 4
    learner.outputs(replace(batch, view=1))
    assert learner._kept.used == kept // 3 * 7
    learner._kept.budget = learner._kept.used
    assert_near(learner.outputs(replace(batch, view=2)).logits, plainly, "beyond the budget")
    assert learner._kept.used == kept // 3 * 7
