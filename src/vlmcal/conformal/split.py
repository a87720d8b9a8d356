"""Split conformal prediction: one score per class, one threshold for all rows."""

from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.base import ConformalPredictor, KeyedRows
from vlmcal.conformal.quantile import Rule, conformal_quantile, group_quantile, too_few
from vlmcal.conformal.scores import (
    Ranked,
    Ties,
    by_class,
    first_places,
    place_of_labels,
    rank_classes,
    rank_values,
)
from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.seeding import numpy_generator
from vlmcal.state_rules import StateRule, number
from vlmcal.types.arrays import BoolArray, FloatArray, IntArray, StrArray
from vlmcal.types.limits import Seed
from vlmcal.types.predictions import Predictions
from vlmcal.types.scores import ClassProbabilities

Uniforms: TypeAlias = FloatArray | None
"""Random numbers of rows, (n, 1) or (n, K); None of a method that is not randomised."""
Threshold: TypeAlias = FloatArray | float
"""One for all classes, or one for each (K,)."""


@dataclass
class SplitConformal(ConformalPredictor):
    r"""Sets :math:`\{y : s(x, y) \le \hat q\}` with one threshold :math:`\hat q`.

    Assumption: calibration rows and the new row are exchangeable (for instance independent draws from
    one distribution), given the model. Guarantee: the true label is in the set with probability at
    least :math:`1 - \alpha`, over the draw of both; not for every class, group or calibration set.

    Attributes:
        rule: "textbook" (the paper's), or the rule of a library whose results are to be reproduced.
        allow_empty: False adds the class of the lowest score to every empty set; coverage can only rise.
        hierarchical: Give every group (patient) of the calibration rows the same weight, whatever its number
            of rows, so that the guarantee holds for rows of new groups.
        threshold_: The threshold; infinite when there were too few rows.
    """

    rules: ClassVar[tuple[str, ...]] = ("textbook",)
    state: ClassVar[Mapping[str, StateRule]] = {"threshold_": number(infinite=True)}
    any_classes: ClassVar[bool] = True
    tells_ties: ClassVar[bool] = True

    rule: Rule = "textbook"
    allow_empty: bool = True
    hierarchical: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.threshold_ = float("nan")
        if self.rule not in self.rules:
            raise SpecError(
                f'{self._who} has no rule "{self.rule}"; {nearest(self.rule, self.rules)}'
            )

    def label_scores(
        self, predictions: Predictions, uniforms: ArrayLike | None = None
    ) -> FloatArray:
        """Score of each row's own label, (N,), as used for calibration."""
        return self.calibration_scores(self._rows(predictions, uniforms, None))

    def scores(self, predictions: Predictions, uniforms: ArrayLike | None = None) -> FloatArray:
        """Score of every class, (N, K) float64, as used for prediction."""
        return self.class_scores(self._rows(predictions, uniforms, None))

    def calibration_scores(self, rows: KeyedRows) -> FloatArray:
        """As :meth:`label_scores`, from checked rows."""
        labels = rows.predictions.labels
        uniforms = self._calibration_uniforms(rows)
        result = np.empty(len(labels))
        for part, probabilities in ClassProbabilities.of(rows.predictions).chunks():
            u = None if uniforms is None else uniforms[part]
            result[part] = self._label_scores(probabilities, labels[part], u)
        return result

    def class_scores(self, rows: KeyedRows) -> FloatArray:
        """As :meth:`scores`, from checked rows."""
        return np.concatenate([scores for _, scores in self.score_blocks(rows)])

    def score_blocks(self, rows: KeyedRows) -> Iterator[tuple[slice, FloatArray]]:
        """The same, some rows at a time: pairs (rows, scores (n, K))."""
        for part, probabilities, uniforms in self._blocks(rows):
            yield part, self._class_scores(probabilities, uniforms)

    def scores_of(self, probabilities: FloatArray, uniforms: Uniforms) -> FloatArray:
        """Scores (N, K) of changed probabilities (N, K), for methods that refine them first."""
        return self._class_scores(probabilities, uniforms)

    def sets_below(self, scores: FloatArray, threshold: Threshold) -> BoolArray:
        """Classes whose score (N, K) is at most the threshold; never empty where that was asked for."""
        sets: BoolArray = scores <= threshold
        return sets if self.allow_empty else without_empty(sets, scores)

    def sets_at(self, rows: KeyedRows, threshold: Threshold) -> BoolArray:
        """The same of all rows, for one threshold or one for each class (K,)."""
        return self._by_blocks(rows, lambda p, u: self._sets_below(p, u, threshold))

    def sets_by_row(self, rows: KeyedRows, thresholds: FloatArray) -> BoolArray:
        """The same for a threshold of each row (N,)."""
        return np.concatenate(
            [
                self.sets_below(scores, thresholds[at, None])
                for at, scores in self.score_blocks(rows)
            ]
        )

    def prediction_uniforms(self, rows: KeyedRows) -> FloatArray | None:
        """Random numbers (N, 1) or (N, K) for all classes of each row, or None.

        Raises:
            SpecError: Numbers were given to a method that is not randomised.
            DataError: They have another shape than the method needs.
        """
        return self._calibration_uniforms(rows)

    def _blocks(self, rows: KeyedRows) -> Iterator[tuple[slice, FloatArray, FloatArray | None]]:
        uniforms = self.prediction_uniforms(rows)
        for part, probabilities in ClassProbabilities.of(rows.predictions).chunks():
            yield part, probabilities, None if uniforms is None else uniforms[part]

    def _calibration_uniforms(self, rows: KeyedRows) -> FloatArray | None:
        if rows.uniforms is not None:
            raise SpecError(f"{self._who}: uniforms were given, but it is not randomised")
        return None

    @abstractmethod
    def _class_scores(self, probabilities: FloatArray, uniforms: Uniforms) -> FloatArray:
        """Scores (n, K) of a block of rows."""

    def _label_scores(
        self, probabilities: FloatArray, labels: IntArray, uniforms: Uniforms
    ) -> FloatArray:
        scores = self._class_scores(probabilities, uniforms)
        return scores[np.arange(len(labels)), labels]

    def _block_sets(self, probabilities: FloatArray, uniforms: Uniforms) -> BoolArray:
        return self._sets_below(probabilities, uniforms, self.threshold_)

    def _sets_below(
        self, probabilities: FloatArray, uniforms: Uniforms, threshold: Threshold
    ) -> BoolArray:
        """Sets of a block of rows; a method that knows a shorter way than all scores takes it."""
        return self.sets_below(self._class_scores(probabilities, uniforms), threshold)

    def _scores_to_fit(self, rows: KeyedRows, alpha: float) -> FloatArray:
        """Calibration scores (N,), of which those near the threshold have to be exact."""
        return self.calibration_scores(rows)

    def _fit(self, rows: KeyedRows, alpha: float) -> None:
        scores = self._scores_to_fit(rows, alpha)
        if self.hierarchical:
            self._fit_groups(scores, rows.predictions.groups, alpha)
        else:
            self.threshold_ = conformal_quantile(scores, alpha, self.rule)
            self._tell(too_few(scores.size, alpha))
        ties = int((scores == self.threshold_).sum())
        if self.tells_ties and ties > 1 and self.threshold_ == scores.max():
            self._tell(
                f"{ties} of {scores.size} calibration scores tie at the largest value, which is the "
                f"threshold ({self.threshold_:.4g}), so sets are larger than they need be; scores of higher "
                "precision tell them apart"
            )

    def _fit_groups(self, scores: FloatArray, groups: StrArray | None, alpha: float) -> None:
        if groups is None:
            raise DataError(
                f"{self._who}: hierarchical needs the group (patient) of each row, groups=..."
            )
        self.threshold_ = group_quantile(scores, groups, alpha)
        self._tell(too_few(np.unique(groups).size, alpha, "groups of calibration rows"))

    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray:
        return self._by_blocks(rows, self._block_sets)

    def _by_blocks(
        self, rows: KeyedRows, make: Callable[[FloatArray, Uniforms], BoolArray]
    ) -> BoolArray:
        """Sets (N, K) that are made of some rows at a time."""
        sets = np.empty((len(rows.predictions), rows.predictions.n_classes), dtype=np.bool_)
        for part, probabilities, uniforms in self._blocks(rows):
            sets[part] = make(probabilities, uniforms)
        return sets


