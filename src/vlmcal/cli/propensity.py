"""``vlmcal propensity``: effects of a treatment weighted by calibrated propensity scores."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from vlmcal.cli import arguments
from vlmcal.cli.held_out import standard_input
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.cli.reports import Reports
from vlmcal.errors import DataError, SpecError

if TYPE_CHECKING:
    from vlmcal.causal.study import Study
    from vlmcal.io.table_files import Table as File

Covariates = Annotated[
    list[str] | None, arguments.several("Columns that explain the treatment; or all.")
]

Rows = Annotated[
    Path | None,
    written("Scores and propensities of the rows: .csv, .jsonl, ...; - is standard output."),
]


def propensity(
    file: Annotated[Path, arg("Table with a row for each person; - is standard input.")],
    treatment: Annotated[str, opt("Column of 0 and 1, yes and no, or two words.")],
    outcome: Annotated[str, opt("Column of the outcome.")],
    covariates: Covariates = None,
    treated: Annotated[str | None, opt("Value of treated rows, where it is not plain.")] = None,
    score: Annotated[str | None, opt("Column of own scores.")] = None,
    fold: Annotated[str | None, opt("Column of the scores' folds.")] = None,
    learner: Annotated[str, opt("logistic, forest or boosting.")] = "logistic",
    method: Annotated[str, opt("Calibrator.", "--method", "-m")] = "platt(smooth=false)",
    scheme: Annotated[
        str, opt("other-folds, full-sample, within-fold, nested, none, or by paper.")
    ] = "other-folds",
    clip: Annotated[float, opt("Propensities stay in [clip, 1 - clip].")] = 0.01,
    folds: Annotated[int, opt("Folds of the cross-fitting.")] = 5,
    level: arguments.Level = 0.95,
    seed: arguments.Seed = 0,
    output: Rows = None,
    json: arguments.Numbers = None,
) -> None:
    """Average effect of a treatment: cross-fitted, calibrated propensities; raw ones beside them."""
    from vlmcal.causal import people
    from vlmcal.causal.study import study

    results = Reports(json=json).beside(output, arguments.TABLES)
    table = _table(file)
    columns = _named(table, covariates, treatment, outcome, score, fold)
    explained = people.covariates(table, columns) if columns else None
    with arguments.notes():
        made = study(
            people.treatment(table, treatment, treated),
            people.numbers(table, outcome, "--outcome"),
            covariates=None if explained is None else explained.values,
            scores=None if score is None else people.numbers(table, score, "--score"),
            fold=None if fold is None else people.folds(table, fold),
            learner=learner,
            method=method,
            scheme=scheme,
            clip=clip,
            folds=folds,
            level=level,
            seed=seed,
        )
    shown = tables(made, [] if explained is None else explained.names)
    for text in (*(f"{part.to_text()}\n" for part in shown), *(f"note: {n}" for n in made.notes)):
        results.show(text)
    results.write_numbers({"file": str(file), **made.to_dict()})
    if output is not None:
        _save(output, made)
        results.show(f"saved: {output}")


def _table(file: Path) -> "File":
    from vlmcal.io.table_files import read_table

    with standard_input(file) as (given, _):
        try:
            return read_table(given)
        except DataError as error:
            raise DataError(f"{given}: {error}") from error


def _named(table: "File", covariates: list[str] | None, *used: str | None) -> list[str] | None:
    """The columns of the covariates; "all" are those with no other use."""
    from vlmcal.causal.people import check_roles

    columns = [c for c in table.names if c not in used] if covariates == ["all"] else covariates
    treatment, outcome, score, fold = used
    if not columns and score is None:
        raise SpecError("name the --covariates (or all), or the --score of another program")
    check_roles(treatment=treatment, outcome=outcome, score=score, fold=fold, covariates=columns)
    return columns


def tables(made: "Study", covariates: list[str]) -> list[Any]:
    """Effects and diagnostics, raw beside calibrated; the covariates that differ most."""
    from vlmcal.report.cells import Cell, Column, words
    from vlmcal.report.tables import Table

    rows: list[list[Cell]] = [
        [after.estimator, f"{before}", f"{after}", after.se]
        for before, after in zip(made.raw, made.effects, strict=True)
    ]
    heads = [words(t) for t in ("effect", "raw propensity", "calibrated")]
    found = [Table(columns=[*heads, Column("se", digits=4)], rows=rows)]
    sides = (made.raw_diagnostics, made.diagnostics)
    lines: dict[str, list[float]] = {
        "effective rows, treated": [s.effective[0] for s in sides],
        "effective rows, others": [s.effective[1] for s in sides],
        "largest weight": [max(s.largest) for s in sides],
        "mean weight, treated": [s.mean_weight[0] for s in sides],
        "mean weight, others": [s.mean_weight[1] for s in sides],
        "calibration error": [s.ece for s in sides],
        "Brier": [s.brier for s in sides],
        "log-loss": [s.log_loss for s in sides],
        "distinct scores": [float(s.distinct) for s in sides],
    }
    heads = [words("propensities"), Column("raw", digits=3), Column("calibrated", digits=3)]
    found.append(Table(columns=heads, rows=[[name, *values] for name, values in lines.items()]))
    before, after = made.raw_diagnostics.before, made.diagnostics.after
    if before is not None and after is not None:
        worst = sorted(range(len(after)), key=lambda i: -abs(float(after[i])))[:10]
        heads = [words("difference of arms")]
        heads += [Column("unweighted", digits=3), Column("weighted", digits=3)]
        found.append(
            Table(
                columns=heads,
                rows=[[covariates[i], float(before[i]), float(after[i])] for i in worst],
            )
        )
    return found


def _save(output: Path, made: "Study") -> None:
    from vlmcal.io.table_output import write_table

    columns = {"fold": made.fold, "score": made.scores, "propensity": made.propensity}
    write_table({"row": range(1, len(made.scores) + 1), **columns}, output)
