"""Learn then test: settings that keep several risks below their targets at once."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.fixed_sequence import hoeffding_bentkus_p_values
from vlmcal.errors import DataError, SpecError
from vlmcal.types.arrays import BoolArray, FloatArray

Procedure = Literal["bonferroni", "holm", "fixed_sequence"]


def settings_that_hold(
    losses: Mapping[str, ArrayLike],
    targets: Mapping[str, float],
    *,
    delta: float = 0.1,
    procedure: Procedure = "holm",
    order: Sequence[int] | None = None,
) -> BoolArray:
    r"""Which of L settings keep every risk at or below its target, (L,).

    For each setting and risk r the hypothesis :math:`E[\ell_r] > \alpha_r` has a Hoeffding-Bentkus p-value; a
    setting's is the largest of its risks, as all of them must hold. Settings are tested together at
    level delta.

    Assumption: calibration rows are independent draws, losses lie in [0, 1]; losses need not be monotone.
    Guarantee: with probability at least 1 - delta over the calibration rows, every setting that is returned
    keeps all its risks. Any of them may then be chosen by any criterion, such as the fewest deferrals.

    Args:
        losses: Of each risk, (n, L): rows by settings.
        targets: Of each risk, in (0, 1).
        delta: Allowed chance of failure.
        procedure: "bonferroni", "holm", or "fixed_sequence": in ``order`` until the first that is not
        rejected.
        order: Settings from the safest on, for "fixed_sequence"; not chosen by looking at these losses.

    Raises:
        SpecError: No risks, targets of other risks, or a missing order.
        DataError: Losses outside [0, 1], or of other shapes.

    Source: Angelopoulos, Bates, Candes, Jordan and Lei, "Learn then test", 2021, arXiv 2110.01052.
    Oracle: MAPIE's ``BinaryClassificationController`` on one risk.

    Example:
        >>> wrong = np.zeros((100, 2)); wrong[:30, 1] = 1
        >>> deferred = np.zeros((100, 2)); deferred[:5, 0] = 1
        >>> losses = {"error": wrong, "deferral": deferred}
        >>> settings_that_hold(losses, {"error": 0.1, "deferral": 0.2}).tolist()
        [True, False]
    """
    if not losses or set(losses) != set(targets):
        raise SpecError(
            f"learn then test: expected a target for each risk, got risks {sorted(losses)} and targets "
            f"{sorted(targets)}"
        )
    if not 0 < delta < 1:
        raise SpecError(f"learn then test: delta: expected a number between 0 and 1, got {delta}")
    p = joint_p_values(losses, targets)
    if procedure == "fixed_sequence":
        if order is None or sorted(order) != list(range(len(p))):
            raise SpecError(
                f"learn then test: a fixed sequence needs an order of all {len(p)} settings, the safest first"
            )
        run = int(np.argmin(np.append(p[list(order)] <= delta, False)))
        found: BoolArray = np.isin(np.arange(len(p)), list(order)[:run])
        return found
    if procedure == "bonferroni":
        return np.asarray(p <= delta / len(p))
    if procedure != "holm":
        raise SpecError(
            f'learn then test: procedure is bonferroni, holm or fixed_sequence, got "{procedure}"'
        )
    ascending = np.argsort(p, kind="stable")
    passed = p[ascending] <= delta / np.arange(len(p), 0, -1)
    kept = ascending[: int(np.argmin(np.append(passed, False)))]
    return np.isin(np.arange(len(p)), kept)


def joint_p_values(losses: Mapping[str, ArrayLike], targets: Mapping[str, float]) -> FloatArray:
    """The largest p-value over the risks of every setting, (L,)."""
    each: list[FloatArray] = []
    for name, values in losses.items():
        rows = np.asarray(values, dtype=np.float64)
        if rows.ndim != 2 or not rows.size or (each and rows.shape[1] != len(each[0])):
            raise DataError(f'losses of "{name}": expected shape (n, L), got {rows.shape}')
        if not np.isfinite(rows).all() or rows.min() < 0 or rows.max() > 1:
            raise DataError(f'losses of "{name}": expected numbers from 0 to 1')
        if not 0 < targets[name] < 1:
            raise SpecError(f'target of "{name}": expected a number between 0 and 1')
        each.append(hoeffding_bentkus_p_values(np.ceil(rows.sum(axis=0)), len(rows), targets[name]))  # type: ignore[arg-type]
    worst: FloatArray = np.max(each, axis=0)
    return worst
