"""What a GPU makes of it, in one script of under ten minutes: encoding, steps, cells side by side, memory.

    python benchmarks/gpu.py [--json gpu.json]              # ViT-B/16 with random weights, first CUDA device
    python benchmarks/gpu.py --device cpu --tiny            # the same on the pocket model, to try the script

Every line is printed as soon as it is known and, with ``--json``, written at once, so a run that is cut off
keeps what it has; parts that would begin after ``--budget`` seconds are left out and named. Times are the
shortest of several, with the device synchronised before the clock is read; ratios compare runs of one
process. "plain" is the published form: 77 tokens for every class, every block in full.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

import learners as benchmark
from learners import ROWS, encoder, image_tokens, use_plain_forms
from text_encoding import names
from vlmcal.backbones import load_backbone
from vlmcal.backbones.compiling import compile_towers
from vlmcal.backbones.towers.resnet import ModifiedResNet
from vlmcal.errors import VlmcalError
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.objectives.compose import parse_objective
from vlmcal.seeding import torch_generator
from vlmcal.text_encoding import PromptLayout, encode_prompts

# The first ones are measured first, and in every precision.
LEADING = ("coop", "maple")
METHODS = (*LEADING, *(row for row in ROWS if row not in LEADING))
PRECISIONS = ("tf32", "bfloat16")


class Bench:
    """Device, clock and log of one run."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.device, self.tiny = torch.device(options.device), options.tiny
        self.repeats = 2 if options.tiny else 5
        self.start, self.budget = time.perf_counter(), options.budget
        self.file = None if options.json is None else Path(options.json)
        self.lines: list[dict[str, Any]] = []

    def encoder(self) -> Any:
        """The model on the device, with weights of its own: what it does may compile it."""
        if self.tiny:
            return load_backbone("pocket", device=str(self.device))
        made = encoder()
        made.model.to(self.device)
        return made

    @cached_property
    def frozen(self) -> Any:
        """The model of all parts that leave it alone."""
        return self.encoder()

    def seconds(self, call: Callable[[], Any]) -> float:
        """Shortest time of a call after one that warms up."""
        times = []
        for _ in range(self.repeats + 1):
            self.wait()
            start = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - start)
        return min(times[1:])

    def wait(self) -> None:
        """Until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @contextmanager
    def peak(self, into: dict[str, Any]) -> Iterator[None]:
        """Writes the peak of the device's memory in MiB; nothing on a CPU."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        yield
        if self.device.type == "cuda":
            into["peak_mib"] = round(torch.cuda.max_memory_allocated(self.device) / 2**20)

    def tell(self, part: str, what: str, **values: Any) -> None:
        """Print and keep one line."""
        self.lines.append({"part": part, "what": what, **values})
        shown = ", ".join(
            f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items()
        )
        print(f"[{time.perf_counter() - self.start:5.0f} s] {part} | {what} | {shown}", flush=True)
        if self.file is not None:
            self.file.write_text(json.dumps(self.lines, indent=1), encoding="utf-8")

    def over(self, part: str, what: str) -> bool:
        """Whether the time is spent; says what is left out then."""
        spent = time.perf_counter() - self.start > self.budget
        if spent:
            self.tell(part, what, left_out="time is spent")
        return spent


def encoding(bench: Bench) -> None:
    """Images per second by precision, with and without compiled blocks."""
    if bench.over("encoding", "all"):
        return
    given = bench.encoder()
    size = pixels_of(given, 224)
    batch = 16 if bench.tiny else 256
    images = torch.randn(batch, 3, size, size, device=bench.device)

    def once(precision: str) -> Callable[[], Any]:
        def call() -> None:
            off = precision == "float32"
            with (
                torch.no_grad(),
                torch.autocast(
                    bench.device.type, dtype=torch.bfloat16, enabled=not off and precision != "tf32"
                ),
            ):
                given.encode_pixels(images)

        return call

    first = None
    for precision in ("float32", "tf32", "bfloat16"):
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        line: dict[str, Any] = {}
        with bench.peak(line):
            taken = bench.seconds(once(precision))
        first = first or taken
        bench.tell("encoding", precision, images_per_s=batch / taken, times=first / taken, **line)
    torch.set_float32_matmul_precision("highest")
    if bench.over("encoding", "compiled"):
        return
    try:
        compile_towers(given, backend="eager" if bench.tiny else "inductor")
        for precision in ("float32", "bfloat16"):
            taken = bench.seconds(once(precision))
            bench.tell(
                "encoding",
                f"{precision}, compiled",
                images_per_s=batch / taken,
                times=first / taken,
            )
    except VlmcalError as error:
        bench.tell("encoding", "compiled", left_out=str(error)[:120])


