"""Learn then test: settings that keep several risks below their targets at once."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field
from scipy.special import expit

from vlmcal.conformal.base import CONFORMAL, Guarantee, KeyedRows
from vlmcal.conformal.fixed_sequence import hoeffding_bentkus_p_values
from vlmcal.conformal.losses import SetLoss, find_loss, loss_name
from vlmcal.conformal.score_based import ScoreBased
from vlmcal.errors import DataError, SpecError
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import BoolArray, FloatArray
from vlmcal.types.limits import Fraction

Procedure = Literal["bonferroni", "holm", "fixed_sequence"]
_ENDS = 12.0  # log-odds of the outermost thresholds
_RANGES = {"lac": (0.0, 1.0), "aps": (0.0, 1.0), "margin": (-1.0, 1.0)}


@CONFORMAL.register("learn_then_test")
class LearnThenTest(ScoreBased):
    r"""Sets :math:`\{y : s(x, y) \le \hat\lambda\}` that keep several risks below their limits at once.

    On a grid of thresholds that no row chose (equal steps of log-odds, and at last the sets of all classes),
    each threshold is tested for all risks: the loss "miscoverage" at ``alpha`` and those of ``limits`` at
    theirs. :math:`\hat\lambda` is the smallest threshold that passes, so the smallest sets that hold all
    promises. Unlike risk control the losses need not be monotone, and the promise is about the calibration
    rows at hand, not only about their average.

    Assumption: calibration rows and new rows are independent draws from one distribution; losses lie in
    [0, 1]. Guarantee: with probability at least 1 - delta over the calibration rows,
    :math:`E[\ell_r(C(X), Y)] \le \alpha_r` for every risk r, whatever is chosen among the passing thresholds
    (family-wise error by the named procedure). Where none passes every set holds all classes, said so.

    Angelopoulos, Bates, Candes, Jordan and Lei, Learn then test, 2021, arXiv 2110.01052. Oracle: MAPIE's
    ``control_fwer`` for the procedures.

    Attributes:
        loss: The loss that ``alpha`` limits: "miscoverage", "ordinal_distance", "wrong_answer",
            ``package.module:name`` or a function, as for risk_control.
        limits: Limits of further losses by their names, such as ``{"deferral": 0.3, "set_share": 0.4}``.
        delta: Allowed chance of failure.
        procedure: "holm", "bonferroni", or "fixed_sequence" from the largest sets on, which needs fewer rows
            but fits only where all losses fall as sets grow.
        settings: Number of thresholds.
        threshold_: :math:`\hat\lambda`; infinite when none passes.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> p = np.tile([[0.9, 0.1], [0.2, 0.8]], (100, 1))
        >>> rows = from_probabilities(p, np.arange(200) % 2, ids=[f"r{i}" for i in range(200)])
        >>> fitted = LearnThenTest(limits={"deferral": 0.2}).fit(rows, alpha=0.1)
        >>> round(fitted.threshold_, 2)
        0.27
    """

    guarantee: ClassVar[Guarantee] = "risk"
    state: ClassVar[Mapping[str, StateRule]] = {"threshold_": number(infinite=True)}
    any_classes: ClassVar[bool] = True

    loss: str | SetLoss = "miscoverage"
    limits: dict[str, float] = field(default_factory=dict)
    delta: Fraction = 0.1
    procedure: Procedure = "holm"
    settings: Annotated[int, Field(ge=2, le=10_000)] = 50

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.score not in _RANGES:
            raise SpecError(
                f'{self._who}: the thresholds are not chosen by the rows, so its score needs a known range; "'
                f'{self.score}" has none, take {", ".join(_RANGES)}'
            )
        if loss_name(self.loss) in self.limits:
            raise SpecError(f'{self._who}: "{loss_name(self.loss)}" has its limit from alpha')
        for name, limit in self.limits.items():
            find_loss(name)
            if not 0 < limit < 1:
                raise SpecError(
                    f'{self._who}: limit of "{name}": expected a number between 0 and 1, got {limit}'
                )

    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters by name, the loss by its own."""
        return {**super().hyperparameters(), "loss": loss_name(self.loss)}

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        scores = self.scorer.class_scores(rows)
        losses = {loss_name(self.loss): find_loss(self.loss)}
        losses |= {name: find_loss(name) for name in self.limits}
        targets = {loss_name(self.loss): alpha, **self.limits}
        grid = self._grid()
        found: dict[str, FloatArray] = {name: np.empty((len(scores), len(grid))) for name in losses}
        for place, threshold in enumerate(grid):
            sets = self.scorer.sets_below(scores, threshold)
            for name, loss in losses.items():
                found[name][:, place] = loss(sets, rows.predictions.labels)
        order = range(len(grid))[::-1]
        held = settings_that_hold(
            found, targets, delta=self.delta, procedure=self.procedure, order=order
        )
        self.threshold_ = float(grid[held.argmax()]) if held.any() else float("inf")
        if not held.any():
            self._tell(self._why_none(found, targets))

    def _why_none(self, found: dict[str, FloatArray], targets: dict[str, float]) -> str:
        n = len(next(iter(found.values())))
        tests = 1 if self.procedure == "fixed_sequence" else self.settings
        need = max(
            int(np.ceil(np.log(self.delta / tests) / np.log1p(-target)))
            for target in targets.values()
        )
        least = ", ".join(
            f"{name} {values.mean(axis=0).min():.3g} (limit {targets[name]:g})"
            for name, values in found.items()
        )
        return (
            f"no threshold keeps all risks with the {n} calibration rows (at least {need} are needed to show "
            f"it, with no loss at all; each risk at its smallest: {least}), so a person decides on every row"
        )

    def _grid(self) -> FloatArray:
        """Thresholds (L,), rising; the last one lets in every class."""
        inner = expit(np.linspace(-_ENDS, _ENDS, self.settings - 1))
        low, high = _RANGES[self.score]
        return np.append(low + (high - low) * inner, np.inf)

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        return self.scorer.sets_at(rows, self.threshold_)


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
        return np.isin(np.arange(len(p)), list(order)[:run])
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
    return np.asarray(np.max(each, axis=0))
