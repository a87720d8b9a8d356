"""WiSE-FT: weights between those of the zero-shot model and those after fine-tuning."""

import copy
import math
from collections.abc import Mapping

from torch import Tensor

from vlmcal.backbones.hf_clip import HFClip
from vlmcal.errors import SpecError
from vlmcal.learners.averaging import interpolated as interpolated


def with_weights(encoder: HFClip, weights: Mapping[str, Tensor]) -> HFClip:
    """A copy of the encoder with other weights; tensors that are not named stay as they are.

    The logit scale is taken from the weights, too. The given encoder is not changed.

    Raises:
        SpecError: The model has no tensor of such a name or shape.

    Example:
        >>> import torch
        >>> from vlmcal.backbones import load_backbone
        >>> encoder = load_backbone("pocket")
        >>> changed = with_weights(encoder, {"logit_scale": torch.tensor(0.0)})
        >>> round(float(changed.logit_scale), 4), float(encoder.logit_scale) > 1
        (1.0, True)
    """
    own = encoder.model.state_dict()
    wrong = [n for n, t in weights.items() if n not in own or own[n].shape != t.shape]
    if wrong:
        raise SpecError(
            f'the model has no tensor "{wrong[0]}" of shape {tuple(weights[wrong[0]].shape)}'
        )
    copied = copy.copy(encoder)
    copied.model = copied._clip = copy.deepcopy(encoder.model)
    copied.model.load_state_dict(dict(weights), strict=False)
    scale = copied.model.get_parameter("logit_scale").detach()
    if "logit_scale" in weights:
        copied._scale = math.exp(float(scale))
    copied.fingerprint = f"{encoder.fingerprint}-changed"
    return copied
