"""The adapters of the method cases on made-up cases, for methods of which no case is carried.

A made-up case has the layout of a real one and no expected numbers: the test is that every adapter
finds its settings in tensor shapes and prompts, that learned tensors fit, and that steps can be taken.
"""

import pytest
import torch
from methods import adapter_for
from methods.case import Case
from test_methods import (
    Comparison,
    check_forward,
    check_steps,
    check_tokens,
    make_batch,
    set_learned_tensors,
)

NAMES, NEW = ["annual_crop", "sea or lake", "dog"], ["river", "the cat"]
PHOTO, PLACEHOLDERS = "a photo of a {}.", "X X X X {}."
D_TEXT, D_IMAGE, E = 32, 48, 24


def linear(name, outputs, inputs, bias=True):
    shapes = {f"{name}.weight": (outputs, inputs)}
    return shapes | ({f"{name}.bias": (outputs,)} if bias else {})


def coupled(depth, n=2):
    shapes = {"ctx": (n, D_TEXT), **linear("proj", D_IMAGE, D_TEXT)}
    for k in range(depth - 1):
        shapes[f"compound_prompts_text.{k}"] = (n, D_TEXT)
        shapes |= linear(f"compound_prompt_projections.{k}", D_IMAGE, D_TEXT)
    return shapes


def independent(text_depth, image_depth, n=4):
    shapes = {"text.ctx": (n, D_TEXT)} | ({"vision.ctx": (n, D_IMAGE)} if image_depth else {})
    shapes |= {f"text.deep.{i}": (n, D_TEXT) for i in range(1, text_depth)}
    return shapes | {f"vision.deep.{i}": (n, D_IMAGE) for i in range(1, image_depth)}


def images_only(depth):
    return {k: v for k, v in independent(1, depth, 8).items() if k.startswith("vision")}


def meta(hidden, outputs):
    return {
        **linear("meta_net.linear1", hidden, E),
        **linear("meta_net.linear2", outputs, hidden),
    }


FILM = {f"film_lp_{side}.{part}": (E,) for side in ("img", "text") for part in ("scale", "bias")}
HEAD = {**FILM, **linear("linear_probe_proj", len(NAMES), E)}
BOTTLENECK = {"fc.0.weight": (6, E), "fc.2.weight": (E, 6)}
COCOOP = {"ctx": (4, D_TEXT), **meta(2, D_TEXT)}
TEMPLATES = {"template": ["a photo of a {}.", "itap of a {}."]}
TEACHER = {"teacher": [PHOTO]}
X12 = " ".join(["X"] * 12)
X8 = " ".join(["X"] * 8)


def sides(*names):
    return {f"{side}.{part}": shape for side in names for part, shape in BOTTLENECK.items()}


# method, case, prompt, config, learned shapes, further prompts
MADE_UP = [
    ("ProGrad", "prograd", f"{X12} {PHOTO}", {"T": 1.0}, {"ctx": (16, D_TEXT)}, TEACHER),
    # The reference counts words, so that after a comma the last word stays outside the tokens.
    ("ProGrad", "prograd_pets", f"{X8} a cat of the, a photo of a {{}}.", {}, {"ctx": (16, D_TEXT)},
     TEACHER),
    ("TCP", "tcp", "X X X X {}, a type of pet.", {}, {"ctx": (4, D_TEXT), **meta(6, 4 * D_TEXT)},
     TEACHER),
    ("TCP", "tcp_ucf", "a photo of a person doing {}.", {},
     {"ctx": (4, D_TEXT), **meta(6, 4 * D_TEXT)}, TEACHER),
    ("ProDA", "proda", PLACEHOLDERS, {"alpha": 0.1}, {"ctx": (8, 4, D_TEXT)}, {}),
    ("CLIP-Adapter", "clip_adapter", PHOTO, {}, sides("adapter"), {}),
    ("Tip-Adapter", "tip_adapter", PHOTO, {"init_alpha": 2.0, "init_beta": 3.0}, {"keys": (6, E)},
     TEMPLATES),
    ("TaskRes", "taskres", PHOTO, {"alpha": 0.5}, {"text_feature_residuals": (len(NAMES), E)},
     TEMPLATES),
    ("IVLP", "ivlp", PHOTO, {}, independent(10, 10), {}),
    ("IVLP", "ivlp_language_only", PHOTO, {}, independent(9, 0), {}),
    ("VPT", "vpt_deep", PHOTO, {}, images_only(10), {}),
    ("VPT", "vpt_shallow", PHOTO, {}, images_only(1), {}),
    ("PromptSRC", "promptsrc", PHOTO, {}, independent(9, 9), TEMPLATES | {"teacher": [PHOTO, "a {}."]}),
    ("PromptSRC", "promptsrc_gpa", PHOTO, {"gpa_mean": 3, "gpa_std": 1}, independent(3, 3), TEACHER),
    ("CoPrompt", "coprompt", PHOTO, {"lambda": 4.0},
     {**coupled(9), **sides("adapter_image", "adapter_text")}, {"teacher": ["{} is.", "a {}", "{}"]}),
    ("DePT", "dept_coop", PLACEHOLDERS, {"base_method": "CoOp"}, {"ctx": (4, D_TEXT), **HEAD}, {}),
    ("DePT", "dept_kgcoop", PHOTO, {"base_method": "KgCoOp", "w": 2.0},
     {"ctx": (4, D_TEXT), **HEAD}, TEACHER),
    ("DePT", "dept_cocoop", PHOTO, {"base_method": "CoCoOp"}, {**COCOOP, **HEAD}, {}),
    ("DePT", "dept_maple", PHOTO, {"base_method": "MaPLe"}, {**coupled(9), **HEAD}, {}),
    ("CoOp", "coop_csc_middle", " ".join(["X"] * 5) + " {}.",
     {"class_token_position": "middle"}, {"ctx": (len(NAMES), 5, D_TEXT)}, {}),
    ("CoOp", "coop_sched", PHOTO, {"class_token_position": "end"}, {"ctx": (4, D_TEXT)}, {}),
]  # fmt: skip
OWN_HEAD = ("dept",)
NO_NEW = ("taskres", "tip_adapter", "coop_csc_middle")