@dataclass
class RandomisedConformal(SplitConformal):
    """A split conformal method whose score may take a uniform number off, for exact coverage.

    Attributes:
        randomised: Whether it does.
        seed: Seed of the uniform numbers; each row has its own number, whatever its batch. Only the rule
            "torchcp", which wants one number per class, draws them in the order of the rows.
    """

    rules: ClassVar[tuple[str, ...]] = ("textbook", "torchcp")
    uses_uniforms: ClassVar[bool] = True

    randomised: bool = True
    seed: Seed = 0

    def prediction_uniforms(self, rows: KeyedRows) -> FloatArray | None:
        """Random numbers (N, 1) per row, or (N, K) per place for the rule "torchcp", or None."""
        predictions = rows.predictions
        if not self.randomised or self.rule != "torchcp":
            return self._calibration_uniforms(rows)
        shape = predictions.logits.shape
        if rows.uniforms is None:
            return numpy_generator(self.seed, "conformal", self.name).random(shape)
        if rows.uniforms.shape != shape:
            raise DataError(
                f'uniforms: the rule "torchcp" takes one number per class in sorted order, {shape}; got '
                f"{rows.uniforms.shape}"
            )
        return rows.uniforms

    def _calibration_uniforms(self, rows: KeyedRows) -> FloatArray | None:
        if not self.randomised:
            return super()._calibration_uniforms(rows)
        if rows.uniforms is None:
            return rows.drawn(self.seed, self.name)[:, None]
        if rows.uniforms.ndim != 1:
            raise DataError(f"uniforms: expected one number per row, got {rows.uniforms.shape}")
        return rows.uniforms[:, None]

    @property
    def _ties(self) -> Ties:
        by_rule: dict[Rule, Ties] = {"textbook": "share", "torchcp": "first", "mapie": "reversed"}
        return by_rule[self.rule]

    def _place_scores(self, ranked: Ranked, uniforms: Uniforms) -> FloatArray:
        """Scores (n, M) of places that rise from the likeliest class on."""
        raise NotImplementedError

    @property
    def _by_value(self) -> bool:
        """Whether a class's score follows from its probability and the row's number alone."""
        return self.rule == "textbook"

    def _class_scores(self, probabilities: FloatArray, uniforms: Uniforms) -> FloatArray:
        ranked = rank_classes(probabilities, self._ties)
        return by_class(ranked, self._place_scores(ranked, uniforms))

    def _label_scores(
        self, probabilities: FloatArray, labels: IntArray, uniforms: Uniforms
    ) -> FloatArray:
        if not self._by_value:
            return super()._label_scores(probabilities, labels, uniforms)
        own = place_of_labels(rank_values(probabilities), probabilities, labels)
        return self._place_scores(own, uniforms)[:, 0]

    def _sets_below(
        self, probabilities: FloatArray, uniforms: Uniforms, threshold: Threshold
    ) -> BoolArray:
        if not self._by_value or not self.allow_empty or np.ndim(threshold):
            return super()._sets_below(probabilities, uniforms, threshold)
        ranked = rank_values(probabilities)
        return first_places(probabilities, ranked, self._place_scores(ranked, uniforms), threshold)

    def _share(self, uniforms: Uniforms) -> FloatArray | float:
        """Part of the own probability that counts; libraries take U of it off instead of leaving u."""
        if uniforms is None:
            return 1.0
        return uniforms if self.rule == "textbook" else 1.0 - uniforms


def without_empty(sets: BoolArray, scores: FloatArray) -> BoolArray:
    """Sets (N, K) in which the classes of the lowest score joined every empty set.

    Example:
        >>> without_empty(np.array([[False, False]]), np.array([[0.9, 0.8]])).tolist()
        [[False, True]]
    """
    empty = ~sets.any(axis=1, keepdims=True)
    return np.asarray(sets | (empty & (scores == scores.min(axis=1, keepdims=True))))
