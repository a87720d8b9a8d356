"""``vlmcal vqa evaluate``: how far the confidences of answers can be trusted."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line
from vlmcal.cli.option_groups import arg, opt
from vlmcal.cli.reports import Results
from vlmcal.errors import SpecError

Folder = Annotated[Path, arg("Folder of `vqa elicit` or `vqa import`.")]
Elicitors = Annotated[
    list[str] | None,
    arguments.several("Labels; the first is looked at closely.", "--elicitor", "-e"),
]
Strata = Annotated[
    Path | None, opt("Table with the column of --by, joined by its column id.", "--table")
]


@dataclass(frozen=True)
class Study:
    """How answers are divided, what is relied on, and how intervals are drawn; an option group."""

    by: Annotated[str, opt("Divide by answer_type or by the data's own kind.")] = "answer_type"
    folds: Annotated[int, opt("Folds of the cross-fitting; images stay whole.")] = 5
    target_risk: Annotated[float, opt("Share of wrong answers among those that are relied on.")] = (
        0.1
    )
    level: arguments.Level = 0.95
    resamples: Annotated[int, opt("Bootstrap resamples of images; 0 for none.")] = 1000
    seed: arguments.Seed = 0

    def options(self, *, strata: Path | None = None) -> dict[str, Any]:
        """As the functions of :mod:`vlmcal.posthoc` on answers take them, checked before any work.

        Raises:
            SpecError: A share outside (0, 1), a number of resamples that cannot be, or a stratum that is
                neither known nor to be found in the table ``strata``.
        """
        from vlmcal.elicit.rows import as_stratum

        arguments.require_drawing(self.level, self.resamples)
        if not 0 < self.target_risk < 1:
            got = f"got {self.target_risk}"
            raise SpecError(f"--target-risk: expected a number between 0 and 1, {got}")
        if strata is None:
            as_stratum(self.by, "--by")
        return asdict(self)


def evaluate(
    answers: Folder,
    elicitor: Elicitors = None,
    strata: Strata = None,
    metrics: arguments.Metrics = None,
    calibrator: Annotated[
        str, opt("Makes the probabilities of the report, cross-fitted by image.")
    ] = "platt",
    *,
    study: Study,
    results: Results,
) -> None:
    """Measure the confidences over parsed and over all rows, by kind of question, and advise."""
    from vlmcal.posthoc.answer_folders import evaluate_answers
    from vlmcal.report.pages.answer_tables import confidence_table
    from vlmcal.report.pages.answers import answers_report, study_text

    options = study.options(strata=strata)
    results.require()
    with arguments.notes():
        found = evaluate_answers(
            answers,
            elicitor,
            strata=strata,
            metrics=arguments.chosen_metrics(metrics, "answers"),
            calibrator=calibrator,
            **options,
        )
    results.show(study_text(found))
    arguments.tell(found.notes)
    with arguments.notes():
        results.write(
            confidence_table(found.measured, parsed=False),
            lambda: answers_report(found, command=command_line()),
            found.to_dict(),
        )
