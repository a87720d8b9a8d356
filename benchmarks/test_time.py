"""One step of test-time prompt tuning at ViT-B/16 text size with random weights: ours against the plain form.

    python benchmarks/test_time.py            # about three minutes on one core
    python benchmarks/test_time.py --quick    # about one minute

The plain form is what the published code does for each image: K prompts padded to 77 tokens, forward,
backward and, for the answer, forward again, with an optimiser of its own. Ours encodes shared tokens once,
cuts what comes after the end, and stacks images. Both run in one process, in turns, so that their ratio holds
on a busy machine.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize

from text_encoding import encode_prompts_reference, make_encoder, names
from vlmcal.objectives.text_dispersion import TextDispersion
from vlmcal.objectives.tpt_entropy import confident_views, mean_entropy
from vlmcal.test_time.prompt_tuning import Steps, tune
from vlmcal.text_encoding import PromptLayout
from vlmcal.types.outputs import Outputs

VIEWS, CONTEXT, NAME, IMAGES = 64, 4, 3, 2


def plain_step(encoder, layout, start: Tensor, views: Tensor, term) -> tuple[Tensor, Tensor]:
    """Context and logits of one image (V, D), as the published loop makes them."""
    context = start.clone().requires_grad_()
    optimiser = torch.optim.AdamW([context], lr=5e-3)
    scale = encoder.logit_scale
    text = normalize(encode_prompts_reference(encoder, layout, context), dim=-1)
    logits = scale * views @ text.T
    loss = mean_entropy(logits[confident_views(logits, 0.1)])
    if term is not None:
        loss = loss + term.weight * term.loss(Outputs(text_features=text))
    (context.grad,) = torch.autograd.grad(loss, context)
    optimiser.step()
    with torch.no_grad():
        text = normalize(encode_prompts_reference(encoder, layout, context), dim=-1)
        return context.detach(), scale * views[0] @ text.T


def seconds(run: Callable[[], object]) -> float:
    """Processor time of one call, in seconds; other jobs do not count."""
    start = time.process_time()
    run()
    return time.process_time() - start


def compare(encoder, classes: int, repeats: int) -> None:
    """Print the cost of a step in both forms, and how far apart they are."""
    draw = torch.Generator().manual_seed(0)
    layout = PromptLayout.build(encoder, names(classes, NAME), n_ctx=CONTEXT)
    start = 0.02 * torch.randn(CONTEXT, encoder.text_width, generator=draw)
    centre = torch.randn(IMAGES, 1, encoder.embed_dim, generator=draw)
    views = normalize(
        centre + torch.randn(IMAGES, VIEWS, encoder.embed_dim, generator=draw), dim=-1
    )
    for label, term in (("tpt", None), ("c_tpt", TextDispersion())):
        ours, plain = [], []
        for _ in range(repeats):
            both = partial(tune, encoder, layout, start, views, term, Steps())
            ours.append(seconds(both) / IMAGES)
            plain.append(seconds(partial(plain_step, encoder, layout, start, views[0], term)))
        out = tune(encoder, layout, start, views, term, Steps())
        context, logits = plain_step(encoder, layout, start, views[0], term)
        moved = (out.context[0] - context).abs()
        apart = (out.logits[0, 0].softmax(dim=-1) - logits.softmax(dim=-1)).abs().max()
        print(
            f"K = {classes:4d} {label:6s} ours {min(ours):7.3f} s an image, plain {min(plain):7.3f} s: "
            f"{min(plain) / min(ours):5.1f} x; largest difference of a probability {apart:.1e}, of the "
            f"context {moved.max():.1e} (step 5e-3; {(moved > 1e-6).float().mean():.2%} of it above 1e-6)"
        )


def images(encoder, repeats: int) -> float:
    """Seconds that the views of one image cost, once for all methods."""
    pixels = torch.randn(8, 3, 224, 224)
    with torch.no_grad():
        best = min(seconds(lambda: encoder.encode_pixels(pixels)) for _ in range(repeats))
    return best * VIEWS / len(pixels)


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    encoder = make_encoder()
    for classes in (100,) if quick else (10, 100):
        compare(encoder, classes, 1 if quick else 2)
    print(f"{VIEWS} views of an image through the image tower: {images(encoder, 2):.2f} s, once")


if __name__ == "__main__":
    main()
