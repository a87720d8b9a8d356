"""Methods with learned tokens in both towers, and DePT around other methods."""

from dataclasses import asdict

from methods import Prepared, adapter_for, plain
from methods.case import reduction
from vlmcal.learners.co_prompt import CoPrompt
from vlmcal.learners.dept import DePT
from vlmcal.learners.ivlp import IVLP
from vlmcal.learners.maple import MaPLe
from vlmcal.learners.prompt_src import PromptSRC
from vlmcal.learners.vpt import VPT


def deep_names(case, golden, ours, first):
    """Names of tokens by block: the golden ones count blocks, ours start at ``first``."""
    found = case.learned_names(f"{golden}.deep.")
    return {name: f"{ours}.{first + i}" for i, name in enumerate(found)}


def independent_names(case):
    """Golden and own names of independent prompts on both sides."""
    names = {"text.ctx": "ctx", **deep_names(case, "text", "text_deep", 0)}
    if "learned.vision.ctx" in case.tensors:
        names |= {"vision.ctx": "image_prompts.0"}
        names |= deep_names(case, "vision", "image_prompts", 1)
    return names


def independent_config(case, kind, **more):
    names = independent_names(case)
    image = [name for name in names if name.startswith("vision.")]
    prompt = case.prompt(case.learned("text.ctx").shape[0])
    words = f"{prompt.init or ''} {prompt.prefix}".strip()
    return kind.Config(
        n_ctx=prompt.n_ctx,
        n_image=case.learned("vision.ctx").shape[0] if image else 0,
        init=words if prompt.init else None,
        text_depth=sum(name.startswith("text.") for name in names),
        image_depth=max(1, len(image)),
        **more,
    )


def ivlp(case):
    learner = IVLP(case.classes("teacher.token_ids"), independent_config(case, IVLP))
    return Prepared(learner, independent_names(case), "ce")


def vpt(case):
    names = {"vision.ctx": "image_prompts.0", **deep_names(case, "vision", "image_prompts", 1)}
    config = VPT.Config(n_tokens=case.learned("vision.ctx").shape[0], depth=len(names))
    learner = VPT(case.classes("template.token_ids", "teacher.token_ids", "token_ids"), config)
    return Prepared(learner, names, "ce")


def prompt_src(case):
    averaged = "gpa" in case.document["case"]
    more = {"gpa": averaged}
    if averaged:
        more["gpa_mean"] = float(case.get("gpa_mean", "mean", default=3.0))
        more["gpa_std"] = float(case.get("gpa_std", "std", "stdev", default=1.0))
    learner = PromptSRC(
        case.classes("teacher.token_ids"), independent_config(case, PromptSRC, **more)
    )
    weights = {
        "text_weight": ("text_loss_weight", "text_weight", "w_text", "text_l1_weight", 25.0),
        "image_weight": ("image_loss_weight", "image_weight", "w_image", "image_l1_weight", 10.0),
        "logit_weight": ("logit_weight", "kl_weight", "w_kl", "logits_loss_weight", 1.0),
    }
    term = {"name": "prompt_src"}
    term |= {k: float(case.get(*names, default=value)) for k, (*names, value) in weights.items()}
    return Prepared(
        learner,
        independent_names(case),
        ["ce", term],
        {
            "ce": "ce",
            "text_l1": "prompt_src.text",
            "image_l1": "prompt_src.image",
            "kl": "prompt_src.logits",
        },
        epochs=averaged,
    )


def coupled_names(case):
    """Golden and own names of MaPLe's tensors."""
    names = {"ctx": "ctx", "proj.weight": "proj.weight", "proj.bias": "proj.bias"}
    for name in case.learned_names("compound_prompts_text."):
        names[name] = name.replace("compound_prompts_text", "text_deep")
    for name in case.learned_names("compound_prompt_projections."):
        names[name] = name.replace("compound_prompt_projections", "deep_proj")
    return names


def coupled_config(case, kind, **more):
    prompt = case.prompt(case.learned("ctx").shape[0])
    words = f"{prompt.init or ''} {prompt.prefix}".strip()
    return kind.Config(
        n_ctx=prompt.n_ctx,
        depth=1 + len(case.learned_names("compound_prompts_text.")),
        init=words if prompt.init else None,
        **more,
    )


def vision_tokens(learner):
    return {f"out.vision_tokens.{i}": t for i, t in learner.image_tokens().items()}


