"""FLYP and CaRot: both towers trained on images and captions, CaRot beside a slow teacher."""

import copy
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from vlmcal.backbones.hf_clip import HFClip
from vlmcal.errors import SpecError
from vlmcal.objectives.carot_cross import CaRotCross
from vlmcal.objectives.carot_distillation import CaRotDistillation
from vlmcal.objectives.carot_orthogonality import CaRotOrthogonality
from vlmcal.objectives.clip_contrastive import ClipContrastive
from vlmcal.training.weight_interpolation import with_weights
from vlmcal.types.outputs import Outputs
from vlmcal.types.schedules import cosine_after_warmup, teacher_momentum


@dataclass(frozen=True)
class Recipe:
    """Settings of CaRot as published for ImageNet; with the three weights 0 it is FLYP.

    Attributes:
        lr: Of AdamW, after the warm-up; a cosine to 0 per step follows.
        weight_decay: Of every tensor.
        warmup: Steps over which the learning rate rises.
        distillation: Weight of the teacher's in-batch scores.
        orthogonality: Weight of ||P'P - I|| of the visual projection.
        cross: Weight of the projections' product.
        every: Steps between two updates of the teacher, the first after step 0.
        rising: Share of the steps over which the teacher's momentum rises.
    """

    lr: float = 1e-5
    weight_decay: float = 0.1
    warmup: int = 500
    distillation: float = 1.5
    orthogonality: float = 0.2
    cross: float = 0.05
    every: int = 500
    rising: float = 0.2


FLYP = Recipe(distillation=0.0, orthogonality=0.0, cross=0.0)


def learning_rate(step: int, total: int, recipe: Recipe) -> float:
    """Linear over the warm-up, then a cosine that would reach 0 at the end.

    Example:
        >>> [learning_rate(s, 5, Recipe(lr=1.0, warmup=2)) for s in range(3)]
        [0.5, 1.0, 1.0]
    """
    return recipe.lr * cosine_after_warmup(step, total, recipe.warmup)


class ContrastiveTuning:
    """Student, teacher and optimiser of one run; :meth:`step` makes one update.

    L = contrastive + orthogonality ||P'P - I||_F + cross ||P Q'||_F + distillation [step > 0] L_SD with the
    visual projection P and the text projection Q. After the optimiser, at every ``every``-th step, step 0
    included, the teacher becomes m times itself plus 1 - m times the student, logit scale included
    (:func:`~vlmcal.types.schedules.teacher_momentum`). The given encoder is not changed.

    Attributes:
        student: The encoder that is trained.
        teacher: Its moving average.
        at: Number of steps made.

    Args:
        encoder: A CLIP of the transformers layout.
        total_steps: Length of the run.
        recipe: Its settings.

    Raises:
        SpecError: No steps, or an encoder of another layout.

    Source: Oh et al., "Towards calibrated robust fine-tuning of vision-language models", NeurIPS 2024,
    arXiv 2311.01723; Goyal et al., "Finetune like you pretrain", CVPR 2023, arXiv 2212.00638.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> run = ContrastiveTuning(encoder, 2, Recipe(warmup=0))
        >>> ids = torch.tensor([[encoder.sos_id, 5, encoder.eos_id], [encoder.sos_id, 6, encoder.eos_id]])
        >>> side = encoder.preprocess.size
        >>> losses = run.step(torch.zeros(2, 3, side, side), ids)
        >>> sorted(losses)
        ['contrastive', 'cross', 'distillation', 'orthogonality', 'total']
    """

    def __init__(self, encoder: HFClip, total_steps: int, recipe: Recipe | None = None) -> None:
        if not isinstance(encoder, HFClip):
            raise SpecError(
                f"full fine-tuning needs a CLIP of the transformers layout, got {type(encoder).__name__}"
            )
        if total_steps < 1:
            raise SpecError(f"total_steps: expected at least 1, got {total_steps}")
        self.recipe, self.total_steps, self.at = recipe or Recipe(), total_steps, 0
        self.student, self.teacher = with_weights(encoder, {}), with_weights(encoder, {})
        self.student.model.requires_grad_(True)
        self.optimiser = torch.optim.AdamW(
            self.student.model.parameters(),
            lr=self.recipe.lr,
            weight_decay=self.recipe.weight_decay,
        )

    def step(self, pixels: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """One update from images (B, 3, H, W) and the token ids (B, 77) of their captions.

        Returns:
            The terms without their weights, and "total".
        """
        recipe = self.recipe
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.at, self.total_steps, recipe)
        self.optimiser.zero_grad()
        terms = self.losses(pixels, ids)
        torch.autograd.backward(terms["total"])
        self.optimiser.step()
        if self.at % recipe.every == 0:
            momentum = teacher_momentum(self.at, self.total_steps, rising=recipe.rising)
            self._follow(momentum)
        self.at += 1
        return {name: value.detach() for name, value in terms.items()}

    def losses(self, pixels: Tensor, ids: Tensor) -> dict[str, Tensor]:
        """The terms of the current step, each without its weight, and "total"."""
        recipe = self.recipe
        image, text, scale = _features(self.student.model, self.student, pixels, ids)
        outputs = Outputs(
            image_features=image,
            text_features=text,
            labels=torch.arange(len(image), device=image.device),
            logit_scale=scale,
            parameters=dict(self.student.model.named_parameters()),
        )
        zero = image.new_zeros(())
        terms = {"contrastive": ClipContrastive().compute(outputs)}
        terms["orthogonality"] = CaRotOrthogonality().compute(outputs)
        terms["cross"] = CaRotCross().compute(outputs)
        terms["distillation"] = zero
        if self.at > 0 and recipe.distillation:
            with torch.no_grad():
                image, text, scale = _features(self.teacher.model, self.teacher, pixels, ids)
            outputs.frozen_image_features, outputs.frozen_text_features = image, text
            term = CaRotDistillation(teacher_scale=float(scale))
            terms["distillation"] = term.compute(outputs)
        terms["total"] = (
            terms["contrastive"]
            + recipe.orthogonality * terms["orthogonality"]
            + recipe.cross * terms["cross"]
            + recipe.distillation * terms["distillation"]
        )
        return terms

    def finished(self) -> HFClip:
        """The student as a frozen encoder."""
        weights = {n: t.detach() for n, t in self.student.model.state_dict().items()}
        found = with_weights(self.student, copy.deepcopy(weights))
        found.model.requires_grad_(False)
        return found

    @torch.no_grad()
    def _follow(self, momentum: float) -> None:
        pairs = zip(self.teacher.model.parameters(), self.student.model.parameters(), strict=True)
        for own, other in pairs:
            own.mul_(momentum).add_(other.detach(), alpha=1 - momentum)


def contrastive_tune(
    encoder: HFClip,
    batches: Iterable[tuple[Tensor, Tensor]],
    total_steps: int,
    recipe: Recipe | None = None,
) -> HFClip:
    """Fine-tune a copy of ``encoder`` on pairs (pixels, token ids of captions).

    Raises:
        SpecError: As :class:`ContrastiveTuning`.
    """
    run = ContrastiveTuning(encoder, total_steps, recipe)
    for pixels, ids in batches:
        run.step(pixels, ids)
    return run.finished()


def _features(
    model: nn.Module, encoder: HFClip, pixels: Tensor, ids: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    image = normalize(encoder.encode_pixels(pixels), dim=-1)
    text = normalize(encoder.encode_text_ids(ids), dim=-1)
    return image, text, model.get_parameter("logit_scale").exp()
