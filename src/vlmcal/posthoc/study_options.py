"""What every study of a folder of answers is told by name: how rows are divided, fitted and measured."""

from typing import Final, TypedDict

from vlmcal.errors import require_known


class StudyOptions(TypedDict, total=False):
    """Options that the functions on folders of answers share.

    Attributes:
        by: What rows are divided by: "answer_type" (default), or "kind" for the data set's own; with a table
            of ``strata`` a column of it.
        folds: Of the cross-fitting, by which also the threshold of what is relied on is chosen; 5.
        target_risk: Share of wrong answers among those that are relied on, in (0, 1); 0.1.
        level: Of the intervals; 0.95.
        resamples: Of images, for the intervals; 0 for none; 1000 by default.
        seed: Of every draw; 0.
    """

    by: str
    folds: int
    target_risk: float
    level: float
    resamples: int
    seed: int


DEFAULTS: Final = StudyOptions(
    by="answer_type", folds=5, target_risk=0.1, level=0.95, resamples=1000, seed=0
)


def with_defaults(options: StudyOptions) -> StudyOptions:
    """All options, those that are not given by default.

    Raises:
        SpecError: There is no such option.

    Example:
        >>> with_defaults({"folds": 3})["folds"], with_defaults({})["level"]
        (3, 0.95)
    """
    for name in options:
        require_known(name, DEFAULTS, "answers: no option")
    return {**DEFAULTS, **options}
