"""Mondrian conformal prediction: a threshold for every stratum of the rows."""

from collections.abc import Mapping
from typing import ClassVar, Literal

import numpy as np

from vlmcal.conformal.base import CONFORMAL, Guarantee, KeyedRows
from vlmcal.conformal.quantile import conformal_quantile
from vlmcal.conformal.score_based import ScoreBased, few_rows_message
from vlmcal.errors import DataError
from vlmcal.state_rules import StateRule, array, sane
from vlmcal.types.arrays import BoolArray, StrArray
from vlmcal.types.predictions import Predictions


@CONFORMAL.register("group_conditional")
class GroupConditional(ScoreBased):
    r"""Sets :math:`\{y : s(x, y) \le \hat q_{g(x)}\}` with a threshold for each stratum g of the rows.

    Assumption: within each stratum, calibration rows and the new row are exchangeable. Guarantee:
    :math:`P(Y \in C(X) \mid g(X) = g) \ge 1 - \alpha` for every stratum g, hence also marginally. A
    stratum must not depend on the label; a stratum with too few calibration rows, or none, gets full
    sets, and a message says so.

    Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005 (Mondrian predictors).

    Attributes:
        by: Where the strata come from unless ``strata`` is given to ``fit`` and ``predict``: the
            "groups" of the predictions, or the "predicted" class of each row.
        strata_: (G,) names of the strata, sorted.
        thresholds_: (G,) one for each.

    Example:
        >>> from vlmcal.types.predictions import from_probabilities
        >>> p = [[0.75, 0.25], [0.5, 0.5], [0.0, 1.0]]
        >>> rows = from_probabilities(p, [0, 0, 1], ids=list("abc"), groups=["old", "old", "young"])
        >>> fitted = GroupConditional().fit(rows, alpha=0.5)
        >>> dict(zip(fitted.strata_.tolist(), fitted.thresholds_.tolist()))
        {'old': 0.5, 'young': 0.0}
    """

    guarantee: ClassVar[Guarantee] = "per stratum"
    state: ClassVar[Mapping[str, StateRule]] = {
        "strata_": sane,
        "thresholds_": array("*", infinite=True),
    }
    any_classes: ClassVar[bool] = True
    uses_strata: ClassVar[bool] = True

    by: Literal["groups", "predicted"] = "groups"

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        scores = self.scorer.calibration_scores(rows)
        names, member, counts = np.unique(
            self._strata(rows), return_inverse=True, return_counts=True
        )
        ordered = np.split(scores[np.argsort(member, kind="stable")], np.cumsum(counts)[:-1])
        self.strata_: StrArray = names
        self.thresholds_ = np.array([conformal_quantile(part, alpha) for part in ordered])
        by_name = dict(zip(names.tolist(), counts.tolist(), strict=True))
        self._tell(few_rows_message(by_name, alpha, "strata", "their sets hold all classes"))

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        strata = self._strata(rows)
        place = np.minimum(np.searchsorted(self.strata_, strata), len(self.strata_) - 1)
        known = self.strata_[place] == strata
        if not known.all():
            new = sorted(set(strata[~known].tolist()))
            notes.append(
                f"{(~known).sum()} rows are of {len(new)} strata without calibration rows (first "
                f"{new[0]!r}); their sets hold all classes"
            )
        return self.scorer.sets_by_row(rows, np.where(known, self.thresholds_[place], np.inf))

    def _check_learned(self) -> None:
        super()._check_learned()
        if self.strata_.dtype.kind != "U" or self.strata_.shape != self.thresholds_.shape:
            raise self._impossible("thresholds_", "expected one for each stratum")

    def groups_are_strata(self) -> bool:
        """Whether the groups of the rows are the strata."""
        return self.by == "groups"

    def _strata(self, rows: KeyedRows) -> StrArray:
        if rows.strata is not None:
            return rows.strata
        predictions: Predictions = rows.predictions
        if self.by == "predicted":
            return np.array(predictions.class_names)[predictions.predicted()]
        if predictions.groups is None:
            raise DataError(
                f"{self._who} needs strata, but the predictions have no groups; give strata=..., or set "
                'by="predicted"'
            )
        return predictions.groups
