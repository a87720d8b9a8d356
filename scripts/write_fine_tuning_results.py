"""Write docs/results/fine_tuning.md: towers that are trained, in and out of distribution.

python scripts/write_fine_tuning_results.py        # some minutes on two processor cores
"""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from vlmcal.backbones import load_backbone
from vlmcal.backbones.cache import image_features
from vlmcal.data.digits import digits
from vlmcal.experiment.plan import plan
from vlmcal.experiment.publishing import predict
from vlmcal.experiment.run import Workbench, run_cell
from vlmcal.experiment.saved import load_learner
from vlmcal.experiment.spec import parse_spec
from vlmcal.experiment.store import Store
from vlmcal.learners.base import LEARNERS, Batch, ClassContext
from vlmcal.metrics import evaluate
from vlmcal.metrics.feature_spectrum import smallest_singular_value
from vlmcal.seeding import torch_generator
from vlmcal.types.dataset import Dataset

TARGET = Path(__file__).parent.parent / "docs" / "results" / "fine_tuning.md"
SEEDS = (1, 2)
RECIPE = {"epochs": 8, "batch_size": 32, "lr": 1e-4}
METHODS = [
    "zero_shot",
    "coop",
    "fine_tune",
    "lp_ft",
    "flyp",
    "carot",
    *({"name": "wise_ft", "alpha": a} for a in (0.25, 0.5, 0.75)),
    {"name": "wise_ft", "alpha": 0.5, "base": "carot"},
]
PAGE = """# Training the towers: in and out of distribution

Written by `scripts/write_fine_tuning_results.py`: the pocket backbone, 16 images per class, all
classes; {recipe}, a cosine per step; mean over seeds {seeds}. Trained and calibrated on the clean
images; "shifted" are test images of another distribution with the same classes: the digits under
Gaussian noise of a fifth of the range. ECE has 15 equal-width bins, no calibrator is applied.
"Singular" is `smallest_singular_value` of the clean test images' features, times 1000: with the ECE
on clean images the second term of CaRot's bound.

{tables}

## Memory

Numbers that one batch of 32 images keeps between the forward and the backward pass, in millions:
{memory}. With chunks, those of a single chunk are added while its gradients are made. The gradients
are the same (`tests/learners/test_fine_tuning.py`).

## What this does not show

- The backbone is a toy that ships with the package; nothing here says how the methods rank on CLIP, and their
  published settings are for whole data sets.
- Two seeds: differences of a few points mean nothing.
- The bound is about the distribution that is trained on; that its two terms order these rows is neither
  shown nor refuted by so few of them.
"""


def noisy(data: Dataset) -> Dataset:
    """The same images under Gaussian noise of a fifth of the range."""
    draw = np.random.default_rng(0)
    pixels = np.asarray(data.images, dtype=np.float64)
    changed = pixels + 0.2 * 255 * draw.normal(size=pixels.shape)
    return replace(data, images=np.clip(changed, 0, 255).astype(np.uint8))


def label(method: object) -> str:
    """A method with its options, for the table."""
    if isinstance(method, str):
        return f"`{method}`"
    options = ", ".join(f"{k}={v}" for k, v in method.items() if k != "name")  # type: ignore[attr-defined]
    return f"`{method['name']}({options})`"  # type: ignore[index]


def trained(
    method: object, data: Dataset, seed: int, store: Store, bench: Workbench, **recipe: object
) -> Path:
    """Folder of the run of one method."""
    spec = parse_spec(
        {
            "data": {"name": data.name, "protocol": "all-class"},
            "method": [method],
            "seed": seed,
            "train": recipe,
        }
    )
    (cell,) = plan(spec)
    run = run_cell(cell, store, bench)
    assert run is not None
    return store.folder(run)


def measured(folder: Path, clean: Dataset, shifted: Dataset) -> list[float]:
    """Accuracy and ECE on both test sets in percent, and the singular value times 1000."""
    learner = load_learner(folder / "learner")
    found: list[float] = []
    for data in (clean, shifted):
        features = image_features(learner.encoder, data)
        rows = predict(learner, data, features, split="test")
        values = evaluate(rows, ["accuracy", "ece"], resamples=100).estimates
        found += [100 * values["accuracy"].value, 100 * values["ece"].value]
        if data is clean:
            singular = 1000 * smallest_singular_value(rows.extras["image_features"])
    return [*found, singular]


def table(name: str, data: Dataset, shifted: Dataset, store: Store) -> str:
    """Every method on one data set."""
    bench = Workbench()
    bench.add_dataset({"name": data.name}, data)
    lines = [
        f"## {name}",
        "",
        "| method | accuracy | ECE | shifted: accuracy | ECE | singular |",
        "|---|---|---|---|---|---|",
    ]
    for method in METHODS:
        rows = []
        for seed in SEEDS:
            recipe = {} if method == "coop" else RECIPE
            folder = trained(method, data, seed, store, bench, **recipe)
            rows.append(measured(folder, data.of_split("test"), shifted))
        mean = np.mean(rows, axis=0)
        cells = " | ".join(f"{v:.1f}" for v in mean[:4])
        lines.append(f"| {label(method)} | {cells} | {mean[4]:.3f} |")
        print(lines[-1], flush=True)
    return "\n".join(lines)


def kept(chunk: int) -> float:
    """Millions of numbers that one batch of FLYP keeps for the backward pass."""
    classes = ClassContext(load_backbone("pocket"), ("zero", "one"), ("a photo of a {}.",))
    kind = LEARNERS.get("flyp")
    learner = kind(classes, kind.Config(chunk=chunk), torch_generator(0, "init")).train()
    side = classes.encoder.preprocess.size
    total = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += tensor.numel()
        return tensor

    batch = Batch(
        image_features=torch.zeros(32, classes.encoder.embed_dim),
        labels=torch.arange(32) % 2,
        pixels=torch.randn(32, 3, side, side, generator=torch_generator(0, "pixels")),
        seed=0,
    )
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        learner.outputs(batch)
    return total / 1e6


def main() -> None:
    """Train everything and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder)).open()
        real = digits()
        tables = [table("Digits", real, noisy(real.of_split("test")), store)]
    memory = ", ".join(
        f"{kept(c):.1f} {'whole' if not c else f'with chunk={c}'}" for c in (0, 8, 2)
    )
    recipe = ", ".join(f"{k} {v}" for k, v in RECIPE.items())
    TARGET.write_text(
        PAGE.format(
            recipe=recipe,
            seeds=" and ".join(map(str, SEEDS)),
            tables="\n\n".join(tables),
            memory=memory,
        ),
        encoding="utf-8",
    )
    print(TARGET)


if __name__ == "__main__":
    main()
