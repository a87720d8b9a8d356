"""One CoOp step at ViT-B/16 size with random weights: packed text encoding against 77-token prompts.

    python benchmarks/text_encoding.py            # about five minutes on two cores
    python benchmarks/text_encoding.py --quick    # about one minute

Both sides run in the same process, in turns, with the same weights, so their ratio is meaningful on
a busy machine; memory is measured in separate processes. "plain" is what the published CoOp code
does: every class padded to 77 tokens, and the image encoder on every batch.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from vlmcal.backbones.hf_clip import HFClip
from vlmcal.backbones.preprocess import Preprocess
from vlmcal.text_encoding import PromptLayout, encode_prompts

sys.path.append(str(Path(__file__).parent.parent / "tests"))

from padded_prompts import encode_prompts_reference

BATCH, CLASSES, CONTEXT, NAME = 32, 50, 16, 3
Step = Callable[[], tuple[float, Tensor]]


def make_encoder() -> HFClip:
    """ViT-B/16 shapes with random weights; every character is one token."""
    torch.manual_seed(0)
    letters = [chr(code) + end for end in ("", "</w>") for code in range(33, 127)]
    vocabulary = {token: index for index, token in enumerate(letters)}
    vocabulary |= {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    config = CLIPConfig(
        text_config={"bos_token_id": 49406, "eos_token_id": 49407},
        vision_config={"patch_size": 16, "image_size": 224},
        projection_dim=512,
    )
    config.text_config.projection_dim = config.vision_config.projection_dim = 512
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[])
    return HFClip(CLIPModel(config), tokenizer, Preprocess(224, 224), "random ViT-B/16")


def names(count: int, length: int) -> list[str]:
    """Class names of 1 to 2 * length - 1 tokens, ``length`` on average."""
    generator = torch.Generator().manual_seed(1)
    lengths = [1 + i % (2 * length - 1) for i in range(count)]
    letters = torch.randint(97, 123, (sum(lengths),), generator=generator).tolist()
    words = iter(chr(code) for code in letters)
    return [" ".join(next(words) for _ in range(n)) for n in lengths]


class Problem:
    """Inputs of one training step."""

    def __init__(self, encoder: HFClip, n_classes: int, n_ctx: int, name_length: int) -> None:
        generator = torch.Generator().manual_seed(2)
        self.encoder = encoder
        self.layout = PromptLayout.build(encoder, names(n_classes, name_length), n_ctx=n_ctx)
        self.context = (0.02 * torch.randn(n_ctx, 512, generator=generator)).requires_grad_()
        self.features = torch.randn(BATCH, 512, generator=generator)
        self.pixels = torch.randn(BATCH, 3, 224, 224, generator=generator)
        self.labels = torch.arange(BATCH) % n_classes

    def packed(self, class_chunk: int | None = None) -> tuple[float, Tensor]:
        """Cached image features, packed text rows."""
        text = encode_prompts(self.encoder, self.layout, self.context, class_chunk=class_chunk)
        return self._finish(text, self.features)

    def plain_text(self) -> tuple[float, Tensor]:
        """Cached image features, 77 tokens per class."""
        text = encode_prompts_reference(self.encoder, self.layout, self.context)
        return self._finish(text, self.features)

    def plain_step(self) -> tuple[float, Tensor]:
        """The image encoder on the batch, and 77 tokens per class."""
        with torch.no_grad():
            self.encoder.encode_pixels(self.pixels)
        return self.plain_text()

    def _finish(self, text: Tensor, image: Tensor) -> tuple[float, Tensor]:
        logits = 100 * normalize(image, dim=1) @ normalize(text, dim=1).T
        loss = cross_entropy(logits, self.labels)
        (gradient,) = torch.autograd.grad(loss, self.context)
        return loss.item(), gradient


def seconds(step: Step, repeats: int) -> float:
    """Best of ``repeats`` runs: other work on the machine can only add time."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(encoder: HFClip, repeats: int) -> None:
    print()
    problem = Problem(encoder, CLASSES, CONTEXT, NAME)
    ours, plain = problem.packed(), problem.plain_text()
    error = ((ours[1] - plain[1]).abs().max() / plain[1].abs().max()).item()
    print(
        f"loss {ours[0]:.6f} and {plain[0]:.6f}; largest gradient difference {error:.1e} of largest"
    )
    packed, text, whole = [], [], []
    for _ in range(repeats):
        packed.append(seconds(problem.packed, 3))
        text.append(seconds(problem.plain_text, 1))
        whole.append(seconds(problem.plain_step, 1))
    print(f"packed text, cached images   {min(packed):8.3f} s")
    print(f"77 tokens, cached images     {min(text):8.3f} s   {min(text) / min(packed):5.1f} x")
    print(f"77 tokens and image encoder  {min(whole):8.3f} s   {min(whole) / min(packed):5.1f} x")


def growth(encoder: HFClip, repeats: int, *, plain_classes: tuple[int, ...]) -> None:
    print("\nclasses  context  name tokens   packed [s]   plain [s]   ratio")
    grid = [(k, CONTEXT, NAME) for k in (10, 50, 500)]
    grid += [(CLASSES, m, NAME) for m in (1, 4, 32)] + [(CLASSES, CONTEXT, n) for n in (1, 6, 12)]
    for k, m, length in grid:
        problem = Problem(encoder, k, m, length)
        ours = seconds(problem.packed, repeats)
        row = f"{k:7d}  {m:7d}  {length:11d}   {ours:10.3f}"
        if k in plain_classes and (m, length) == (CONTEXT, NAME):
            plain = seconds(problem.plain_text, 1)
            row += f"   {plain:9.3f}   {plain / ours:5.1f}"
        print(row, flush=True)


def memory(modes: tuple[str, ...], threads: int) -> None:
    print("peak memory of a step beyond the loaded model, in MiB")
    peaks = {}
    for mode in modes:
        command = [sys.executable, __file__, "--measure", mode, "--threads", str(threads)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peaks[mode] = float(json.loads(output.splitlines()[-1]))
        print(f"{mode:28s} {peaks[mode]:8.0f}")
    print(f"packed / plain               {peaks['packed'] / peaks['plain_text']:8.2f}")


def measure(mode: str) -> None:
    name, _, variant = mode.partition(":")
    problem = Problem(make_encoder(), int(variant or CLASSES), CONTEXT, NAME)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if name == "chunked":
        problem.packed(class_chunk=50)
    else:
        getattr(problem, name)()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps((after - before) / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--quick", action="store_true", help="fewer repeats, no plain run at 500 classes"
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.measure:
        measure(options.measure)
        return
    print(f"ViT-B/16 size, {BATCH} images, {CLASSES} classes, {CONTEXT} context tokens, "
          f"{options.threads} threads, torch {torch.__version__}")  # fmt: skip
    # First, because on Linux a child starts with the peak of the process that made it.
    modes = ("packed", "plain_text", "plain_step")
    memory(modes if options.quick else (*modes, "packed:500", "chunked:500"), options.threads)
    encoder = make_encoder()
    compare(encoder, 1 if options.quick else 3)
    plain_classes = (10,) if options.quick else (10, 50, 500)
    growth(encoder, 1 if options.quick else 3, plain_classes=plain_classes)


if __name__ == "__main__":
    main()
