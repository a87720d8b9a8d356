"""``vlmcal plot``: one picture of a saved result."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.held_out import Reading
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.verb import verb
from vlmcal.errors import DataError, require_none
from vlmcal.io.json_text import parse_json

if TYPE_CHECKING:
    from vlmcal.types.confidences import Confidences
    from vlmcal.types.predictions import Predictions

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

PICTURES = (".png", ".pdf", ".svg")
Saved = Annotated[
    Path, arg("Rows in any form that `evaluate` reads, a run, or a folder of answers.")
]


@dataclass(frozen=True)
class Picture:
    """Where a picture goes, what stands above it, and how large it is; an option group."""

    output: Annotated[Path, written("Picture: .png, .pdf or .svg.")]
    title: Annotated[str, opt("Line above the picture.")] = ""
    width: Annotated[float, opt("Inches.", min=1, max=40)] = 4.4
    height: Annotated[float, opt("Inches.", min=1, max=40)] = 3.4

    def __post_init__(self) -> None:
        arguments.require_output(self.output, PICTURES)

    def draw(self, kind: str, rows: Any, **options: Any) -> None:
        """Draw with one of the functions of :mod:`vlmcal.report.plots`, and write."""
        from vlmcal.report import plots
        from vlmcal.report.figures.style import new_figure, themed
        from vlmcal.report.figures.svg import save_figure

        figure = new_figure(self.width, self.height)
        getattr(plots, kind)(rows, ax=themed(figure.subplots)(), title=self.title, **options)
        note(f"picture: {save_figure(figure, self.output)}")


_OF_RUNS = "--set is for runs"
_OF_ANSWERS = "--elicitor is for folders of answers"


@dataclass(frozen=True)
class Part:
    """Which rows of a folder are meant; an option group."""

    part: Annotated[str | None, opt("Of a run: all, base, new or calibration.", "--set")] = None
    elicitor: Annotated[str | None, opt("Of answers; default: the first.", "--elicitor", "-e")] = (
        None
    )

    def load(self, path: Path, reading: Reading) -> "Predictions | Confidences":
        """The rows of a file, a run or a folder of answers.

        Raises:
            SpecError: It is not said what the numbers are, or which of several sets is meant.
            DataError: As :func:`vlmcal.io.predictions.load_predictions`.
            StoreError: The folder is none of ours.
        """
        from vlmcal.elicit.folder import AnswerFolder
        from vlmcal.elicit.rows import chosen_elicitors, elicitor_rows
        from vlmcal.io.run_predictions import run_predictions

        if not path.is_dir():
            if _is_evaluation(path):
                raise DataError(
                    f"{path}: holds what was measured, and no rows to draw; give the file, run or folder of "
                    "answers that it was measured on"
                )
            require_none(
                f"{path} is a file of rows", {_OF_RUNS: self.part, _OF_ANSWERS: self.elicitor}
            )
            return reading.read(path, "test").data
        if not (path / "answers.jsonl").exists():
            require_none(f"{path} is none", {_OF_ANSWERS: self.elicitor})
            return run_predictions(path, self.part)
        require_none(f"{path} is a folder of answers", {_OF_RUNS: self.part})
        questions, answers = AnswerFolder(path).load()
        wanted = None if self.elicitor is None else [self.elicitor]
        chosen = chosen_elicitors(answers, wanted)[0]
        rows = elicitor_rows(questions, answers, chosen).parsed
        if rows is None:
            raise DataError(f"{path}: {chosen} gave no answer with a confidence that could be read")
        return rows

    def load_scores(self, path: Path, reading: Reading) -> "Predictions":
        """As :meth:`load`, for pictures that need the scores of all classes.

        Raises:
            DataError: Also where there is one confidence per row.
        """
        from vlmcal.types.predictions import Predictions

        rows = self.load(path, reading)
        if not isinstance(rows, Predictions):
            raise DataError(
                f"{path}: holds one confidence per row; this picture needs scores of classes"
            )
        return rows


def _is_evaluation(path: Path) -> bool:
    """Whether a file holds numbers that a verb measured."""
    if path.suffix != ".json" or not path.is_file():
        return False
    try:
        found = parse_json(path.read_bytes())
    except ValueError:  # told by what reads rows
        return False
    return isinstance(found, dict) and {"estimates", "definitions"} <= set(found)


@verb(app, "reliability")
def reliability(
    saved: Saved,
    *,
    picture: Picture,
    bins: Annotated[int, opt("Number of bins.", min=1, max=1000)] = 15,
    equal_mass: Annotated[bool, opt("Bins of equal mass, not of equal width.")] = False,
    smooth: Annotated[bool, opt("A smoothed curve without bins.")] = False,
    part: Part,
    reading: Reading,
) -> None:
    """Accuracy against confidence, with intervals and the band that chance alone would fill."""
    rows = part.load(saved, reading)
    if smooth:
        picture.draw("smooth_reliability", rows)
        return
    strategy = "quantile" if equal_mass else "uniform"
    picture.draw("reliability", rows, bins=bins, strategy=strategy)


@verb(app, "risk-coverage")
def risk_coverage(saved: Saved, *, picture: Picture, part: Part, reading: Reading) -> None:
    """Error among the rows that are kept when the least confident ones are left to a human."""
    picture.draw("risk_coverage", part.load(saved, reading))


@verb(app, "decision-curve")
def decision_curve(
    saved: Saved,
    *,
    picture: Picture,
    condition: Annotated[
        str | None, opt("Class that is the condition; needed with more than two.")
    ] = None,
    part: Part,
    reading: Reading,
) -> None:
    """Net benefit of acting on a risk above each threshold, beside treating all and none."""
    rows = part.load_scores(saved, reading)
    picture.draw("decision_curve", rows, positive=condition)


@verb(app, "margins")
def margins(saved: Saved, *, picture: Picture, part: Part, reading: Reading) -> None:
    """How far the logit of the label lies above the largest other one, or below it."""
    picture.draw("margins", part.load_scores(saved, reading))


@verb(app, "sets")
def sets(
    saved: Annotated[Path, arg("Label sets that `conformal apply` wrote.")], *, picture: Picture
) -> None:
    """How many labels the sets hold, and how often sets of each size hold the right one."""
    from vlmcal.io.prediction_sets import load_prediction_sets

    picture.draw("sets", load_prediction_sets(saved))
