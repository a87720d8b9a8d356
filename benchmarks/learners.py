"""One training step of every method that learns prompts or changes a tower, against its plain form.

ViT-B/16 sizes on both sides with random weights; names of 1 to 5 tokens, 3 on average. The plain form is
the same learner on 77 tokens for every class through the library's own text forward: no shared prefix,
every depth in full, every query of the last block, no kept rows. Both read the frozen model's features
from the cache. Each measurement runs in a process of its own, ours and plain in turns; the smallest
processor time of one thread counts. Text side and step are forward and backward, the step with the
method's own objective; memory is the peak of both beyond the loaded model. "Text rows" are tokens that
enter a text block, smallest and largest over the blocks, counted by hooks.

    python benchmarks/learners.py [--classes 50] [--rounds 1] [--methods coop maple ...]
    python benchmarks/learners.py --memory      # peak of one step, K = 1000
"""

import argparse
import copy
import json
import resource
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext

import torch
from torch import nn
from torch.nn.functional import normalize
from transformers import CLIPTokenizer

from text_encoding import encode_prompts_reference, make_encoder, names
from vlmcal.learners import image_tokens
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.text_encoding import encode_prompts
from vlmcal.training.step import descend, learner_outputs

# Row -> method, options, batch.
ROWS = {
    "coop": ("coop", {}, 32),
    "kgcoop": ("kgcoop", {}, 32),
    "prograd": ("prograd", {}, 32),
    "tcp": ("tcp", {}, 32),
    "cocoop": ("cocoop", {}, 1),
    "proda": ("proda", {"n_prompts": 4, "prompts_per_step": 4}, 4),
    "dept": ("dept", {}, 4),
    "dept on maple": ("dept", {"base": "maple"}, 4),
    "vpt": ("vpt", {}, 4),
    "ivlp": ("ivlp", {}, 4),
    "maple": ("maple", {}, 4),
    "prompt_src": ("prompt_src", {}, 4),
    "co_prompt": ("co_prompt", {}, 4),
    "clip_lora": ("clip_lora", {}, 4),
    "clip_lora, dropout 0": ("clip_lora", {"dropout": 0.0}, 4),
    "mma": ("mma", {}, 4),
}
IN_MEMORY = ("vpt", "ivlp", "maple", "prompt_src", "co_prompt", "clip_lora", "mma")
MERGES = [("p", "h"), ("o", "t"), ("ph", "ot"), ("phot", "o</w>"), ("o", "f</w>")]


def encoder():
    """ViT-B/16 with random weights, in which "a photo of a" has four tokens."""
    made = make_encoder()
    vocabulary = made.tokenizer.get_vocab()
    vocabulary |= {a + b: 300 + i for i, (a, b) in enumerate(MERGES)}
    made.tokenizer = CLIPTokenizer(vocab=vocabulary, merges=MERGES)
    return made


def make(row, n_classes, *, plain):
    """The learner, moved away from its start (LoRA's is zero), and a batch."""
    name, settings, size = ROWS[row]
    kind = LEARNERS.get(name)
    classes = ClassContext(encoder(), tuple(names(n_classes, 3)), ("a photo of a {}.",))
    settings = settings | ({"keep_mib": 0} if plain and name == "mma" else {})
    learner = kind(classes, kind.Config(**settings), torch_generator(0, "init"))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    pixels = torch.randn(size, 3, 224, 224, generator=generator)
    return learner, Batch(
        image_features=torch.randn(size, 512, generator=generator),
        second_image_features=torch.randn(size, 512, generator=generator),
        labels=torch.randint(0, n_classes, (size,), generator=generator),
        sample_index=torch.arange(size),
        view=0,
        pixels=pixels if learner.consumes == "pixels" else None,
        seed=0,
    )


def plain_prompts(given, layout, context, *, share_prefix=True, **options):
    """77 tokens through the library's forward, wrapped submodules of a tower view included."""
    with library_layers(given):
        return encode_prompts_reference(given, layout, context, **options)


@contextmanager
def library_layers(given):
    """Puts the maps of a tower view into copies of the library's own blocks."""
    tower = given.model.text_model.encoder
    frozen = tower.layers
    tower.layers = nn.ModuleList(
        own if own is view else with_maps(own, view)
        for own, view in zip(frozen, given.text_tower.layers, strict=True)
    )
    try:
        yield
    finally:
        tower.layers = frozen


def with_maps(layer, view):
    # Copies share every weight; maps of the view call the original block's submodules.
    new, attention = copy.copy(layer), copy.copy(layer.self_attn)
    projections = {n: Mapped(getattr(view.self_attn, n)) for n in attention._modules}
    attention._modules = projections
    new._modules = {**layer._modules, "self_attn": attention, "mlp": Mapped(view.mlp)}
    return new


