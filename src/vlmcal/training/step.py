"""One optimisation step, taken apart so that the loop and the golden tests run the same code."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn.functional import normalize

from vlmcal.learners.base import Batch, Learner
from vlmcal.objectives.base import GradientCombiner, Terms
from vlmcal.objectives.compose import Sum
from vlmcal.types.outputs import Outputs


def learner_outputs(learner: Learner, batch: Batch, objective: Sum) -> Outputs:
    """The learner's outputs, completed by frozen features and zero-shot logits on the same views."""
    outputs = learner.outputs(batch)
    dtype = learner.parameter_dtype
    text = learner.frozen_text_features.to(dtype)
    image = normalize(batch.image_features.to(dtype), dim=-1)
    outputs.frozen_text_features = text
    outputs.frozen_image_features = image
    outputs.zero_shot_logits = learner.encoder.logit_scale.to(dtype) * image @ text.T
    if "frozen_template_features" in objective.needs:
        outputs.frozen_template_features = learner.frozen_template_features.to(dtype)
    if batch.second_image_features is not None:
        second = batch.second_image_features.to(dtype)
        outputs.frozen_second_image_features = normalize(second, dim=-1)
    return outputs


def descend(
    learner: Learner,
    terms: Terms,
    optimiser: torch.optim.Optimizer,
    combiner: GradientCombiner,
    *,
    share: float = 1.0,
    fresh: bool = True,
) -> Tensor:
    """Fill the gradients of the learned tensors; returns the total loss, detached.

    Args:
        learner: Its parameters receive gradients.
        terms: Named terms of the step.
        optimiser: Whose gradients are cleared first.
        combiner: How the terms' gradients are merged.
        share: Part of this batch in the gradient of its step, for steps over several batches.
        fresh: Whether the step begins here; False adds to what earlier batches left.
    """
    if fresh:
        optimiser.zero_grad(set_to_none=True)
    shared = {name: term._replace(weight=term.weight * share) for name, term in terms.items()}
    with learner.encoder.going_back():
        return combiner.backward(shared, list(learner.parameters())) / share


def run_step(
    learner: Learner,
    objective: Sum,
    optimiser: torch.optim.Optimizer,
    batch: Batch,
    *,
    initial: Mapping[str, Tensor] | None = None,
    step: int = 0,
) -> Terms:
    """A whole step on one batch; returns the terms as they were before the update."""
    batch.step = step
    outputs = learner_outputs(learner, batch, objective)
    outputs.step = step
    outputs.initial_parameters = initial
    terms = objective.terms(outputs)
    descend(learner, terms, optimiser, objective.combiner())
    optimiser.step()
    return terms