def maple(case):
    learner = MaPLe(case.classes("teacher.token_ids"), coupled_config(case, MaPLe))
    return Prepared(
        learner, coupled_names(case), "ce", forward=lambda learner, batch: vision_tokens(learner)
    )


def co_prompt(case):
    ratios = {
        "image_ratio": float(case.get("image_adapter_m", "image_ratio", "mix_image", default=0.1)),
        "text_ratio": float(case.get("text_adapter_m", "text_ratio", "mix_text", default=0.2)),
        "reduction": reduction(case, "adapter_image.fc.0.weight", case.encoder.embed_dim),
    }
    learner = CoPrompt(case.classes("teacher.token_ids"), coupled_config(case, CoPrompt, **ratios))
    names = coupled_names(case)
    for side in ("image", "text"):
        for i in (0, 2):
            names[f"adapter_{side}.fc.{i}.weight"] = f"adapter_{side}.{i}.weight"
    sentences = learner.classes.template_features
    drawn = case.tensors.get("sentence_index")

    def forward(learner, batch):
        # The encoders' own outputs, before the adapters.
        image = MaPLe.image_features(learner, batch)
        return {
            "out.text_features": MaPLe.text_features(learner),
            "out.image_features": image,
            "teacher.text_features_norm": sentences,
            **vision_tokens(learner),
        }

    def draw(learner, step):
        if drawn is not None:
            chosen = int(drawn.reshape(-1)[step - 1])
            learner.classes.__dict__["template_features"] = sentences[chosen][None]

    weight = float(case.get("lambda", "lambd", "lambda_", "lam", "w", "weight", default=1.0))
    return Prepared(
        learner,
        names,
        # The drawn sentence is the only one at its step, so that its mean is itself.
        ["ce", {"name": "co_prompt", "weight": weight, "sentences": "mean"}],
        {"ce": "ce", "text_cos": "co_prompt.text", "image_cos": "co_prompt.image"},
        forward=forward,
        skip=frozenset({"new.text_features", "teacher.logits"}),
        before_step=draw,
    )


def within(case, names, low, high, default):
    """The first of these settings that is a number strictly between two bounds."""
    values = [case.get(name, default=None) for name in names]
    fitting = [v for v in values if isinstance(v, (int, float)) and low < v < high]
    return float(fitting[0]) if fitting else default


def dept(case):
    named = plain(case.document["method"]).removeprefix("dept")
    method = case.get("base_method", "base", "base_trainer", default=named or "coop")
    inner = adapter_for(method)(case)
    base = inner.learner
    learner = DePT(
        base.classes,
        DePT.Config(
            base=base.name,
            options=asdict(base.config),
            share=within(case, ("linear_weight", "w_linear", "share", "weight", "w"), 0, 1, 0.7),
        ),
    )
    names = {golden: f"base.{name}" for golden, name in inner.names.items()}
    for golden, own in (("film_lp_img", "film_image"), ("film_lp_text", "film_text")):
        names |= {f"{golden}.{part}": f"{own}.{part}" for part in ("scale", "bias")}
    names |= {f"linear_probe_proj.{part}": f"head.{part}" for part in ("weight", "bias")}
    share = learner.config.share
    objective = [{"name": "ce", "weight": 1 - share}, {"name": "dept", "weight": share}]
    terms = {"ce": "ce", "linear": "dept"}
    if base.name == "kgcoop":
        kg = within(case, ("kg_weight", "w_kg", "kgcoop_w", "w", "weight"), 1, 100, 2.0)
        objective.append({"name": "kgcoop", "weight": kg})
        terms["kg"] = "kgcoop"

    def forward(learner, batch):
        outputs = learner.outputs(batch)
        return {
            **inner.forward(learner.base, batch),
            "out.logits_similarity": learner.base.predict([batch]),
            "out.logits_linear": learner.head_logits(learner.image_features(batch)),
            "out.linear_logits_train": outputs.head_logits,
        }

    return Prepared(
        learner,
        names,
        objective,
        terms,
        forward=forward,
        layouts=lambda learner: inner.layouts(learner.base),
    )


ADAPTERS = {
    "ivlp": ivlp,
    "vpt": vpt,
    "promptsrc": prompt_src,
    "maple": maple,
    "coprompt": co_prompt,
    "dept": dept,
}