class Mapped(nn.Module):
    """A map of a tower view as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = [function]  # in a list, so that the frozen module is not registered twice

    def forward(self, x):
        """Apply it."""
        return self.function[0](x)


def use_plain_forms():
    """Replaces the fast text path in every module that imported it, and the short last image block."""
    users = [
        m for name, m in sys.modules.items()
        if name.startswith("vlmcal.") and vars(m).get("encode_prompts") is encode_prompts
        and not name.startswith("vlmcal.text_encoding")
    ]  # fmt: skip
    for module in users:
        module.encode_prompts = plain_prompts
    block = image_tokens._block
    image_tokens._block = lambda *args, n_queries: block(*args, n_queries=None)


@contextmanager
def counted(learner, rows):
    """Appends to ``rows``, per text block, the tokens that enter it meanwhile."""
    layers = learner.encoder.text_tower.layers
    rows[:] = [0] * len(layers)

    def counting(i):
        def hook(_module, _args, out):
            rows[i] += out.shape[:-1].numel()

        return hook

    hooks = [layer.layer_norm1.register_forward_hook(counting(i)) for i, layer in enumerate(layers)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def text_side(learner, batch, rows):
    image = normalize(batch.image_features, dim=-1) if learner.text_depends_on_image else None
    dropout = getattr(learner.config, "dropout", 0)
    with counted(learner, rows), learner._dropping(batch) if dropout else nullcontext():
        text = learner.text_features(image)
    text.backward(torch.linspace(-1, 1, text.numel()).reshape(text.shape))


def whole_step(learner, batch, objective, optimiser):
    outputs = learner_outputs(learner, batch, objective)
    outputs.step, outputs.generator = 0, torch_generator(0, "objective", 0)
    descend(learner, objective.terms(outputs), optimiser, objective.combiner())
    optimiser.step()


def seconds(function, *args):
    """Processor time, which other work on the machine disturbs least."""
    start = time.process_time()
    function(*args)
    return time.process_time() - start


def resident():
    """Peak resident set, MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 if sys.platform == "linux" else 1 << 20)


def measure(row, options):
    torch.set_num_threads(1)
    learner, batch = make(row, options.classes, plain=options.plain)
    if options.plain:
        use_plain_forms()
    objective = parse_objective(list(learner.default_objective))
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.0)
    weights = sum(p.nbytes for p in learner.encoder.model.parameters())
    result, base = {"weights": weights}, resident()
    _ = learner.frozen_text_features, learner.frozen_template_features
    if not options.memory:
        result["logits"] = learner.eval().predict([batch]).flatten().tolist()
        learner.train()
        if "text" in learner.tunes:
            result["rows"] = []
            # The first pass also pays for fresh memory; the step that follows does not.
            result["text"] = min(
                seconds(text_side, learner, batch, result["rows"]) for _ in range(2)
            )
    learner.train()
    result["step"] = seconds(whole_step, learner, batch, objective, optimiser)
    print(json.dumps(result | {"memory": resident() - base, "resident": resident()}))


def child(row, options, *flags):
    command = [
        sys.executable, __file__, "--measure", row, "--classes", str(options.classes),
        *flags,
    ]  # fmt: skip
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(result.stdout.strip().splitlines()[-1])


def compare(row, options):
    runs = {"ours": [], "plain": []}
    for _ in range(options.rounds):
        runs["ours"].append(child(row, options))
        runs["plain"].append(child(row, options, "--plain"))
    ours, plain = runs["ours"][0], runs["plain"][0]
    assert all(n > 0 and n % (77 * options.classes) == 0 for n in plain.get("rows", []))
    cells = [row, str(ROWS[row][2])]
    for what in ("text", "step"):
        if what not in ours:
            cells += ["encoded once", "", ""]
            continue
        fast, slow = (min(run[what] for run in runs[who]) for who in ("ours", "plain"))
        cells += [f"{fast:.2f} s", f"{slow:.2f} s", f"{slow / fast:.1f}"]
    a, b = torch.tensor(ours["logits"]), torch.tensor(plain["logits"])
    cells += [
        f"{ours['memory'] / plain['memory']:.2f}",
        " / ".join(shown(run["rows"]) for run in (ours, plain) if "rows" in run),
        f"{float((a - b).abs().max() / b.abs().max()):.1e}",
    ]
    print("| " + " | ".join(cells) + " |", flush=True)


def shown(counts):
    low, high = min(counts), max(counts)
    return f"{low}" if low == high else f"{low} to {high}"


def memory(options):
    print(f"one step, {options.classes} classes, B = 4, one thread, MiB")
    print("| method | peak beyond the model | resident in all | weights |\n|---|---|---|---|")
    for row in options.methods or IN_MEMORY:
        run = child(row, options, "--memory")
        weights = run["weights"] / 2**20
        print(
            f"| {row} | {run['memory']:,.0f} | {run['resident']:,.0f} | {weights:,.0f} |",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--classes", type=int, help="50, or 1000 with --memory")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--methods", nargs="*", choices=list(ROWS))
    parser.add_argument("--memory", action="store_true", help="peak memory of one step instead")
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.classes = options.classes or (1000 if options.memory else 50)
    if options.measure:
        measure(options.measure, options)
    elif options.memory:
        memory(options)
    else:
        print(f"ViT-B/16 sizes, {options.classes} classes, one thread")
        print(
            "| method | batch | text | plain | times | step | plain | times | memory ratio "
            "| text rows, ours / plain | largest logit difference |\n" + "|---" * 11 + "|"
        )
        for row in options.methods or ROWS:
            compare(row, options)


if __name__ == "__main__":
    main()
