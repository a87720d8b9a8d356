"""Train ``pocket``, the small CLIP model that ships inside the package.

Everything it sees is drawn by ``vlmcal.data.render``, ``pocket_glyphs`` and ``pocket_strokes``; no
photograph and no real handwriting is involved. The whole run, from drawing to the model card, is::

    python scripts/train_pocket.py --out src/vlmcal/backbones/pocket --steps 3000 --seed 0 --threads 1

It takes about half an hour on one core of a server CPU with bfloat16 instructions. Equal seeds and
thread counts repeat the run up to the floating-point order of the linear-algebra library.
"""

import argparse
import itertools
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

from pocket_card import evaluate, write_card
from pocket_corpus import (
    EOS,
    SOS,
    WORDS,
    Caption,
    Scenes,
    caption_for,
    draw_scenes,
    matches,
    write_tokenizer,
)

# Few handwritten drawings, on purpose: with tens of thousands the model reads real digits almost
# without error (93 % after ten minutes), and adaptation would have nothing to help or to harm.
TRAINING = {"handwritten": 300, "printed": 50_000, "letter": 20_000, "shape": 50_000}
SHARES = {"handwritten": 0.016, "printed": 0.30, "letter": 0.124, "shape": 0.56}
MEAN, STD = [0.35, 0.34, 0.35], [0.34, 0.33, 0.34]
LOG_SCALE_LIMIT = math.log(100.0)


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of ten layers on either side: 96-wide patches of 8 pixels, 64-wide text."""
    text = dict(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=256, num_hidden_layers=10,
        num_attention_heads=2, max_position_embeddings=77, projection_dim=64, hidden_act="quick_gelu",
        bos_token_id=tokenizer.convert_tokens_to_ids(SOS),
        eos_token_id=tokenizer.convert_tokens_to_ids(EOS),
        pad_token_id=tokenizer.convert_tokens_to_ids(EOS),
    )  # fmt: skip
    vision = dict(
        hidden_size=96, intermediate_size=384, num_hidden_layers=10, num_attention_heads=3,
        image_size=32, patch_size=8, projection_dim=64, hidden_act="quick_gelu",
    )  # fmt: skip
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)
    return CLIPModel(config)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Normalised float images from ``(B, H, W, 3)`` bytes, moved, re-exposed and noised a little."""
    pixels = images.permute(0, 3, 1, 2).float() / 255.0
    count = len(pixels)
    draw = torch.empty(count, 4).uniform_(-1.0, 1.0, generator=generator)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = 1.0 + 0.08 * draw[:, 0]
    theta[:, 1, 1] = 1.0 + 0.08 * draw[:, 1]
    theta[:, :, 2] = 0.08 * draw[:, 2:]
    moved = torch.rand(count, generator=generator) < 0.6
    grid = F.affine_grid(theta[moved], [int(moved.sum()), 3, 32, 32], align_corners=False)
    pixels[moved] = F.grid_sample(pixels[moved], grid, padding_mode="border", align_corners=False)
    gain = torch.empty(count, 1, 1, 1).uniform_(0.8, 1.15, generator=generator)
    noise = torch.empty(count, 1, 1, 1).uniform_(0.0, 0.05, generator=generator)
    noisy = pixels * gain + noise * torch.randn(pixels.shape, generator=generator)
    return normalise(noisy.clamp(0.0, 1.0))


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Subtract the mean and divide by the deviation that the image processor states."""
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def contrastive_loss(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    """Symmetric contrastive loss in which every true pair competes with the false ones only.

    Args:
        logits: ``(B, C)`` scaled similarities of images and captions.
        true: ``(B, C)`` whether the caption is true of the image.
    """
    return 0.5 * (_one_way(logits, true) + _one_way(logits.T, true.T))


def _one_way(logits: torch.Tensor, true: torch.Tensor) -> torch.Tensor:
    rivals = logits.masked_fill(true, -math.inf).logsumexp(dim=1, keepdim=True)
    pairs = F.softplus(rivals - logits).masked_fill(~true, 0.0).sum(dim=1)
    partners = true.sum(dim=1)
    return (pairs / partners.clamp(min=1))[partners > 0].mean()


class Batches:
    """Draws images by kind and one set of distinct captions for them."""

    def __init__(self, scenes: Scenes, tokenizer: CLIPTokenizer, size: int, seed: int) -> None:
        self.scenes, self.tokenizer = scenes, tokenizer
        self.rng = np.random.default_rng([seed, 7])
        bounds = np.cumsum([0, *TRAINING.values()])
        self.ranges = list(itertools.pairwise(bounds))
        self.sizes = [round(share * size) for share in SHARES.values()]

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Images ``(B, 32, 32, 3)``, token ids ``(C, L)`` and truth ``(B, C)``."""
        picks = [
            self.rng.integers(low, high, size)
            for (low, high), size in zip(self.ranges, self.sizes, strict=True)
        ]
        rows = np.concatenate(picks)
        attributes = self.scenes.attributes[rows]
        sources = np.concatenate([picks[0][:4], picks[1][:28], picks[2][:22], picks[3][:90]])
        # One batch in ten is padded for long contexts; the others stay short and cheap.
        longest = 18 if self.rng.random() < 0.1 else 5
        drawn = [
            caption_for(self.rng, row, longest=longest) for row in self.scenes.attributes[sources]
        ]
        captions: list[Caption] = list({caption.text: caption for caption in drawn}.values())
        ids = self.tokenizer(
            [c.text for c in captions], padding=True, return_tensors="pt"
        ).input_ids
        true = torch.from_numpy(matches(attributes, captions))
        return torch.from_numpy(self.scenes.images[rows]), ids[:, :77], true


