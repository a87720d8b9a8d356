"""What a conformal method is: fitted on held-out predictions, it turns others into sets of labels."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike

from vlmcal.conformal.quantile import require_alpha
from vlmcal.errors import DataError, SpecError
from vlmcal.fitted import Fitted
from vlmcal.io.state_files import encode
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.state_rules import number
from vlmcal.types import special
from vlmcal.types.array_rows import array_rows
from vlmcal.types.arrays import (
    BoolArray,
    FloatArray,
    Numbers,
    StrArray,
    as_strings,
    given_ids,
    require_finite,
)
from vlmcal.types.measurable import Scores
from vlmcal.types.prediction_sets import PredictionSets
from vlmcal.types.predictions import Predictions
from vlmcal.types.row_hashes import row_uniforms
from vlmcal.types.row_identity import FittedRows, row_keys
from vlmcal.types.split import require_fittable

Guarantee = Literal["marginal", "per class", "per stratum", "per cluster", "risk", "selective risk"]


_SHIFT_ROWS = 30
_SHIFT_LEVEL = 1e-4


class ConformalWarning(UserWarning):
    """The sets are valid but not what the user may expect; the message says why."""


@dataclass(frozen=True, eq=False)
class KeyedRows:
    """Predictions and what belongs to their rows.

    Attributes:
        predictions: The rows.
        uniforms: Random numbers given by the caller, or None.
        strata: (N,) strata given by the caller, or None.
    """

    predictions: Predictions
    uniforms: FloatArray | None = None
    strata: StrArray | None = None

    @property
    def keys(self) -> StrArray:
        """One string per row that names it, (N,)."""
        return row_keys(self.predictions)

    def drawn(self, seed: int, *names: str) -> FloatArray:
        """One uniform number per row, (N,), from the stream ``names`` under "conformal"."""
        drawn = self.predictions.drawn
        if (seed, names) not in drawn:
            drawn[seed, names] = row_uniforms(self.keys, seed, "conformal", *names)
        return drawn[seed, names]


@dataclass
class ConformalPredictor(Fitted):
    """Set-valued prediction with a finite-sample guarantee.

    Subclasses implement :meth:`_fit` and :meth:`_sets`. What is fitted, checked and saved how:
    :class:`~vlmcal.fitted.Fitted`.

    Attributes:
        guarantee: What the guarantee is about; the docstring of the method states it in full.
        uses_strata: True when the rows are divided into strata.
        uses_uniforms: True when the caller may give the random numbers.
        tells_shift: True when predicted classes that are spread otherwise than when fitting are worth a note.
        alpha_: Target after fitting.
    """

    kind: ClassVar[str] = "conformal method"
    key: ClassVar[str] = "conformal"
    warning: ClassVar[type[UserWarning]] = ConformalWarning
    guarantee: ClassVar[Guarantee] = "marginal"
    uses_strata: ClassVar[bool] = False
    uses_uniforms: ClassVar[bool] = False
    tells_shift: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.alpha_ = float("nan")
        self.array_scores_: Scores | None = None

    @classmethod
    def registry(cls) -> Registry[Any]:
        """The registered conformal methods."""
        return CONFORMAL

    @classmethod
    def root(cls) -> type[Fitted]:
        """This class."""
        return ConformalPredictor

    def fit(
        self,
        calibration: Predictions | Numbers,
        labels: Any = None,
        alpha: float | None = None,
        *,
        scores: Scores | None = None,
        groups: Any = None,
        uniforms: ArrayLike | None = None,
        strata: ArrayLike | None = None,
        identify: bool = True,
    ) -> Self:
        """Learn the thresholds from held-out labelled rows.

        Args:
            calibration: Rows the model was not trained on, exchangeable with the rows to come; or plain
                class scores (N, K).
            labels: Of plain scores, (N,): ``fit(scores, labels, alpha)``. Rows of this package carry their
                labels: ``fit(rows, alpha)``.
            alpha: Target miscoverage (or risk) in (0, 1); 0.1 asks for sets that hold the truth in 90 %.
            scores: What plain scores are: "logits" (the default), "log_probs" or "probs".
            groups: Patient or slide of each row of plain scores, or None.
            uniforms: (N,) random numbers in [0, 1] for randomised scores, instead of the seeded ones.
            strata: (N,) stratum of each row, for methods that use strata.
            identify: Remember which rows these are, so that :meth:`predict` refuses them.

        Raises:
            SplitError: The rows are test data.
            SpecError: ``alpha`` is outside (0, 1), or an argument does not apply to this method.
            DataError: An extra that this method needs is missing.
        """
        if isinstance(calibration, Predictions):
            if (labels is None) == (alpha is None):
                raise SpecError(f"{self._who}: expected fit(rows, alpha); rows carry their labels")
            target = alpha if labels is None else labels
        else:
            if labels is None or alpha is None:
                raise SpecError(
                    f"{self._who}: plain scores are fitted by fit(scores, labels, alpha=0.1)"
                )
            calibration, target = self._plain(calibration, labels, scores, groups), alpha
            self.array_scores_ = scores
        self._require_fittable(calibration.split)
        calibration.require_labels(self._who)
        alpha = require_alpha(float("nan") if target is None else target)
        rows = self._rows(calibration, uniforms, strata)
        if calibration.split == "train":
            self._tell(
                'the calibration rows come from the split "train"; the guarantee holds only if the model '
                "was not trained on them"
            )
        self._fit(rows, alpha)
        self._tell_groups(calibration)
        self.alpha_ = alpha
        counts = np.bincount(calibration.predicted(), minlength=calibration.n_classes)
        self._remember(calibration, identify=identify, predicted=counts.tolist())
        return self

    def predict(
        self,
        predictions: Predictions | Numbers,
        *,
        scores: Scores | None = None,
        groups: Any = None,
        uniforms: ArrayLike | None = None,
        strata: ArrayLike | None = None,
    ) -> PredictionSets:
        """Sets of labels for other rows.

        Args:
            predictions: Rows that were not used for fitting; or plain class scores (N, K), whose labels
                are not known.
            scores: What plain scores are; by default what was said when fitting.
            groups: Patient or slide of each row of plain scores, or None.
            uniforms: Random numbers in [0, 1] for randomised scores, instead of the seeded ones.
            strata: (N,) stratum of each row, for methods that use strata.

        Raises:
            SpecError: Called before :meth:`fit`, or an argument does not apply to this method.
            SplitError: Rows that were used for fitting.
            DataError: Another class list than it was fitted on where it learns something per class, or
                a missing extra.
        """
        if not isinstance(predictions, Predictions):
            self._require_fitted()
            predictions = self._plain(
                predictions, None, scores or self.array_scores_ or "logits", groups
            )
        notes = self._shared(predictions)
        rows = self._rows(predictions, uniforms, strata)
        if other := self._other_classes(predictions):
            notes.append(f"{other}; the coverage guarantee does not carry over to a new class list")
        if self.tells_shift and (shift := self._label_shift(predictions)):
            notes.append(shift)
        sets = self._sets(rows, notes)
        for note in notes:
            self._warn(note, stacklevel=3)
        return PredictionSets(
            sets=sets,
            labels=predictions.labels,
            alpha=self.alpha_,
            ids=given_ids(predictions),
            class_names=predictions.class_names,
            groups=predictions.groups,
            provenance={
                "conformal": self.name,
                "parameters": encode(self.hyperparameters()),
                "guarantee": self.guarantee,
                "fitted_on": self.fitted_on_,
                "messages": [*self.messages_, *notes],
                "predictions": predictions.provenance,
            },
        )

    def to_state(self) -> dict[str, Any]:
        """As of every fitted thing, and the target."""
        return {**super().to_state(), "alpha": self.alpha_ if self.fitted_on_ else None}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`, and check every learned value.

        Raises:
            SpecError: The data belong to another method, or name a parameter that it does not have.
            DataError: A learned value is missing or impossible.
        """
        if not cls.name:
            return cls.find(data).from_dict(data)
        self = super().from_dict(data)
        if self.fitted_on_ is not None:
            alpha = data.get("alpha")
            if number(above=0, high=1 - 1e-12)(alpha, 0):
                raise DataError(
                    f"the saved {self._who} cannot be applied: impossible alpha, {alpha!r}; it was damaged "
                    "or edited, fit it again"
                )
            self.alpha_ = float(alpha)  # type: ignore[arg-type]
        return self

    def _tell_groups(self, calibration: Predictions) -> None:
        """Say that rows of one group are not exchangeable with a row of another one."""
        groups = calibration.groups
        if groups is None or self.groups_are_strata() or self.minds_groups():
            return
        count = np.unique(groups).size
        if count < len(calibration):
            self._tell(
                f"the {len(calibration)} calibration rows belong to {count} groups (patients, slides), which "
                "are what is independent: coverage of new groups may be lower and varies more than with as "
                "many independent rows; keep one row of each group, or set hierarchical=True (lac, aps, raps)"
            )

    def minds_groups(self) -> bool:
        """Whether the guarantee holds for new groups, or what is wrong with them is told elsewhere."""
        return bool(getattr(self, "hierarchical", False))

    def _label_shift(self, predictions: Predictions) -> str:
        """What to tell where the predicted classes are spread otherwise than on the calibration rows."""
        before = np.array((self.fitted_on_ or {}).get("predicted", ()), dtype=np.float64)
        if before.size != predictions.n_classes or len(predictions) < _SHIFT_ROWS:
            return ""
        after = np.bincount(predictions.predicted(), minlength=before.size)
        table = np.stack([before, after])
        common = table.sum(axis=0) >= 10
        table = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
        table = table[:, table.sum(axis=0) >= 10]
        if table.shape[1] < 2:
            return ""
        p = _same_spread(table)
        if p >= _SHIFT_LEVEL:
            return ""
        return (
            f"the predicted classes of these {len(predictions)} rows are spread otherwise than those of the "
            f"calibration rows (chi-square test, p = {p:.1g}), so class frequencies may have shifted and "
            "coverage with them; class_conditional keeps its guarantee then, or calibrate anew"
        )

    def _plain(
        self, values: Numbers, labels: Any, scores: Scores | None, groups: Any
    ) -> Predictions:
        names = tuple((self.fitted_on_ or {}).get("class_names", ())) if labels is None else ()
        rows = array_rows(values, labels, scores, groups=groups, class_names=names)
        if not isinstance(rows, Predictions):
            raise DataError(f"{self._who} needs class scores (N, K), got one number per row")
        return rows

    @abstractmethod
    def _fit(self, rows: KeyedRows, alpha: float) -> None: ...

    @abstractmethod
    def _sets(self, rows: KeyedRows, notes: list[str]) -> BoolArray: ...

    def _rows(
        self, predictions: Predictions, uniforms: ArrayLike | None, strata: ArrayLike | None
    ) -> KeyedRows:
        self._require_extras(predictions, self.needs)
        if uniforms is not None and not self.uses_uniforms:
            raise SpecError(f"{self._who} is not randomised; leave out uniforms")
        if strata is not None and not self.uses_strata:
            raise SpecError(f'{self._who} has no strata; use "group_conditional"')
        return KeyedRows(
            predictions,
            None if uniforms is None else _as_uniforms(uniforms, len(predictions)),
            None if strata is None else as_strings(strata, len(predictions), "strata"),
        )


