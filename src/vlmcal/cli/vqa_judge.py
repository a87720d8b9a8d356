"""``vlmcal vqa judge``: other verdicts on answers that are there already."""

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from vlmcal.cli import arguments
from vlmcal.cli.console import note
from vlmcal.cli.option_groups import opt
from vlmcal.cli.vqa_evaluate import Folder


def judge(
    answers: Folder,
    judge: Annotated[
        str,
        opt(
            "Of open answers: contained, normalised, token_f1(0.8), exact, or http://HOST/v1, hf:NAME."
        ),
    ] = "contained",
    name: Annotated[str | None, opt("Judge model on its server.")] = None,
    labels: Annotated[
        Path | None, opt("Table with id, correct (and elicitor), labelled for a random sample.")
    ] = None,
    synonyms: Annotated[
        Path | None, opt("Table with term, synonym: words that mean the same.")
    ] = None,
    parallel: Annotated[int, opt("Calls at the same time.")] = 8,
    api_key_env: Annotated[
        str, opt("Environment variable that holds the server's key.")
    ] = "OPENAI_API_KEY",
    timeout: Annotated[float, opt("Seconds until a call is given up.")] = 120.0,
) -> None:
    """Judge open answers anew; the model under study is not asked, and no verdict of a judge twice."""
    from vlmcal.elicit.folder import AnswerFolder
    from vlmcal.elicit.judging import judge as judged
    from vlmcal.report.pages.answer_tables import states_table

    arguments.require_judge(judge, name, "--name")
    arguments.require_calls(parallel=parallel, timeout=timeout)
    was = {(a.question, a.elicitor): a.correct for a in AnswerFolder(answers).load()[1]}
    made, corrected = judged(
        answers,
        judge,
        name=name,
        labels=labels,
        synonyms=synonyms,
        parallel=parallel,
        loading={"api_key_env": api_key_env, "timeout": timeout},
        say=note,
    )
    typer.echo(states_table(made.answers, made.elicitors).to_text())
    changed = sum(was[a.question, a.elicitor] != a.correct for a in made.answers)
    note(f"{changed:,} of {len(made.answers):,} verdicts are other ones than before")
    for each in corrected:
        typer.echo(
            f"{each.elicitor}: {100 * each.accuracy:.1f} % right, corrected for the judge "
            f"({100 * each.low:.1f} to {100 * each.high:.1f}); the judge says {100 * each.judged:.1f} % and "
            f"agrees with {100 * each.agreement:.1f} % of {each.labelled:,} labels"
        )
        if each.ece is not None:
            typer.echo(
                f"{each.elicitor}: ECE {100 * each.ece.value:.1f} %, corrected for the judge "
                f"({100 * each.ece.low:.1f} to {100 * each.ece.high:.1f}; five bins of equal mass)"
            )
    arguments.tell(made.notes)
    note(f"next: vlmcal vqa evaluate {quote(str(answers))} -o report.html")
