"""WiSE-FT: weights between those of the zero-shot model and those after fine-tuning."""

import copy
import math
from collections.abc import Mapping

from torch import Tensor

from vlmcal.backbones.hf_clip import HFClip
from vlmcal.errors import SpecError


def interpolated(
    zero_shot: Mapping[str, Tensor], fine_tuned: Mapping[str, Tensor], alpha: float
) -> dict[str, Tensor]:
    """(1 - alpha) times the zero-shot weights plus alpha times the fine-tuned ones, tensor by tensor.

    alpha = 0 gives the zero-shot weights bit for bit, alpha = 1 the fine-tuned ones; whole numbers
    (positions) are those of the zero-shot model. Works for models, linear heads and prompts of equal shapes.

    Raises:
        SpecError: alpha outside [0, 1], or other names or shapes.

    Source: Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022, arXiv 2109.01903.

    Example:
        >>> import torch
        >>> interpolated({"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}, 0.25)["w"].tolist()
        [1.5]
    """
    if not 0 <= alpha <= 1:
        raise SpecError(f"alpha: expected a number in [0, 1], got {alpha}")
    if set(zero_shot) != set(fine_tuned):
        (first, *_) = sorted(set(zero_shot) ^ set(fine_tuned))
        raise SpecError(
            f'interpolation needs the same tensors on both sides; "{first}" is on one only'
        )
    found = {}
    for name, start in zero_shot.items():
        end = fine_tuned[name].to(start.device)
        if start.shape != end.shape:
            raise SpecError(f'"{name}": shapes {tuple(start.shape)} and {tuple(end.shape)} differ')
        if alpha in (0, 1) or not start.is_floating_point():
            found[name] = (end if alpha == 1 else start).clone()
        else:
            found[name] = (1 - alpha) * start + alpha * end.to(start.dtype)
    return found


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
