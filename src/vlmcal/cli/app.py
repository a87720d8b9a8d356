"""The verbs of the command line."""

import typer

from vlmcal.cli import (
    ALLOW_CODE,
    calibrate,
    cluster,
    compare,
    conformal,
    data,
    demo,
    describe,
    doctor,
    ensemble,
    evaluate,
    expect,
    export,
    import_runs,
    monitor,
    ood,
    plot,
    predict,
    propensity,
    published,
    report,
    review,
    run,
    score_findings,
    status,
    train,
    vqa,
)
from vlmcal.cli.examples import show_examples
from vlmcal.cli.verb import verb

app = typer.Typer(
    name="vlmcal",
    help="Make the confidence of vision-language models trustworthy.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

verb(app, "demo")(demo.demo)
verb(app, "evaluate")(evaluate.evaluate)
verb(app, "compare")(compare.compare)
verb(app, "expect")(expect.expect)
verb(app, "monitor")(monitor.monitor)
verb(app, "train")(train.train)
verb(app, "run")(run.run)
verb(app, "report")(report.report)
verb(app, "status")(status.status)
verb(app, "predict")(predict.predict)
verb(app, "findings")(score_findings.findings)
verb(app, "cluster")(cluster.cluster)
verb(app, "ensemble")(ensemble.ensemble)
verb(app, "ood")(ood.ood)
verb(app, "propensity")(propensity.propensity)
app.add_typer(calibrate.app, name="calibrate", help="Repair the confidences of stored predictions.")
app.add_typer(conformal.app, name="conformal", help="Sets of labels with a guarantee.")
app.add_typer(plot.app, name="plot", help="One picture of a saved result, as PNG, PDF or SVG.")
app.add_typer(vqa.app, name="vqa", help="Confidence of multimodal LLMs on visual questions.")
app.add_typer(review.app, name="review", help=review.HELP)
app.add_typer(data.app, name="data", help="Look at data before training on it.")
app.add_typer(import_runs.app, name="import", help="Runs that were trained elsewhere.")
app.add_typer(published.app, name="published", help="Numbers of papers, and yours beside them.")
app.add_typer(export.app, name="export", help="Tables from finished runs.")
verb(app, "list")(describe.list_names)
verb(app, "describe")(describe.describe)
verb(app, "doctor")(doctor.doctor)
show_examples(app)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
    own_code: bool = typer.Option(
        False,
        ALLOW_CODE,
        help="Let names such as my_module:Name in files and options import that module.",
    ),
) -> None:
    if own_code:
        from vlmcal.own_code import allow_code

        allow_code()
    if version:
        from vlmcal import __version__

        typer.echo(f"vlmcal {__version__}")
        raise typer.Exit
