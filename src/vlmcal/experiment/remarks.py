"""What of a backbone bears on how a result is to be read, said with the result."""

import math

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.data.protocol_variants import remark_of
from vlmcal.objectives.compose import Sum
from vlmcal.objectives.mbls import MbLS


def remarks(encoder: FeatureEncoder, objective: Sum | None, protocol: str = "") -> list[str]:
    """What is grave about the protocol, how probabilities were read, and margins out of reach of the scale.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> from vlmcal.objectives.compose import parse_objective
        >>> remarks(load_backbone("pocket"), parse_objective(["ce", "mbls(margin=5)"]))
        []
    """
    grave = [line] if (line := remark_of(protocol)) else []
    return grave + _scores(encoder) + ([] if objective is None else _margins(encoder, objective))


def _scores(encoder: FeatureEncoder) -> list[str]:
    if encoder.logit_bias is None:
        return []
    if encoder.scores == "softmax":
        return [
            f"{encoder.name} was trained on pairs with sigmoids; its class probabilities are by softmax over "
            "the classes, the convention. Independent sigmoids with its bias: scores=sigmoid"
        ]
    return [
        f"class probabilities of {encoder.name} are independent sigmoids with its bias, brought to sum one"
    ]


def _margins(encoder: FeatureEncoder, objective: Sum) -> list[str]:
    # Cosines of one image with several classes seldom differ by more than a third.
    scale = float(encoder.logit_scale)
    return [
        f"objective {part.name}: its margin of {part.margin:g} is more than a third of the logit scale "
        f"{scale:.1f} of {encoder.name}, so that hardly any two classes are so far apart and it does "
        "nothing; choose a smaller margin"
        for part in objective.objectives
        if isinstance(part, MbLS) and scale / 3 < part.margin < math.inf
    ]
