"""Cross-conformal prediction (CV+): every row calibrates, by a model that has not seen it."""

from collections.abc import Mapping
from dataclasses import field
from fractions import Fraction
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from vlmcal.calibrators.base import CALIBRATORS, Calibrator
from vlmcal.conformal.base import CONFORMAL, KeyedRows
from vlmcal.conformal.quantile import require_alpha, too_few
from vlmcal.conformal.score_based import ScoreBased
from vlmcal.errors import DataError
from vlmcal.fitted import Fitted
from vlmcal.options import call
from vlmcal.state_rules import StateRule, array, sane
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray
from vlmcal.types.limits import Seed
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_hashes import row_uniforms


@CONFORMAL.register("cross_conformal")
class CrossConformal(ScoreBased):
    r"""Sets from rows that fit a calibrator *and* set the threshold, by folds (CV+): none is held out twice.

    A calibrator is fitted on all folds but one, for each fold; row i is scored by the one that has not seen
    it. The set of a new row holds the labels y with
    :math:`\#\{i : s_i \ge s^{(f_i)}(x, y)\} + 1 > \alpha (n + 1)`, where :math:`s^{(f)}` is the score after
    the calibrator without fold f. For when rows are too few to be divided between calibration and sets;
    fitting a calibrator and a threshold on the same rows without folds covers too little.

    Assumption: calibration rows and the new row are exchangeable. Guarantee:
    :math:`P(Y \in C(X)) \ge 1 - 2 \alpha` less a term of order F / n; near :math:`1 - \alpha` in practice, as
    calibrators of different folds are alike. Groups (patients) share a fold where there are enough of them.

    Vovk, Cross-conformal predictors, 2015, arXiv 1208.0806; Romano, Sesia and Candes, Classification with
    valid and adaptive coverage, NeurIPS 2020, arXiv 2006.02544 (CV+). Oracle: MAPIE's
    ``CrossConformalClassifier``.

    Attributes:
        calibrator: Registry name of what is fitted on the folds.
        calibrator_parameters: Its hyper-parameters.
        folds: F; with fewer rows (or groups) each is held out alone.
        seed: Of the folds; a row's fold follows from its id, or its group's.
        calibrators_: Fitted, one for each fold.
        scores_: (n,) calibration scores, each by the calibrator that has not seen the row.
        folds_: (n,) fold of each.

    Example:
        >>> draw = np.random.default_rng(0)
        >>> logits = draw.normal(size=(40, 3)) * 3
        >>> labels = (logits / 2 + draw.gumbel(size=(40, 3))).argmax(axis=1)
        >>> rows = Predictions(logits=logits[:30], labels=labels[:30], ids=[f"a{i}" for i in range(30)])
        >>> new = Predictions(logits=logits[30:], labels=labels[30:], ids=[f"b{i}" for i in range(10)])
        >>> CrossConformal().fit(rows, alpha=0.2).predict(new).sizes().tolist()
        [1, 1, 1, 1, 1, 1, 1, 2, 1, 1]
    """

    state: ClassVar[Mapping[str, StateRule]] = {
        "calibrators_": sane,
        "scores_": array("*", infinite=True),
        "folds_": array("*", low=0),
    }
    any_classes: ClassVar[bool] = True
    uses_uniforms: ClassVar[bool] = False

    calibrator: str = "temperature"
    calibrator_parameters: dict[str, Any] = field(default_factory=dict)
    folds: Annotated[int, Field(ge=2)] = 5
    seed: Seed = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._calibrator()

    @classmethod
    def holds(cls) -> type[Fitted]:
        """Calibrators."""
        return Calibrator

    def takes_any_classes(self) -> bool:
        """Whether its calibrator does."""
        return self._calibrator().takes_any_classes()

    def _calibrator(self) -> Calibrator:
        method = CALIBRATORS.get(self.calibrator)
        return call(method, f'calibrator "{self.calibrator}"', self.calibrator_parameters)

    def _check_learned(self) -> None:
        super()._check_learned()
        self._require_nested("calibrators_", self.calibrators_, self.calibrator)
        maps = 0 if len((self.fitted_on_ or {})["class_names"]) == 1 else self.folds
        if len(self.calibrators_) != maps:
            raise self._impossible("calibrators_", f"expected {maps}")
        same = self.folds_.shape == self.scores_.shape and self.folds_.dtype.kind in "iu"
        if not same or self.folds_.max() >= self.folds:
            raise self._impossible("folds_", f"expected one of {self.folds} for each score")

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        given = rows.predictions
        self.folds_ = _folds_of(rows, self.folds, self.seed)
        self.scores_: FloatArray = np.full(len(given), np.inf)
        self.calibrators_: list[Calibrator] = []
        if given.n_classes == 1:  # nothing to calibrate
            self.scores_ = self.scorer.calibration_scores(rows)
        for fold in range(self.folds if given.n_classes > 1 else 0):
            inside = self.folds_ == fold
            # nothing to fit on without them, so that they stay at infinity
            alone = bool(inside.all())
            with Calibrator.quiet():  # what is told of one fold is told of the next
                fitted = self._calibrator().fit(given.subset(~inside | alone), identify=False)
            self.calibrators_.append(fitted)
            if alone or not inside.any():  # more folds than rows leave some empty
                continue
            held_out = KeyedRows(_applied(fitted, given.subset(inside)))
            self.scores_[inside] = self.scorer.calibration_scores(held_out)
        for told in dict.fromkeys(m for each in self.calibrators_ for m in each.messages_):
            self._tell(f'calibrator "{self.calibrator}": {told}')
        self._tell(too_few(len(given), alpha))

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        stranger = np.zeros(rows.predictions.logits.shape, dtype=np.int64)
        for fold, fitted in enumerate(self.calibrators_ or [None] * self.folds):
            ordered = np.sort(self.scores_[self.folds_ == fold])
            new = KeyedRows(_applied(fitted, rows.predictions))
            for part, scores in self.scorer.score_blocks(new):
                stranger[part] += len(ordered) - np.searchsorted(ordered, scores, side="left")
        return _above(stranger, len(self.scores_), self.alpha_)


