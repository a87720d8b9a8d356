"""Time of every objective relative to cross-entropy, for one CoOp step on cached image features.

    python benchmarks/objectives.py            # text tower of ViT-B/16 size, random weights
    python benchmarks/objectives.py --tiny     # the pocket model's tower: seconds; its ratios mean less

Prints a Markdown table. "step / ce" is the whole step (text encoding, loss, gradients, update): processor
time, best of several rounds, each in turn with ``ce``, so that a busy machine disturbs both alike. "by loss
alone" is 1 + (loss - loss of ce) / step of ce, from the loss and its gradient to logits and features only;
it is finer where the text encoding is the same as for ``ce``.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import fields, replace

import torch
from torch import Tensor
from torch.nn.functional import normalize

from text_encoding import make_encoder, names
from vlmcal.backbones import load_backbone
from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import SpecError
from vlmcal.learners.base import Batch, ClassContext
from vlmcal.learners.coop import CoOp
from vlmcal.objectives.base import OBJECTIVES, Objective
from vlmcal.objectives.compose import Sum, parse_objective
from vlmcal.objectives.dor import DOR
from vlmcal.training.config import TrainConfig
from vlmcal.training.optim import build_optimiser
from vlmcal.training.outliers import OutlierPool
from vlmcal.training.step import descend, learner_outputs
from vlmcal.types.outputs import OUTPUT_NAMES, Outputs

BATCH, CLASSES, CONTEXT, NAME = 32, 50, 16, 3
Step = Callable[[], object]


class Problem:
    """One training step of CoOp with everything that an objective may ask for."""

    def __init__(self, encoder: DualEncoder) -> None:
        stream = torch.Generator().manual_seed(3)
        classes = ClassContext(encoder, tuple(names(CLASSES, NAME)), ("a {}.",))
        self.learner = CoOp(classes, CoOp.Config(n_ctx=CONTEXT), stream)
        views = torch.randn(2, BATCH, encoder.embed_dim, generator=stream)
        self.batch = Batch(
            image_features=views[0],
            labels=torch.arange(BATCH) % CLASSES,
            sample_index=torch.arange(BATCH),
            second_image_features=views[1],
        )
        self.counts = torch.randint(0, 4, (BATCH,), generator=stream).float()
        self.optimiser = build_optimiser(self.learner, TrainConfig())
        self.initial = {n: p.detach().clone() for n, p in self.learner.named_parameters()}
        words = tuple(names(1000, NAME))
        frozen = normalize(torch.randn(len(words), encoder.embed_dim, generator=stream), dim=-1)
        self.pool = OutlierPool(words, frozen, DOR().n_outliers)
        self.provided = OUTPUT_NAMES - {
            *("prompt_text_features", "prototypes", "prototype_targets", "class_multipliers"),
            "second_image_features",
        }

    def outputs(self, objective: Sum) -> Outputs:
        """What the training loop would hand over."""
        outputs = learner_outputs(self.learner, self.batch, objective)
        outputs.epoch, outputs.step, outputs.total_steps = 4, 20, 100
        outputs.initial_parameters = self.initial
        outputs.correctness, outputs.memory = self.counts, {"correctness": self.counts}
        outputs.generator = torch.Generator().manual_seed(0)
        for part in objective.objectives:
            if isinstance(part, DOR):
                pool = replace(self.pool, n_outliers=part.n_outliers)
                tuned, frozen = pool.features(self.learner, torch.Generator())
                outputs.outlier_text_features = tuned
                outputs.frozen_outlier_text_features = frozen
        return outputs

    def step(self, objective: Sum) -> Step:
        """A whole step."""

        def run() -> None:
            terms = objective.terms(self.outputs(objective))
            descend(self.learner, terms, self.optimiser, objective.combiner())
            self.optimiser.step()

        return run

    def loss_alone(self, objective: Sum) -> Step:
        """The loss and its gradients to the tensors of one step, without encoding any text."""
        found = self.outputs(objective)
        tensors = {f.name: getattr(found, f.name) for f in fields(found)}
        moving = {
            name: value.detach().requires_grad_()
            for name, value in tensors.items()
            if isinstance(value, Tensor) and value.requires_grad
        }
        cut = replace(found, **moving)
        leaves = list(moving.values())

        def run() -> None:
            for leaf in leaves:
                leaf.grad = None
            objective.combiner().backward(objective.terms(cut), leaves)

        return run


def seconds(step: Step) -> float:
    """Processor time, which other programs disturb less than the time on the clock."""
    start = time.process_time()
    step()
    return time.process_time() - start


def candidates(problem: Problem) -> tuple[dict[str, Sum], dict[str, str]]:
    """Objectives that CoOp can be trained on, and why the others cannot."""
    found, refused = {}, {}
    variants: dict[str, Objective] = {name: kind() for name, kind in OBJECTIVES.items()}
    variants["dor, 50 outliers"] = DOR(n_outliers=50)
    for name, part in variants.items():
        total = Sum((part,)) if part.stands_alone else parse_objective(["ce", part])
        try:
            total.check(problem.provided, CLASSES, BATCH)
            total.terms(problem.outputs(total))
        except SpecError as error:
            refused[name] = str(error)
        else:
            found[name] = total
    return found, refused


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--tiny", action="store_true", help="the tower of the pocket model")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    problem = Problem(load_backbone("pocket") if options.tiny else make_encoder())
    found, refused = candidates(problem)
    base = found.pop("ce")
    steps = {name: problem.step(total) for name, total in found.items()}
    plain = problem.step(base)
    plain()
    pairs = {
        name: [(seconds(step), seconds(plain)) for _ in range(options.rounds)]
        for name, step in steps.items()
    }
    alone = {name: problem.loss_alone(total) for name, total in {"ce": base, **found}.items()}
    losses = {name: min(seconds(step) for _ in range(40)) for name, step in alone.items()}
    fastest = min(reference for own in pairs.values() for _, reference in own)
    print(
        f"{problem.learner.encoder.name}, K = {CLASSES}, {CONTEXT} context tokens, batch {BATCH}, "
        f"{options.threads} thread(s), torch {torch.__version__}; one step with ce: {fastest:.4f} s\n"
    )
    print("| objective | step / ce | loss alone, ms | by loss alone |\n|---|---|---|---|")
    print(f"| ce | 1.00 | {1000 * losses['ce']:.2f} | 1.00 |")
    for name, own in pairs.items():
        ratio = min(step for step, _ in own) / min(reference for _, reference in own)
        fine = (
            "" if name.startswith("dor") else f"{1 + (losses[name] - losses['ce']) / fastest:.3f}"
        )
        print(f"| {name} | {ratio:.2f} | {1000 * losses[name]:.2f} | {fine} |")
    for name, reason in refused.items():
        print(f"\nNot with CoOp: {name}: {reason}")


if __name__ == "__main__":
    main()
