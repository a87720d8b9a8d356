"""Optimisers as the prompt-tuning literature uses them."""

import torch

from vlmcal.learners.base import Learner
from vlmcal.training.config import TrainConfig


def build_optimiser(learner: Learner, config: TrainConfig) -> torch.optim.Optimizer:
    """SGD with momentum (no dampening, no Nesterov), Adam or AdamW over the learner's tensors.

    Weight decay is added to the gradient for SGD and Adam and decoupled for AdamW. Each group keeps
    its ratio to the base learning rate in ``lr_factor``.
    """
    groups = learner.parameter_groups(config.lr)
    for group in groups:
        group["lr_factor"] = group["lr"] / config.lr
    if config.optimiser == "sgd":
        return torch.optim.SGD(
            groups, lr=config.lr, momentum=config.momentum, weight_decay=config.weight_decay
        )
    kind = torch.optim.Adam if config.optimiser == "adam" else torch.optim.AdamW
    return kind(groups, lr=config.lr, eps=config.eps, weight_decay=config.weight_decay)


def set_learning_rate(optimiser: torch.optim.Optimizer, lr: float) -> None:
    """Set every group to ``lr`` times its own factor."""
    for group in optimiser.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)
