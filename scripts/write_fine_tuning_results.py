"""Write docs/results/fine_tuning.md: towers that are trained, in and out of distribution.

python scripts/write_fine_tuning_results.py        # some five minutes on one processor core
"""

import multiprocessing
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vlmcal.backbones import load_backbone
from vlmcal.experiment.evaluate import evaluate_run
from vlmcal.experiment.grid import run_experiment
from vlmcal.experiment.run import Workbench
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.io.yaml_text import read_yaml
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.objectives.compose import parse_objective
from vlmcal.options import Named
from vlmcal.seeding import torch_generator
from vlmcal.training.step import run_step

TARGET = Path(__file__).parent.parent / "docs" / "results" / "fine_tuning.md"
CLEAN, NOISY = "digits-gaussian_noise-0", "digits-gaussian_noise-4"
SPEC = """\
data:
  name: digits
  protocol: domain-generalisation
  targets: [{name: corrupted, of: digits, severity: 0}, {name: corrupted, of: digits, severity: 4}]
method: [zero_shot, fine_tune, lp_ft, flyp, carot, {name: wise_ft, alpha: [0.25, 0.5, 0.75]}]
seed: 1..2
train: {epochs: 4, batch_size: 32, lr: 2e-4}
evaluate: {calibrators: none, metrics: [accuracy, ece, smallest_singular_value]}
"""
PAGE = """# Training the towers: in and out of distribution

Written by `scripts/write_fine_tuning_results.py`, which runs this file as `vlmcal run` does:

```yaml
{spec}```

The pocket backbone, 16 images per class, mean over both seeds. Trained on clean digits; tested on clean ones
(a corruption of severity 0) and on the same digits under Gaussian noise of severity 4, another distribution
with the same classes. ECE has 15 equal-width bins, no calibrator is applied. CaRot bounds the errors out of
distribution by two numbers of the clean images: their ECE, and the inverse of `smallest_singular_value` of
their features, shown in millionths. The rows of `wise_ft` are predictions with the run of `fine_tune`: no row
of theirs was trained.

| method | accuracy | ECE | singular | noisy: accuracy | ECE |
|---|---|---|---|---|---|
{rows}

## Memory

One step of `flyp` on {batch} images: the highest resident memory of the process beyond that of a step on two
images, in MiB; weights, gradients and the state of AdamW are in both.

| towers | memory |
|---|---|
{memory}

`chunk` makes the passes again for the gradients (gradient checkpointing); the gradients are the same
(`tests/learners/test_fine_tuning.py`). `--precision bfloat16` keeps the activations of the matrix products in
half the bytes, and copies of the weights beside them.

## What this does not show

- The backbone is a toy that ships with the package; nothing here says how the methods rank on CLIP, and their
  published settings are for whole data sets.
- Two seeds: differences of a few points mean nothing.
- That the bound's two terms order these rows is neither shown nor refuted by so few of them.
- Of memory, how settings compare; the figures are those of a tiny tower on a processor.
"""
BATCH = 128
SETTINGS: dict[str, tuple[int, Any]] = {
    "whole, float32": (0, "off"),
    "`chunk=16`": (16, "off"),
    "whole, bfloat16": (0, "bfloat16"),
    "`chunk=16`, bfloat16": (16, "bfloat16"),
}


def table() -> str:
    """Every method, mean over the seeds."""
    spec = parse_spec(read_yaml(SPEC))
    found: dict[str, dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder)).open()
        for result in run_experiment(spec, store, bench=Workbench()):
            assert result.run is not None, result.error
            for row in evaluate_run(store, result.run, spec.evaluate):
                assert row.evaluation is not None, row.reason
                method = dict(row.cell["method"])
                label = Named(str(method.pop("name")), method).label
                for name, estimate in row.evaluation.estimates.items():
                    found[label][row.set, name].append(estimate.value)
            print(result.cell.label(), flush=True)
    lines = []
    for label, values in found.items():
        at = {key: 100 * float(np.mean(each)) for key, each in values.items()}
        clean, noisy = (
            f"{at[data, 'accuracy']:.1f} | {at[data, 'ece']:.1f}" for data in (CLEAN, NOISY)
        )
        singular = 1e4 * at[CLEAN, "smallest_singular_value"]
        lines.append(f"| `{label}` | {clean} | {singular:.2f} | {noisy} |")
    return "\n".join(lines)


def peak() -> float:
    """The highest resident memory of this process so far, in MiB."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def step(images: int, chunk: int, precision: Any) -> None:
    """One step of FLYP on so many images."""
    encoder = load_backbone("pocket").with_precision(precision)
    classes = ClassContext(encoder, ("zero", "one"), ("a photo of a {}.",))
    kind = LEARNERS.get("flyp")
    learner = kind(classes, kind.Config(chunk=chunk), torch_generator(0, "init")).train()
    side = encoder.preprocess.size
    batch = Batch(
        image_features=torch.ones(images, encoder.embed_dim),
        labels=torch.arange(images) % 2,
        pixels=torch.randn(images, 3, side, side, generator=torch_generator(0, "pixels")),
        seed=0,
    )
    optimiser = torch.optim.AdamW(learner.parameters())
    run_step(learner, parse_objective(list(kind.default_objective)), optimiser, batch)


def step_memory(chunk: int, precision: Any) -> float:
    """MiB at the height of a step on a batch, beyond those of a step on two images."""
    step(2, chunk, precision)
    before = peak()
    step(BATCH, chunk, precision)
    return peak() - before


def memory() -> str:
    """Lines of the table."""
    lines = []
    for name, (chunk, precision) in SETTINGS.items():
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a fresh process each
            lines.append(f"| {name} | {pool.apply(step_memory, (chunk, precision)):.0f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def main() -> None:
    """Measure, train everything and write the page."""
    page = PAGE.format(spec=SPEC, memory=memory(), rows=table(), batch=BATCH)
    TARGET.write_text(page, encoding="utf-8")
    print(TARGET)


if __name__ == "__main__":
    main()
