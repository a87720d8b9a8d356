"""A calibrator for each finding."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final, Self

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED, CalibrationWarning, Calibrator, make
from vlmcal.findings.base import FINDING_METHODS, FindingMethod
from vlmcal.fitted import Fitted
from vlmcal.types.limits import Count
from vlmcal.types.multi_label import MultiLabel

# Curves of many numbers, which a few cases do not determine: they need this many rows of both kinds.
CURVES: Final = frozenset(
    {"isotonic", "histogram", "bbq", "enir", "scaling_binning", "spline", "venn_abers", "mixture"}
)
FEWEST, FEWEST_OF_CURVES, MILDER = 10, 100, "platt"


@FINDING_METHODS.register("per_label")
class PerLabel(FindingMethod):
    """Any calibrator of two classes, fitted for each finding on the rows whose truth is known.

    Findings with few rows fall back, and the fit says which: a curve of many numbers (isotonic, histogram,
    bbq, spline, venn_abers, mixture) needs 100 rows with and 100 without the finding, else it is "platt";
    anything needs ``fewest`` of both, else the probabilities of that finding stay as they are.

    Attributes:
        calibrator: Name, or "name(option=value)", of a calibrator.
        fewest: Rows with and rows without a finding that its map needs at least.
        maps_: A fitted calibrator for each finding, in order.

    Source: the single maps are those of the calibrators; one each as in binary relevance (Tsoumakas and
    Katakis, "Multi-label classification: an overview", 2007).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> p = rng.random((400, 2))
        >>> val = MultiLabel(probabilities=p, labels=rng.random(p.shape) < p**2, names=("edema", "mass"))
        >>> new = MultiLabel(probabilities=[[0.5, 0.5]], names=("edema", "mass"), ids=["new"])
        >>> PerLabel().fit(val).transform(new).probabilities.round(2).tolist()
        [[0.23, 0.26]]
    """

    state: ClassVar[tuple[str, ...]] = ("maps_",)

    calibrator: str = MILDER
    fewest: Count = FEWEST

    def __post_init__(self) -> None:
        super().__post_init__()
        make(self.calibrator)  # says what is wrong with it
        self.maps_: list[Calibrator] = []

    @classmethod
    def root(cls) -> type[Fitted]:
        """The kind of what is nested in a saved file: calibrators."""
        return Calibrator

    def fit(self, rows: MultiLabel, *, identify: bool = True) -> Self:
        """Learn a map for each finding from held-out rows.

        Args:
            rows: With truths.
            identify: Remember which rows these are, so that :meth:`transform` refuses them.

        Raises:
            SplitError: The rows are test data.
            DataError: The calibrator needs more than probabilities.
        """
        self._require_fittable(rows.split)
        self.maps_ = []
        fallen: dict[str, list[str]] = {}
        said: dict[str, list[str]] = {}
        for name in rows.names:
            chosen = self._chosen(rows, name)
            if chosen != self.calibrator:
                fallen.setdefault(chosen, []).append(name)
            column = rows.column(name, labelled=chosen != UNCALIBRATED)
            if chosen == UNCALIBRATED:  # which reads no truth
                column = replace(column, labels=np.zeros(len(rows), dtype=np.int64))
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", CalibrationWarning)
                self.maps_.append(make(chosen).fit(column, identify=False))
            for item in caught:
                said.setdefault(str(item.message), []).append(name)
        for text, names in said.items():
            self._tell(f"{', '.join(names)}: {text}")
        for chosen, names in fallen.items():
            fate = "stay as they are" if chosen == UNCALIBRATED else f'get "{chosen}"'
            need = self.fewest if chosen == UNCALIBRATED else FEWEST_OF_CURVES
            self._tell(
                f"{len(names)} of {len(rows.names)} findings have fewer than {need} rows with or without "
                f"them and {fate}: {', '.join(names)}"
            )
        self._remember(rows.as_scores(), identify=identify)
        return self

    def transform(self, rows: MultiLabel) -> MultiLabel:
        """The rows with calibrated probabilities.

        Raises:
            SpecError: Called before :meth:`fit`.
            SplitError: Rows that were used for fitting.
            DataError: Other findings than it was fitted on.
        """
        self._require_applicable(rows)
        step = {"calibrator": self.calibrator, "for": "each finding", "scheme": "split"}
        return rows.with_probabilities(self.apply(rows), step)

    def apply(self, rows: MultiLabel) -> np.ndarray[Any, Any]:
        """Calibrated probabilities (N, L) alone, unguarded."""
        parts = []
        for name, fitted in zip(rows.names, self.maps_, strict=True):
            after = fitted.mapped(rows.column(name, labelled=False)).probabilities()[:, 1]
            parts.append(np.clip(after, 0.0, 1.0))
        return np.stack(parts, axis=1)

    def maps(self) -> Mapping[str, str]:
        """Which calibrator each finding got."""
        names = self._require_fitted()["class_names"]
        return {name: fitted.name for name, fitted in zip(names, self.maps_, strict=True)}

    def _chosen(self, rows: MultiLabel, name: str) -> str:
        truth = rows.labels[:, rows.index(name)]
        fewer = min(int((truth == 1).sum()), int((truth == 0).sum()))
        if fewer < self.fewest:
            return UNCALIBRATED
        curve = make(self.calibrator).name in CURVES
        return MILDER if curve and fewer < FEWEST_OF_CURVES else self.calibrator

    def _check_learned(self) -> None:
        super()._check_learned()
        names = (self.fitted_on_ or {})["class_names"]
        if not isinstance(self.maps_, list) or len(self.maps_) != len(names):
            raise self._impossible("maps_", f"expected {len(names)} calibrators")
        for item in self.maps_:
            if not isinstance(item, Calibrator) or item.fitted_on_ is None:
                raise self._impossible("maps_", "expected fitted calibrators")
