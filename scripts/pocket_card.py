"""Measure the ``pocket`` model and write its card; called at the end of ``train_pocket.py``.

A finished folder can be measured again with ``python scripts/pocket_card.py FOLDER``.
"""

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from sklearn.datasets import load_digits
from transformers import CLIPModel, CLIPTokenizer

from pocket_corpus import Images, draw_scenes, shape_name
from pocket_glyphs import DIGIT_WORDS
from vlmcal.data.render import COLOURS, SHAPES, TEXTURES

DIGIT_TEMPLATE = "a photo of the number {}."
SHAPE_TEMPLATE = "a photo of a {}."
HELD_OUT_SEED = 900_001
BINS = 15

Probabilities = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def expected_calibration_error(confidence: Probabilities, correct: npt.NDArray[np.bool_]) -> float:
    """Gap between confidence and accuracy over 15 equal-width bins (lo, hi], weighted by size."""
    bins = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    gap = np.bincount(bins, weights=confidence - correct, minlength=BINS)
    return float(np.abs(gap).sum() / len(confidence))


def real_digits() -> tuple[Images, Labels]:
    """All 1,797 scanned digits of scikit-learn, enlarged as the image processor does."""
    digits = load_digits()
    grey = (digits.images * 255.0 / 16.0).astype(np.uint8)
    enlarged = [
        Image.fromarray(image).convert("RGB").resize((32, 32), Image.Resampling.BICUBIC)
        for image in grey
    ]
    return np.stack([np.asarray(image) for image in enlarged]), digits.target.astype(np.int64)


@torch.no_grad()
def zero_shot(
    folder: Path, images: Images, names: list[str], template: str
) -> tuple[Probabilities, float]:
    """Softmax ``(N, K)`` of the scaled cosine similarities, and the scale."""
    model = CLIPModel.from_pretrained(folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    settings = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    mean, std = (torch.tensor(settings[key]) for key in ("image_mean", "image_std"))
    ids = tokenizer(
        [template.format(n) for n in names], padding=True, return_tensors="pt"
    ).input_ids
    parts = []
    for start in range(0, len(images), 600):
        pixels = (torch.from_numpy(images[start : start + 600]) / 255.0 - mean) / std
        output = model(input_ids=ids, pixel_values=pixels.permute(0, 3, 1, 2))
        parts.append(output.logits_per_image.double().softmax(dim=1).numpy())
    return np.concatenate(parts), float(model.logit_scale.exp())


def scores(probabilities: Probabilities, labels: Labels) -> dict[str, float]:
    """Accuracy, calibration error and mean confidence of zero-shot predictions."""
    correct = probabilities.argmax(axis=1) == labels
    confidence = probabilities.max(axis=1)
    return {
        "accuracy": round(float(correct.mean()), 4),
        "ece": round(expected_calibration_error(confidence, correct), 4),
        "mean_confidence": round(float(confidence.mean()), 4),
        "images": len(labels),
    }


def evaluate(folder: Path) -> dict[str, Any]:
    """Zero-shot numbers on held-out generated scenes and on real scanned digits."""
    names = [
        shape_name(s, c, t)
        for s in range(len(SHAPES))
        for c in range(len(COLOURS))
        for t in range(len(TEXTURES))
    ]
    card: dict[str, Any] = {"logit_scale": 0.0, "generated": {}}
    for kind in ("shape", "printed", "handwritten"):
        held_out = draw_scenes({kind: 2000}, seed=HELD_OUT_SEED)
        rows = held_out.attributes
        if kind == "shape":
            labels = (rows[:, 1] * len(COLOURS) + rows[:, 2]) * len(TEXTURES) + rows[:, 3]
            found, _ = zero_shot(folder, held_out.images, names, SHAPE_TEMPLATE)
        else:
            labels = rows[:, 1]
            found, _ = zero_shot(folder, held_out.images, list(DIGIT_WORDS), DIGIT_TEMPLATE)
        card["generated"][kind] = scores(found, labels)
    images, labels = real_digits()
    found, card["logit_scale"] = zero_shot(folder, images, list(DIGIT_WORDS), DIGIT_TEMPLATE)
    card["real_digits"] = scores(found, labels)
    hits = found.argmax(axis=1) == labels
    card["real_digits_per_class"] = {
        word: round(float(hits[labels == digit].mean()), 4)
        for digit, word in enumerate(DIGIT_WORDS)
    }
    for part, digits in (("base", range(5)), ("new", range(5, 10))):
        mine = np.isin(labels, digits)
        within = found[mine][:, list(digits)]
        within /= within.sum(axis=1, keepdims=True)
        card[f"real_digits_{part}"] = scores(within, labels[mine] - digits[0])
    card["parameters"] = CLIPModel.from_pretrained(folder).num_parameters()
    return card


def write_card(folder: Path, card: dict[str, Any], *, command: str, minutes: float) -> None:
    """Write ``card.json`` (numbers) and ``README.md`` (the model card)."""
    card = {**card, "minutes": round(minutes, 1)}
    (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    template = Path(__file__).with_name("pocket_card.md").read_text(encoding="utf-8")
    titles = {
        "shape": f"generated shapes, 256 classes, `{SHAPE_TEMPLATE}`",
        "printed": f"generated printed digits, 10 classes, `{DIGIT_TEMPLATE}`",
        "handwritten": f"generated handwriting, 10 classes, `{DIGIT_TEMPLATE}`",
    }
    rows = [(titles[kind], numbers) for kind, numbers in card["generated"].items()]
    rows += [
        (f"**real digits**, 10 classes, `{DIGIT_TEMPLATE}`", card["real_digits"]),
        ("real digits, zero to four among themselves", card["real_digits_base"]),
        ("real digits, five to nine among themselves", card["real_digits_new"]),
    ]
    table = "\n".join(
        f"| {title} | {n['images']:,} | {100 * n['accuracy']:.1f} % | {n['mean_confidence']:.3f} "
        f"| {n['ece']:.3f} |"
        for title, n in rows
    )
    per_class = ", ".join(
        f"{word} {100 * value:.0f} %" for word, value in card["real_digits_per_class"].items()
    )
    text = template.format(
        command=command, minutes=f"{minutes:.0f}", parameters=f"{card['parameters'] / 1e6:.2f}",
        table=table, per_class=per_class, scale=f"{card['logit_scale']:.1f}",
        machine=platform.machine(),
    )  # fmt: skip
    (folder / "README.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    print(json.dumps(evaluate(Path(sys.argv[1])), indent=2))