def rate(step: int, steps: int, peak: float) -> float:
    """Learning rate: 200 steps of linear warm-up, then half a cosine down to 1 % of the peak."""
    if step < 200:
        return peak * (step + 1) / 200
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * (step - 200) / (steps - 200))))


def save(model: CLIPModel, folder: Path) -> None:
    """Write the configuration, half-precision weights and the image settings."""
    half = {name: value.detach().half().contiguous() for name, value in model.state_dict().items()}
    model.save_pretrained(folder, state_dict=half)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config["dtype"] = "float32"
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    settings = {
        "image_processor_type": "CLIPImageProcessor", "do_convert_rgb": True, "do_resize": True,
        "size": {"shortest_edge": 32}, "resample": 3, "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32}, "do_rescale": True, "rescale_factor": 1 / 255,
        "do_normalize": True, "image_mean": MEAN, "image_std": STD,
    }  # fmt: skip
    text = json.dumps(settings, indent=2) + "\n"
    (folder / "preprocessor_config.json").write_text(text, encoding="utf-8")


def train(model: CLIPModel, batches: Batches, options: argparse.Namespace) -> None:
    """Fit the model for ``options.steps`` steps, saving it every ``options.save_every`` steps."""
    decayed = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=options.lr, betas=(0.9, 0.98), fused=True)
    generator = torch.Generator().manual_seed(options.seed)
    model.train()
    # The fused attention of the CPU backend takes ten times longer backwards at 17 tokens.
    model.set_attn_implementation("eager")
    began, running = time.time(), 0.0
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = rate(step, options.steps, options.lr)
        images, ids, true = batches.draw()
        with torch.autocast("cpu", torch.bfloat16):
            output = model(input_ids=ids, pixel_values=augment(images, generator))
        loss = contrastive_loss(output.logits_per_image.float(), true)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=LOG_SCALE_LIMIT)
        running += loss.item()
        if (step + 1) % 100 == 0:
            scale = model.logit_scale.exp().item()
            elapsed = time.time() - began
            print(
                f"{step + 1} loss {running / 100:.4f} scale {scale:.1f} {elapsed:.0f} s", flush=True
            )
            running = 0.0
        if (step + 1) % options.save_every == 0:
            save(model, options.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Train the pocket backbone on generated scenes.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--batch", type=int, default=256, help="images per step")
    parser.add_argument("--lr", type=float, default=1.5e-3, help="peak learning rate")
    parser.add_argument("--save-every", type=int, default=1000, help="steps between checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Draw, train, evaluate, and write the folder with its card."""
    options = parse()
    began = time.time()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    scenes = draw_scenes(TRAINING, seed=options.seed, processes=options.threads)
    print(f"drew {len(scenes.images)} scenes in {time.time() - began:.0f} s", flush=True)
    rng = np.random.default_rng([options.seed, 3])
    sample = rng.choice(len(scenes.images), 20_000)
    texts = [caption_for(rng, row).text for row in scenes.attributes[sample]]
    write_tokenizer(options.out, [*texts, *(word for word in WORDS for _ in range(20))])
    tokenizer = CLIPTokenizer.from_pretrained(options.out)
    model = build_model(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters())} parameters", flush=True)
    train(model, Batches(scenes, tokenizer, options.batch, options.seed), options)
    save(model, options.out)
    minutes = (time.time() - began) / 60.0
    command = (
        "python scripts/train_pocket.py --out src/vlmcal/backbones/pocket "
        f"--steps {options.steps} --seed {options.seed} --threads {options.threads}"
    )
    write_card(options.out, evaluate(options.out), command=command, minutes=minutes)


if __name__ == "__main__":
    main()
