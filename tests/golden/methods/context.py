"""CoOp and the methods that share its learned context."""

import torch
from torch.nn.functional import normalize

from methods import Prepared
from methods.case import meta_net, reduction
from vlmcal.learners.cocoop import CoCoOp
from vlmcal.learners.coop import CoOp
from vlmcal.learners.kgcoop import KgCoOp
from vlmcal.learners.proda import ProDA
from vlmcal.learners.prograd import ProGrad
from vlmcal.learners.tcp import TCP

POSITIONS = ("front", "middle", "end")


def coop_config(case, kind):
    ctx = case.learned("ctx")
    prompt = case.prompt(ctx.shape[-2])
    return kind.Config(
        n_ctx=prompt.n_ctx,
        init=prompt.init,
        prefix=prompt.prefix,
        position=case.get("class_token_position", "position", default="end"),
        class_specific=ctx.ndim == 3,
    )


def assembled(learner, batch):
    """The embedded prompt before positions are added, as far as it is read."""
    layout = learner.layout
    rows = learner.encoder.embed_tokens(layout.ids)
    ctx = learner.ctx if learner.ctx.ndim == 3 else learner.ctx.expand(len(layout), -1, -1)
    slots = layout.slots.clamp(min=0)[..., None].expand_as(rows)
    rows = torch.where(layout.slots[..., None] >= 0, ctx.gather(1, slots), rows)
    ends = layout.ends.tolist()
    read = [row[: end + 1] for row, end in zip(rows, ends, strict=True)]
    return {"out.prompt_embeddings": read}


def coop(case):
    learner = CoOp(case.classes("teacher.token_ids"), coop_config(case, CoOp))
    return Prepared(
        learner,
        names={"ctx": "ctx"},
        objective="ce",
        new_classes=not learner.per_class,
        forward=assembled,
        epochs="sched" in case.document["case"],
    )


def kgcoop(case):
    learner = KgCoOp(case.classes("teacher.token_ids"), coop_config(case, KgCoOp))
    weight = float(case.get("w", "weight", "kg_weight", "lambda", default=8.0))
    return Prepared(
        learner,
        names={"ctx": "ctx"},
        objective=["ce", {"name": "kgcoop", "weight": weight}],
        terms={"ce": "ce", "kg": "kgcoop"},
    )


def cocoop(case):
    prompt = case.prompt(case.learned("ctx").shape[0])
    learner = CoCoOp(
        case.classes("teacher.token_ids"),
        CoCoOp.Config(
            n_ctx=prompt.n_ctx,
            init=prompt.init,
            reduction=reduction(case, "meta_net.linear1.weight", case.encoder.embed_dim),
        ),
    )

    def forward(learner, batch):
        return {"out.meta_bias": learner.meta_net(normalize(batch.image_features, dim=-1))}

    return Prepared(learner, meta_net(case, {"ctx": "ctx"}), "ce", forward=forward)


def prograd(case):
    learner = ProGrad(
        case.classes("teacher.token_ids", "template.token_ids"), coop_config(case, ProGrad)
    )
    guide = {
        "name": "prograd",
        "temperature": float(case.get("T", "temperature", "tau", default=1.0)),
        "strength": float(case.get("lambda", "lam", "lambda_", "strength", default=1.0)),
    }
    return Prepared(
        learner, {"ctx": "ctx"}, ["ce", guide], {"ce": "ce", "kl": "prograd", "total": "ce"}
    )


def tcp(case):
    ctx = case.learned("ctx")
    prompt = case.prompt(ctx.shape[0])
    learner = TCP(
        case.classes("teacher.token_ids"),
        TCP.Config(
            n_ctx=prompt.n_ctx,
            init=prompt.init,
            prefix=prompt.prefix,
            suffix=prompt.suffix,
            layer=int(case.get("layer", "insert_layer", "class_token_layer", "block", default=8)),
            reduction=reduction(case, "meta_net.linear1.weight", case.encoder.embed_dim),
        ),
    )
    weight = float(case.get("w_used", "kg_weight", default=8.0))
    return Prepared(
        learner,
        meta_net(case, {"ctx": "ctx"}),
        ["ce", {"name": "kgcoop", "weight": weight}],
        {"ce": "ce", "kg": "kgcoop"},
        forward=lambda learner, batch: {"out.class_tokens": learner.class_tokens()},
    )


def proda(case):
    count, n_ctx = case.learned("ctx").shape[:2]
    sampled = case.tensors.get("prompt_indices")
    per_step = count if sampled is None else sampled.shape[1]
    learner = ProDA(
        case.classes("teacher.token_ids"),
        ProDA.Config(
            n_prompts=count, n_ctx=n_ctx, prompts_per_step=count if count % per_step else per_step
        ),
    )
    if "positions" in case.tensors:
        given = tuple(POSITIONS[i] for i in case.tensors["positions"].tolist())
        assert learner.positions == given, f"positions {given}, ours {learner.positions}"
    order = sorted(range(count), key=lambda i: -POSITIONS.index(learner.positions[i]))

    def forward(learner, batch):
        outputs = learner.outputs(batch)
        choose(learner.train(), 1)
        upper = learner.outputs(batch).logits
        learner.eval()
        nc, golden = outputs.prompt_text_features, case.tensors.get("out.nc_text_features")
        if golden is not None:  # stored raw or normalised; the lengths tell
            nc = nc * golden.norm(dim=-1, keepdim=True).to(nc)
        return {
            "out.text_features": outputs.raw_text_features[:, order],
            "out.text_features_norm": learner.classifier(),
            "new.text_features": None,
            "out.train_logits_upper": upper,
            "out.nc_text_features": nc,
        }

    def choose(learner, step):
        if sampled is not None:
            learner.chosen = sampled[step - 1].long()

    weight = float(case.get("alpha", "diversity_weight", default=0.1))
    return Prepared(
        learner,
        {"ctx": "ctx"},
        ["ce", {"name": "prompt_diversity", "weight": weight}],
        {"ce_upper": "ce", "diversity": "prompt_diversity"},
        forward=forward,
        skip=frozenset({"new.text_features"}),
        layouts=lambda learner: list(learner.layouts.values()),
        before_step=choose,
    )


ADAPTERS = {
    "coop": coop,
    "kgcoop": kgcoop,
    "cocoop": cocoop,
    "prograd": prograd,
    "tcp": tcp,
    "proda": proda,
}
