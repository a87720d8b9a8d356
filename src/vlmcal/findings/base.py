"""What is fitted on probabilities of findings, applied to other rows, and saved as plain JSON."""

from dataclasses import dataclass
from typing import Any, ClassVar

from vlmcal.fitted import Fitted
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.types.multi_label import MultiLabel


class FindingWarning(UserWarning):
    """Something was fitted, but the data do not determine it well; the message says why."""


@dataclass
class FindingMethod(Fitted):
    """A method on :class:`~vlmcal.types.multi_label.MultiLabel` rows; see :class:`~vlmcal.fitted.Fitted`."""

    kind: ClassVar[str] = "method for findings"
    key: ClassVar[str] = "finding_method"
    warning: ClassVar[type[UserWarning]] = FindingWarning

    @classmethod
    def registry(cls) -> Registry[Any]:
        """The registered methods."""
        return FINDING_METHODS

    @classmethod
    def root(cls) -> type[Fitted]:
        """This class."""
        return FindingMethod

    def _require_applicable(self, rows: MultiLabel) -> None:
        """Check the findings, refuse rows that were fitted on, and say again what was said of the fit.

        Raises:
            SpecError: Nothing was fitted yet.
            SplitError: Rows that were used for fitting.
            DataError: Other findings than those fitted on.
        """
        same = rows.as_scores()
        self._other_classes(same)
        for note in (*self.messages_, *self._shared(same)):
            self._warn(note, stacklevel=4)


FINDING_METHODS: Registry[type[FindingMethod]] = Registry(
    "method for findings",
    "vlmcal.findings",
    subclass_of(FindingMethod),
    "a subclass of FindingMethod",
    made=dataclass,
)