def _folds_of(rows: KeyedRows, folds: int, seed: int) -> IntArray:
    """Fold of each row, (n,), from its id alone, whatever its label; groups share one if they suffice."""
    given = rows.predictions
    names = rows.keys
    if given.groups is not None and np.unique(given.groups).size >= folds:
        names = given.groups
    units, member = np.unique(names, return_inverse=True)
    order = np.argsort(row_uniforms(units, seed, "conformal", "folds"), kind="stable")
    fold = np.empty(len(units), dtype=np.int64)
    fold[order] = np.arange(len(units)) % folds
    return fold[member]


def _applied(fitted: Calibrator | None, rows: Predictions) -> Predictions:
    if fitted is None:
        return rows
    with Calibrator.quiet():  # told when it was fitted
        return fitted.transform(rows)


def _above(stranger: IntArray, n: int, alpha: float) -> BoolArray:
    """Labels with (stranger + 1) / (n + 1) > alpha, which is read as the decimal it prints as."""
    return stranger + 1 > int(Fraction(repr(require_alpha(alpha))) * (n + 1))


def cross_conformal_p_values(
    calibration_scores: ArrayLike, folds: ArrayLike, scores: ArrayLike
) -> FloatArray:
    r"""P-values (N, K): :math:`(\sum_i 1[s_i \ge s^{(f_i)}(x, y)] + 1) / (n + 1)`, f_i the fold of row i.

    Args:
        calibration_scores: (n,) score of each row's true label by the model that was trained without its
        fold.
        folds: (n,) fold of each row, 0 .. F - 1.
        scores: (F, N, K) scores of the new rows' labels by each of the F models.

    Raises:
        DataError: Shapes do not agree, or a fold without a model.

    Example:
        >>> new = np.array([[[0.15, 0.95]], [[0.3, 0.95]]])
        >>> cross_conformal_p_values([0.1, 0.2, 0.9], [0, 0, 1], new).tolist()
        [[0.75, 0.25]]
    """
    known = np.asarray(calibration_scores, dtype=np.float64)
    member: IntArray = np.asarray(folds)
    given = np.asarray(scores, dtype=np.float64)
    if known.ndim != 1 or member.shape != known.shape or given.ndim != 3:
        raise DataError(
            "cross-conformal: expected scores (n,), folds (n,) and new scores (F, N, K), got "
            f"{known.shape}, {member.shape}, {given.shape}"
        )
    if member.min(initial=0) < 0 or member.max(initial=0) >= len(given):
        raise DataError(f"cross-conformal: folds must be 0 to {len(given) - 1}, one for each model")
    stranger = np.zeros(given.shape[1:])
    for fold, each in enumerate(given):
        ordered = np.sort(known[member == fold])
        stranger += len(ordered) - np.searchsorted(ordered, each, side="left")
    return (stranger + 1) / (len(known) + 1)


def cross_conformal_sets(
    calibration_scores: ArrayLike, folds: ArrayLike, scores: ArrayLike, alpha: float
) -> BoolArray:
    r"""Sets (N, K) of the labels with a p-value above alpha.

    Assumption: rows are exchangeable, and the models do not depend on their order within folds. Guarantee:
    :math:`P(Y \in C(X)) \ge 1 - 2 \alpha` less a term of order F / n; in practice near :math:`1 -
    \alpha`. With a single model and fold it is split conformal prediction. Nothing has to be held out.

    Source: Vovk, "Cross-conformal predictors", 2015, arXiv 1208.0806; CV+ for classes: Romano, Sesia and
    Candes, NeurIPS 2020, arXiv 2006.02544. Oracle: MAPIE's ``CrossConformalClassifier``.

    Example:
        >>> cross_conformal_sets([0.1, 0.2, 0.9], [0, 0, 0], [[[0.15, 0.95]]], alpha=0.3).tolist()
        [[True, False]]
    """
    p = cross_conformal_p_values(calibration_scores, folds, scores)
    n = np.size(calibration_scores)
    return _above(np.rint(p * (n + 1)).astype(np.int64) - 1, n, alpha)