def channels_last(bench: Bench) -> None:
    """Images per second of a ResNet by the order of its numbers in memory."""
    if bench.over("channels last", "all"):
        return
    blocks, width, edge = ((1, 1, 1, 1), 16, 64) if bench.tiny else ((3, 4, 6, 3), 64, 224)
    tower = ModifiedResNet(blocks, width, 8, (edge // 32) ** 2, 128).eval().to(bench.device)
    batch = 8 if bench.tiny else 256
    images = torch.randn(batch, 3, edge, edge, device=bench.device)
    for kind in ("float32", "bfloat16"):
        taken = {}
        for order in (torch.contiguous_format, torch.channels_last):
            tower.to(memory_format=order)  # type: ignore[call-overload]
            pixels = images.contiguous(memory_format=order)

            def call(pixels: torch.Tensor = pixels, half: bool = kind == "bfloat16") -> None:
                with torch.no_grad(), torch.autocast(bench.device.type, torch.bfloat16, half):
                    tower(pixels)

            taken[order] = bench.seconds(call)
        first, last = taken.values()
        bench.tell("channels last", kind, images_per_s=batch / last, times=first / last)


def pixels_of(given: Any, default: int) -> int:
    """Edge of the pictures that the image tower takes."""
    config = getattr(getattr(given, "model", None), "config", None)
    vision = getattr(config, "vision_config", None)
    return int(getattr(vision, "image_size", default))


def learner_of(bench: Bench, row: str, n_classes: int, precision: Any = "off") -> tuple[Any, Batch]:
    """A learner of the benchmark's table on the device, and a batch."""
    name, settings, batch = ROWS[row]
    given = bench.frozen.with_precision(precision)
    kind = LEARNERS.get(name)
    words = (
        tuple(names(n_classes, 3))
        if not bench.tiny
        else tuple(f"class {i}" for i in range(n_classes))
    )
    classes = ClassContext(given, words, ("a photo of a {}.",))
    learner = kind(classes, kind.Config(**settings), torch_generator(0, "init")).to(bench.device)
    generator = torch.Generator().manual_seed(1)
    size, width = pixels_of(given, 224), given.embed_dim
    pixels = torch.randn(batch, 3, size, size, generator=generator)
    made = {
        "image_features": torch.randn(batch, width, generator=generator),
        "second_image_features": torch.randn(batch, width, generator=generator),
        "labels": torch.randint(0, n_classes, (batch,), generator=generator),
        "sample_index": torch.arange(batch),
        "pixels": pixels if learner.consumes == "pixels" else None,
    }
    moved = {k: None if v is None else v.to(bench.device) for k, v in made.items()}
    return learner, Batch(**moved, view=0, seed=0)


@contextmanager
def plain_forms() -> Iterator[None]:
    """The published form of the text path and of the last image block, meanwhile."""
    kept = {
        name: module.encode_prompts
        for name, module in sys.modules.items()
        if name.startswith("vlmcal.") and "encode_prompts" in vars(module)
    }
    block = image_tokens._block
    use_plain_forms()
    try:
        yield
    finally:
        image_tokens._block = block
        for name, function in kept.items():
            sys.modules[name].encode_prompts = function


def steps(bench: Bench) -> None:
    """A training step of each method, ours and plain, in one process."""
    for n_classes in (5, 10) if bench.tiny else (100, 1000):
        for row in METHODS:
            what = f"{row}, K = {n_classes}"
            if bench.over("step", what):
                continue
            learner, batch = learner_of(bench, row, n_classes)
            objective = parse_objective(list(learner.default_objective))
            optimiser = torch.optim.SGD(learner.parameters(), lr=0.0)
            _ = learner.frozen_text_features, learner.frozen_template_features
            learner.train()

            def step(
                learner=learner, batch=batch, objective=objective, optimiser=optimiser
            ) -> None:
                benchmark.whole_step(learner, batch, objective, optimiser)

            line: dict[str, Any] = {}
            with bench.peak(line):
                ours = bench.seconds(step)
            plain: dict[str, Any] = {}
            try:
                with plain_forms(), bench.peak(plain):
                    plain["plain_ms"] = 1000 * bench.seconds(step)
                plain["times"] = plain["plain_ms"] / (1000 * ours)
            except torch.cuda.OutOfMemoryError:
                plain = {"plain": "out of memory"}
            if "peak_mib" in plain:
                plain["plain_peak_mib"] = plain.pop("peak_mib")
            bench.tell("step", what, ms=1000 * ours, **line, **plain)
            del learner, batch, objective, optimiser, step
            for precision in PRECISIONS if row in LEADING else ():
                rounded(bench, row, n_classes, precision, ours)


def rounded(bench: Bench, row: str, n_classes: int, precision: str, exact: float) -> None:
    """A step in another precision, against the seconds ``exact`` of that in float32."""
    learner, batch = learner_of(bench, row, n_classes, precision)
    objective = parse_objective(list(learner.default_objective))
    optimiser = torch.optim.SGD(learner.parameters(), lr=0.0)
    _ = learner.frozen_text_features, learner.frozen_template_features
    learner.train()
    line: dict[str, Any] = {}
    with bench.peak(line):
        taken = bench.seconds(lambda: benchmark.whole_step(learner, batch, objective, optimiser))
    what = f"{row}, K = {n_classes}, {precision}"
    bench.tell("step", what, ms=1000 * taken, times_float32=exact / taken, **line)


def cells(bench: Bench) -> None:
    """Contexts of several runs through the text tower in one pass, against one pass for each."""
    given = bench.frozen
    n_classes = 5 if bench.tiny else 100
    words = [f"class {i}" for i in range(n_classes)] if bench.tiny else names(n_classes, 3)
    layout = PromptLayout.build(given, words, n_ctx=4)
    for count in (2, 5) if bench.tiny else (1, 5, 15):
        what = f"{count} contexts, K = {n_classes}"
        if bench.over("cells", what):
            continue
        shape = (count, 4, given.text_width)
        contexts = torch.randn(shape, device=bench.device).mul_(0.02).requires_grad_()

        def together(contexts=contexts, layout=layout) -> None:
            encode_prompts(given, layout, contexts, context_axis="image").sum().backward()

        def apart(contexts=contexts, layout=layout) -> None:
            for context in contexts:
                encode_prompts(given, layout, context).sum().backward()

        line: dict[str, Any] = {}
        with bench.peak(line):
            one = bench.seconds(together)
        each = bench.seconds(apart)
        bench.tell(
            "cells", what, ms=1000 * one, one_by_one_ms=1000 * each, times=each / one, **line
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the pocket model, to try the script")
    parser.add_argument(
        "--budget", type=float, default=480.0, help="seconds; later parts are left out"
    )
    parser.add_argument("--json", help="file that holds every line as soon as it is known")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("no CUDA device here: nothing was measured (try --device cpu --tiny)")
        return
    bench = Bench(options)
    kind = torch.cuda.get_device_name(bench.device) if bench.device.type == "cuda" else "CPU"
    bench.tell("machine", kind, torch=torch.__version__)
    for part in (encoding, channels_last, cells, steps):
        part(bench)


if __name__ == "__main__":
    main()