CONFORMAL: Registry[type[ConformalPredictor]] = Registry(
    "conformal method",
    "vlmcal.conformal",
    subclass_of(ConformalPredictor),
    "a subclass of ConformalPredictor",
    made=dataclass,
)


def require_calibration(calibration: Predictions, rows: Predictions, what: str) -> None:
    """Refuse rows that new ones cannot be set against, and say it where the new ones are among them.

    Args:
        calibration: Held-out rows with labels.
        rows: New rows.
        what: Names the purpose in messages.

    Raises:
        SplitError: The calibration rows are test data, or are among the new rows.
        DataError: Other classes, or calibration rows without labels.
    """
    require_fittable(calibration.split, what)
    calibration.require_labels(what)
    if calibration.class_names != rows.class_names:
        raise DataError(
            f"{what}: the calibration rows have the classes {list(calibration.class_names[:5])}, "
            f"the new rows {list(rows.class_names[:5])}"
        )
    FittedRows.of(calibration).shared(rows, what)


def _as_uniforms(values: ArrayLike, n: int) -> FloatArray:
    uniforms = np.asarray(values, dtype=np.float64)
    if uniforms.ndim not in (1, 2) or uniforms.shape[0] != n:
        raise DataError(f"uniforms: expected shape ({n},) or ({n}, K), got {uniforms.shape}")
    require_finite(uniforms, "uniforms")
    if ((uniforms < 0) | (uniforms > 1)).any():
        raise DataError("uniforms: expected numbers from 0 to 1")
    return uniforms


def _same_spread(table: FloatArray) -> float:
    """Chance of such a difference of two rows of counts (2, K) with the same shares (Pearson, chi-square).

    Example:
        >>> round(_same_spread(np.array([[10.0, 20.0, 30.0], [20.0, 20.0, 20.0]])), 4)
        0.0695
    """
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    statistic = ((table - expected) ** 2 / expected).sum()
    return float(special.chdtrc(table.shape[1] - 1, statistic))
