"""One training step of every method with learned text prompts, against 77 tokens for every class.

Random weights of ViT-B/16 text size, K = 50 classes, cached image features. The plain version is the same
learner with the library's own 77-token forward in place of the shared-prefix path; both must give
the same logits, which is printed. A step is forward and backward; memory is the peak beyond the loaded
model, each measured in a process of its own.

    python benchmarks/learners.py [--classes 50] [--layers 12] [--methods coop cocoop ...]
"""

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

BATCH = {"cocoop": 1, "proda": 4}
METHODS = ("coop", "kgcoop", "prograd", "tcp", "cocoop", "proda")
NOUNS = [
    "cat",
    "dog",
    "owl",
    "fox",
    "bee",
    "cow",
    "hen",
    "pig",
    "rat",
    "ant",
    "elk",
    "emu",
    "bat",
    "eel",
    "yak",
]


def encoder(layers):
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from tiny_clip import make_tiny_clip
    from vlmcal.backbones import load_backbone

    folder = make_tiny_clip(
        Path(tempfile.mkdtemp()), text_layers=layers, image_layers=1, text_width=512, heads=8,
        image_width=64, embed_dim=512,
    )  # fmt: skip
    return load_backbone(str(folder))


def measure(name, plain, options):
    """Seconds of a step, peak memory in MiB and the logits."""
    from vlmcal.learners.base import LEARNERS, Batch, ClassContext
    from vlmcal.objectives.compose import parse_objective
    from vlmcal.seeding import torch_generator
    from vlmcal.text_encoding import encode_prompts_reference
    from vlmcal.training.step import learner_outputs

    torch.set_num_threads(options.threads)
    kind = LEARNERS.get(name)
    names = tuple(f"{NOUNS[i % 15]} {NOUNS[i // 15]}" for i in range(options.classes))
    classes = ClassContext(encoder(options.layers), names, ("a photo of a {}.",))
    settings = {"n_prompts": 4, "prompts_per_step": 4} if name == "proda" else {}
    learner = kind(classes, kind.Config(**settings), torch_generator(0, "init"))
    if plain:
        for module in [importlib.import_module(c.__module__) for c in kind.__mro__[:-1]]:
            if hasattr(module, "encode_prompts"):
                module.encode_prompts = encode_prompts_reference
    size = BATCH.get(name, 32)
    generator = torch.Generator().manual_seed(1)
    batch = Batch(
        image_features=torch.randn(size, 512, generator=generator),
        labels=torch.randint(0, options.classes, (size,), generator=generator),
        seed=0,
    )
    objective = parse_objective("ce")
    learner.train()
    _ = classes.text_features
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    times = []
    for _ in range(options.rounds):
        start = time.perf_counter()
        outputs = learner_outputs(learner, batch, objective)
        sum(t.value * t.weight for t in objective.terms(outputs).values()).backward()
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base
    logits = outputs.logits.detach().flatten()[:200].tolist()
    print(json.dumps({"seconds": min(times), "memory": peak / 1024, "logits": logits}))


def child(name, plain, options):
    command = [
        sys.executable, __file__, "--measure", name, "--classes", str(options.classes),
        "--layers", str(options.layers), "--rounds", str(options.rounds),
        "--threads", str(options.threads),
    ]  # fmt: skip
    result = subprocess.run(
        command + (["--plain"] if plain else []), capture_output=True, text=True, check=True
    )
    return json.loads(result.stdout.strip().splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--plain", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure, options.plain, options)
        return
    print(
        f"{options.layers} layers of width 512, {options.classes} classes, {options.threads} thread(s)"
    )
    print(
        "| method | batch | ours | 77 tokens | times faster | memory ratio | largest logit difference |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in options.methods:
        ours, plain = child(name, False, options), child(name, True, options)
        largest = max(abs(a) for a in plain["logits"])
        off = (
            max(abs(a - b) for a, b in zip(ours["logits"], plain["logits"], strict=True)) / largest
        )
        print(
            f"| {name} | {BATCH.get(name, 32)} | {ours['seconds']:.2f} s | {plain['seconds']:.2f} s "
            f"| {plain['seconds'] / ours['seconds']:.1f} "
            f"| {ours['memory'] / plain['memory']:.2f} | {off:.1e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
