"""Towers of every family: how far from the original libraries, and what the fast forms save.

    python benchmarks/towers.py                       # speed, on tiny random checkpoints
    python benchmarks/towers.py FOLDER_OF_GOLDEN_TOWERS  # also the largest differences

Times are ratios of medians within one run: the plain form (every prompt padded to the whole window) over the
form that is used. Whatever else runs on the machine slows both.
"""

import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch

sys.path[:0] = [str(Path(__file__).parent.parent / part) for part in ("tests", "tests/golden")]

from padded_prompts import encode_prompts_reference  # noqa: E402
from tiny_towers import LABELS, make_tiny_tower  # noqa: E402
from vlmcal.backbones import load_backbone  # noqa: E402
from vlmcal.text_encoding import PromptLayout, encode_prompts  # noqa: E402

WORDS = ["cat", "dog", "sea", "lake", "photo", "the cat", "the dog or lake", "x"]


def median_of(run, repeats=7):
    """Median seconds of a call after one to warm up."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def step(encode, encoder, layout, context):
    """Forward and backward of one prompt-tuning step."""
    context.grad = None
    encode(encoder, layout, context).square().sum().backward()


def speed(classes):
    """Rows (family, texts, step) of ratios plain over used."""
    names = [f"{WORDS[i % len(WORDS)]} {i}" for i in range(classes)]
    texts = [f"a photo of a {name}." for name in names]
    with tempfile.TemporaryDirectory() as folder:
        for layout_name, label in LABELS.items():
            encoder = load_backbone(str(make_tiny_tower(layout_name, Path(folder) / layout_name)))
            ids = encoder.tokenize(texts)
            with torch.no_grad():
                plain = median_of(lambda encoder=encoder, ids=ids: encoder.encode_text_ids(ids))
            used = median_of(lambda encoder=encoder: encoder.encode_texts(texts))
            layout = PromptLayout.build(encoder, names, n_ctx=4)
            context = torch.randn(4, encoder.text_width).requires_grad_()
            ratio = [
                median_of(lambda e=encode, x=encoder, y=layout, c=context: step(e, x, y, c))
                for encode in (encode_prompts_reference, encode_prompts)
            ]
            yield label, plain / used, ratio[0] / ratio[1]


def differences(folder):
    """Rows (family, part -> largest absolute difference) of golden cases."""
    from test_towers import case_at, injected, stored_pixels

    for path in sorted(p.parent for p in Path(folder).rglob("meta.json")):
        case = case_at(path)
        case.folder = path
        encoder, want = case.encoder, case.want
        with torch.no_grad():
            got = {
                "text.features": encoder.encode_text_ids(want["text.ids"]),
                "preprocess.features": encoder.encode_pixels(stored_pixels(case)),
            }
        context = want["inject.context"].clone().requires_grad_()
        features = encode_prompts(encoder, injected(case), context)
        (features * want["inject.weights"]).sum().backward()
        got |= {"inject.features": features, "inject.gradient": context.grad}
        gaps = {key: float((value - want[key]).abs().max()) for key, value in got.items()}
        yield path.name, case.meta["like"], gaps


def main(folders):
    """Print the tables."""
    warnings.simplefilter("ignore")
    for folder in folders:
        print("| case | as | image | text | injected prompt | its gradient |")
        print("|---|---|---|---|---|---|")
        for name, like, gaps in differences(folder):
            keys = ("preprocess.features", "text.features", "inject.features", "inject.gradient")
            print(f"| {name} | {like} | " + " | ".join(f"{gaps[k]:.1e}" for k in keys) + " |")
        print()
    print("| family | texts, plain / used | CoOp step, plain / used |")
    print("|---|---|---|")
    for label, texts, prompts in speed(classes=64):
        print(f"| {label} | {texts:.1f} | {prompts:.1f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