def texts(template, names):
    return [template.replace("{}", name.replace("_", " ")) for name in names]


def made_up(encoder, method, name, prompt, config, shapes, prompts):
    draw = torch.Generator().manual_seed(0)
    random = {f"learned.{k}": 0.1 * torch.randn(v, generator=draw) for k, v in shapes.items()}
    tensors = {
        **random,
        "images": torch.randn(3, 3, 16, 16, generator=draw),
        "images2": torch.randn(3, 3, 16, 16, generator=draw),
        "labels": torch.tensor([0, 2, 1]),
        "support_images": torch.randn(2, 6, 3, 16, 16, generator=draw),
        "support_labels": torch.tensor([0, 1, 2, 0, 1, 2]),
        "prompt_indices": torch.tensor([[0, 3, 5, 7], [1, 2, 4, 6]]),
        "positions": torch.tensor([0, 0, 1, 1, 2, 2, 2, 2]),
        "sentence_index": torch.tensor([2, 0]),
        "new.logits": torch.full((3, 2), torch.nan),
    }
    for start, names in (("", NAMES), ("new.", NEW)):
        sets = {"": [prompt], **{f"{k}.": v for k, v in prompts.items()}}
        for kind, templates in sets.items():
            ids = torch.stack([encoder.tokenize(texts(t, names)) for t in templates])
            ids = ids[0] if kind == "" else ids
            tensors[f"{start}{kind}token_ids"] = ids
            tensors[f"{start}{kind}eot_index"] = ids.argmax(dim=-1)
    rate = [0.002, 0.013] if "dept" in name else 0.002
    document = {
        "method": method,
        "case": f"{name}_s20_seed0",
        "logit_scale": 20.0,
        "n_classes": len(NAMES),
        "config": config,
        "classnames": NAMES,
        "new_classnames": NEW,
        "prompts": texts(prompt, NAMES),
        "optimiser": {"class": "SGD", "groups": [{"lr": 0.002, "weight_decay": 5e-4}]},
        "lr_per_step": [rate, rate],
    }
    return document, tensors


class Seen(Comparison):
    """Finite values of the right number of elements, instead of equal ones."""

    def _check(self, key, got, want, limit):
        assert got.numel() == want.numel(), key
        assert bool(torch.isfinite(got).all()), key


@pytest.mark.parametrize(
    ("method", "name", "prompt", "config", "shapes", "prompts"),
    MADE_UP,
    ids=[m[1] for m in MADE_UP],
)
def test_adapter(tiny_encoder, method, name, prompt, config, shapes, prompts):
    document, tensors = made_up(tiny_encoder, method, name, prompt, config, shapes, prompts)
    case = Case(document, tensors, tiny_encoder)
    prepared = adapter_for(method)(case)
    compare = Seen(tensors)
    set_learned_tensors(prepared, case, compare)
    check_tokens(prepared.layouts(prepared.learner), case)
    batch = make_batch(case)
    before = {k: v.detach().clone() for k, v in prepared.learner.named_parameters()}
    check_forward(prepared, case, batch, compare)
    assert ("new.logits" in compare.seen) == (name not in NO_NEW)
    check_steps(prepared, case, batch, compare)
    after = dict(prepared.learner.named_parameters())
    still = [k for k in after if torch.equal(before[k], after[k])]
    assert not still, f"two steps did not move {still}"


def test_settings_are_read_from_prompts(tiny_encoder):
    def learner(index):
        document, tensors = made_up(tiny_encoder, *MADE_UP[index])
        return adapter_for(document["method"])(Case(document, tensors, tiny_encoder)).learner

    assert learner(0).config.init == "a photo of a"
    pets = learner(1).config
    assert (pets.init, pets.prefix) == ("a cat of the, a photo of", "a")
    assert learner(2).config.suffix == ", a type of pet."
    assert learner(3).config.prefix == "person doing"


def test_unknown_methods_have_no_adapter():
    assert adapter_for("Something Else") is None
    assert adapter_for("DePT(MaPLe)").__name__ == "dept"
    assert adapter_for("Tip-Adapter-F").__name__ == "tip_adapter"
