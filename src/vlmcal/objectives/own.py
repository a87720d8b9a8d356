"""What an objective means on a given method: its own terms, and the weight published for it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vlmcal.errors import SpecError
from vlmcal.objectives.base import OBJECTIVES
from vlmcal.options import read

OWN: Final = "own"

# Objective -> method -> the weight that its paper uses there; "*" is any other method.
PUBLISHED_WEIGHTS: Final[Mapping[str, Mapping[str, float]]] = {
    "dor": {"coop": 8.0, "*": 2.0}  # arXiv 2410.02681
}


def on_method(spec: Any, method: str, own: Sequence[Any]) -> Any:
    """``spec`` as it is meant on ``method``, with everything else as it was.

    "own" stands for the method's own terms, so that ``["own", "tcpt"]`` on KgCoOp is what "KgCoOp + TCPT"
    means in the papers, while ``["ce", "tcpt"]`` leaves KgCoOp's term out. An objective named without a
    weight gets the one that is published for this method, where there is one.

    Args:
        spec: As :func:`vlmcal.objectives.compose.parse_objective` takes it.
        method: Registry name of the learner.
        own: The learner's own objective.

    Raises:
        SpecError: "own" is given parameters.

    Example:
        >>> on_method(["own", "tcpt"], "kgcoop", ["ce", "kgcoop"])
        ['ce', 'kgcoop', 'tcpt']
        >>> on_method(["ce", "dor"], "kgcoop", ["ce", "kgcoop"])
        ['ce', {'name': 'dor', 'weight': 2.0}]
    """
    if isinstance(spec, (list, tuple)):
        filled = []
        for item in spec:
            meant = on_method(item, method, own)
            filled += meant if isinstance(meant, list) else [meant]
        return filled
    given = spec
    if isinstance(spec, str):
        written = read(spec, OBJECTIVES.kind)
        given = {"name": written.name, **written.options}
    if not isinstance(given, Mapping):
        return spec
    name = given.get("name")
    if name == OWN:
        if len(given) > 1:
            extra = ", ".join(sorted(set(given) - {"name"}))
            raise SpecError(
                f'objective "own" stands for {method}\'s own terms and takes no parameters, got {extra}; '
                "write those terms out to change them"
            )
        return list(own)
    weights = PUBLISHED_WEIGHTS.get(name, {}) if isinstance(name, str) else {}
    if weights and "weight" not in given:
        return {**given, "weight": weights.get(method, weights["*"])}
    return spec


def left_out(spec: Sequence[Mapping[str, Any]], own: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the method's own terms, likelihoods apart, that a canonical objective does not contain.

    Args:
        spec: Canonical objective, as ``Sum.to_spec`` gives it.
        own: The method's own, in the same form.

    Example:
        >>> left_out([{"name": "ce"}, {"name": "dca"}], [{"name": "ce"}, {"name": "kgcoop"}])
        ['kgcoop']
    """
    named = {part["name"] for part in spec}
    return [
        part["name"]
        for part in own
        if part["name"] not in named and not OBJECTIVES.get(part["name"]).complete
    ]
