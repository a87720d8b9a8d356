"""Do readers agree beyond chance? Cohen's kappa of two, Fleiss' kappa of more."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vlmcal.metrics.kit.proportions import critical_value
from vlmcal.review.workflow import label_of
from vlmcal.types.arrays import FloatArray, StrArray
from vlmcal.types.estimate import Estimate

if TYPE_CHECKING:
    from vlmcal.review.database import Review


class Agreement(NamedTuple):
    """How far readers agree.

    Attributes:
        readers: Codes.
        kappa: With its interval and the number of cases; NaN where all said the same everywhere.
        observed: Share of cases (Fleiss: of pairs of readers) with the same decision.
        method: "Cohen" or "Fleiss".
    """

    readers: tuple[str, ...]
    kappa: Estimate
    observed: float
    method: str

    def sentence(self) -> str:
        """In words."""
        who = " and ".join(self.readers) if len(self.readers) == 2 else ", ".join(self.readers)
        ends = ""
        if self.kappa.low is not None and self.kappa.high is not None:
            ends = f" ({self.kappa.low:.2f} to {self.kappa.high:.2f})"
        return (
            f"{who}: {self.method}'s kappa {self.kappa.value:.2f}{ends}, same decision in "
            f"{100 * self.observed:.0f} % of {self.kappa.n:,} cases"
        )


def cohen_kappa(
    first: Sequence[str],
    second: Sequence[str],
    *,
    groups: Sequence[str] | None = None,
    level: float = 0.95,
) -> Estimate:
    r"""Cohen's kappa :math:`(p_o - p_e) / (1 - p_e)`, with a jackknife interval over cases or groups.

    Args:
        first: (N,) decisions of one reader.
        second: (N,) decisions of the other on the same cases.
        groups: (N,) patient of each case, or None.
        level: Of the interval.

    Source: Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological
    Measurement 1960. Oracle: scikit-learn's ``cohen_kappa_score``.

    Example:
        >>> found = cohen_kappa(["a"] * 25 + ["b"] * 25, ["a"] * 20 + ["b"] * 25 + ["a"] * 5)
        >>> round(found.value, 4), round(found.low, 3), round(found.high, 3)
        (0.6, 0.369, 0.831)
    """
    return fleiss_kappa([first, second], groups=groups, level=level, cohen=True)


def fleiss_kappa(
    decisions: Sequence[Sequence[str]],
    *,
    groups: Sequence[str] | None = None,
    level: float = 0.95,
    cohen: bool = False,
) -> Estimate:
    r"""Fleiss' kappa of R readers who all decided the same N cases, with a jackknife interval.

    :math:`p_o` is the mean share of agreeing pairs, :math:`p_e = \sum_c p_c^2` with :math:`p_c` the share of
    all decisions for class c.

    Args:
        decisions: R lists of N decisions.
        groups: (N,) patient of each case, or None.
        level: Of the interval.
        cohen: Chance agreement from each reader's own shares (of two readers).

    Source: Fleiss, "Measuring nominal scale agreement among many raters", Psychological Bulletin 1971.
    Oracle: statsmodels' ``fleiss_kappa``.

    Example:
        >>> round(fleiss_kappa([["a", "b", "b"], ["a", "b", "a"], ["a", "b", "b"]]).value, 4)
        0.55
    """
    table = np.array([list(map(str, row)) for row in decisions]).T  # (N, R)
    n, readers = table.shape
    names, index = np.unique(table, return_inverse=True)
    each = np.eye(names.size)[index.reshape(n, readers)]  # (N, R, C)
    counts = each.sum(axis=1)
    agree = (np.square(counts).sum(axis=1) - readers) / (readers * (readers - 1))
    units = np.unique(np.arange(n) if groups is None else np.asarray(groups), return_inverse=True)[
        1
    ]
    size = np.bincount(units).astype(np.float64)
    agreed = np.bincount(units, agree)
    shares = np.stack(
        [
            np.stack([np.bincount(units, each[:, r, c]) for c in range(names.size)])
            for r in range(readers)
        ]
    )  # (R, C, G)

    def kappa(n: FloatArray, agreed: FloatArray, shares: FloatArray) -> FloatArray:
        part = shares / n
        chance = (part.prod(axis=0) if cohen else np.square(part.mean(axis=0))).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            found: FloatArray = np.where(chance < 1, (agreed / n - chance) / (1 - chance), np.nan)
        return found

    value = float(kappa(size.sum(), agreed.sum(), shares.sum(axis=-1)[..., None])[0])
    if size.size < 2 or not np.isfinite(value):
        return Estimate(value, n=n, method="none")
    left = kappa(
        size.sum() - size, agreed.sum() - agreed, shares.sum(axis=-1, keepdims=True) - shares
    )
    left = np.where(np.isfinite(left), left, value)
    spread = np.sqrt((size.size - 1) / size.size * np.square(left - left.mean()).sum())
    reach = critical_value(level, size.size) * float(spread)
    return Estimate(
        value, max(value - reach, -1.0), min(value + reach, 1.0), n=n, method="jackknife"
    )


def agreements(review: "Review", *, level: float = 0.95) -> list[Agreement]:
    """Of every two readers with cases in common, and of all together where there are more than two.

    Adjudications are no second reading and are left out; "cannot tell" is a decision like others.
    """
    told: dict[str, dict[str, str]] = {}
    group: dict[str, str] = {}
    for item, each in review.standing.cases().items():
        if len(each.readings) > 1:
            told[item] = {
                row.reader: label_of(row.final.value).strip().casefold() for row in each.readings
            }
            group[item] = each.case.group
    readers = sorted({who for own in told.values() for who in own})
    parties: list[tuple[str, ...]] = [
        (one, other) for i, one in enumerate(readers) for other in readers[i + 1 :]
    ]
    shared = {who: [i for i, own in told.items() if set(who) <= set(own)] for who in parties}
    if len(readers) > 2:
        shared[tuple(readers)] = [i for i, own in told.items() if len(own) == len(readers)]
    return [_agreement(who, items, told, group, level) for who, items in shared.items() if items]


def _agreement(
    readers: tuple[str, ...],
    items: Sequence[str],
    told: dict[str, dict[str, str]],
    group: dict[str, str],
    level: float,
) -> Agreement:
    rows = [[told[item][who] for item in items] for who in readers]
    cohen = len(readers) == 2
    kappa = fleiss_kappa(rows, groups=[group[i] for i in items], level=level, cohen=cohen)
    table: StrArray = np.array(rows)
    pairs = [(table[i] == table[j]).mean() for i in range(len(rows)) for j in range(i)]
    return Agreement(readers, kappa, float(np.mean(pairs)), "Cohen" if cohen else "Fleiss")
