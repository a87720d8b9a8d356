"""``vlmcal vqa compare``: two models, or one over time, on the same questions."""

from pathlib import Path
from typing import Annotated

from vlmcal.cli import arguments
from vlmcal.cli.console import command_line
from vlmcal.cli.option_groups import arg, opt
from vlmcal.cli.reports import Results
from vlmcal.cli.vqa_evaluate import Folder, Strata, Study


def compare(
    old: Folder,
    new: Annotated[Path, arg("The other one.")],
    elicitor: Annotated[
        str | None, opt("Label; by default the first of each.", "--elicitor", "-e")
    ] = None,
    strata: Strata = None,
    calibrator: Annotated[
        str, opt("Makes the probabilities that decide what is left to a human.")
    ] = "platt",
    *,
    study: Study,
    results: Results,
) -> None:
    """Accuracy, calibration, confidence and deferral of two folders, and every answer that changed."""
    from vlmcal.posthoc.folder_comparison import compare_answers
    from vlmcal.report.pages.answer_changes import changed_table, comparison_report, comparison_text

    options = study.options(strata=strata)
    results.require()
    with arguments.notes():
        found = compare_answers(old, new, elicitor, strata=strata, calibrator=calibrator, **options)
    results.show(comparison_text(found, level=study.level))
    arguments.tell(found.notes)
    results.write(
        changed_table(found),
        lambda: comparison_report(found, level=study.level, command=command_line()),
        found.to_dict(),
    )
