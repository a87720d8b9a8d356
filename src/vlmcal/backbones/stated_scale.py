"""Encoders that keep their factor s as a number beside the weights, so that it can be another one."""

import copy
from typing import Self

import torch
from torch import Tensor, nn

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.errors import BackboneError
from vlmcal.hashing import digest


class StatedScale(FeatureEncoder):
    """The part of an encoder that gives out the factor s; put it before the other bases of a class."""

    _scale: float
    model: nn.Module

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(self.model.parameters()).dtype

    @property
    def logit_scale(self) -> Tensor:
        """The factor s on cosine similarities, a 0-d tensor of at least 32 bits."""
        kind = torch.promote_types(self.dtype, torch.float32)
        return torch.tensor(self._scale, device=self.device, dtype=kind)

    def with_logit_scale(self, value: float) -> Self:
        """The same encoder (shared weights) with another factor s, and another fingerprint.

        Raises:
            BackboneError: The factor is not positive.
        """
        if not value > 0:
            raise BackboneError(f"logit scale: expected a positive factor such as 100, got {value}")
        changed = copy.copy(self)
        changed._scale = float(value)
        changed.fingerprint = digest({"encoder": self.fingerprint, "logit_scale": float(value)})
        return changed
