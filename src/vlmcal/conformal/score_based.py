"""Methods that take their score from one of the split conformal methods and set thresholds their own way."""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.conformal.quantile import rows_needed
from vlmcal.conformal.split import SplitConformal
from vlmcal.errors import SpecError, nearest
from vlmcal.options import call


@dataclass
class ScoreBased(ConformalPredictor):
    """A conformal method built on the score of another one.

    Attributes:
        score: Registry name of a split conformal method ("lac", "aps", ...).
        score_parameters: Its hyper-parameters.
    """

    uses_uniforms: ClassVar[bool] = True

    score: str = "lac"
    score_parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        _ = self.scorer  # names a wrong score now, not at the first fit

    @cached_property
    def scorer(self) -> SplitConformal:
        """The method whose score is used."""
        return make_scorer(self.score, self.score_parameters)


def make_scorer(score: str, parameters: dict[str, Any]) -> SplitConformal:
    """The split conformal method called ``score``.

    Raises:
        SpecError: No such method, an unknown parameter, or a rule that cannot be built upon.

    Example:
        >>> make_scorer("raps", {"penalty": 0.1}).penalty
        0.1
    """
    method = CONFORMAL.get(score)
    if not issubclass(method, SplitConformal):
        usable = [n for n, c in CONFORMAL.items() if issubclass(c, SplitConformal)]
        raise SpecError(f'score: "{score}" has no score per class; {nearest(score, usable)}')
    scorer = call(method, f'score: conformal method "{score}"', parameters)
    if scorer.rule != "textbook":
        raise SpecError(
            f'score: the rule "{scorer.rule}" reproduces a library and cannot be built upon; leave it out'
        )
    return scorer


def few_rows_message(counts: dict[str, int], alpha: float, what: str, so: str) -> str | None:
    """What to tell about strata, classes or clusters with too few rows for a finite threshold, or None.

    Args:
        counts: Number of calibration rows by name.
        alpha: Target miscoverage.
        what: Their kind, in the plural.
        so: What follows for them.

    Example:
        >>> few_rows_message({"cat": 3, "dog": 30}, 0.1, "classes", "always in")
        '1 of 2 classes have fewer than the 9 calibration rows that alpha = 0.1 needs (cat 3); always in'
    """
    need = rows_needed(alpha)
    few = {name: n for name, n in counts.items() if n < need}
    if not few:
        return None
    shown = ", ".join(f"{name} {n}" for name, n in list(few.items())[:5])
    return (
        f"{len(few)} of {len(counts)} {what} have fewer than the {need} calibration rows that alpha = "
        f"{alpha:g} needs ({shown}{', ...' if len(few) > 5 else ''}); {so}"
    )
