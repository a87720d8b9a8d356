"""The verbs of the command line: each is a function in a module of its own, loaded when it is typed."""

from collections.abc import Collection
from functools import cache
from importlib import import_module
from typing import Any, Final

import typer

from vlmcal.cli import ALLOW_CODE
from vlmcal.cli.examples import show_examples
from vlmcal.cli.verb import verb

# Where each verb is, in the order of the help: its module in this folder and the function.
VERBS: Final = {
    "demo": ("demo", "demo"),
    "evaluate": ("evaluate", "evaluate"),
    "compare": ("compare", "compare"),
    "expect": ("expect", "expect"),
    "monitor": ("monitor", "monitor"),
    "train": ("train", "train"),
    "run": ("run", "run"),
    "report": ("report", "report"),
    "status": ("status", "status"),
    "predict": ("predict", "predict"),
    "findings": ("score_findings", "findings"),
    "cluster": ("cluster", "cluster"),
    "ensemble": ("ensemble", "ensemble"),
    "ood": ("ood", "ood"),
    "propensity": ("propensity", "propensity"),
    "list": ("describe", "list_names"),
    "describe": ("describe", "describe"),
    "doctor": ("doctor", "doctor"),
}
# The same of groups of verbs: the module, whose ``app`` holds them, and the help where it has no HELP.
GROUPS: Final = {
    "calibrate": ("calibrate", "Repair the confidences of stored predictions."),
    "conformal": ("conformal", "Sets of labels with a guarantee."),
    "plot": ("plot", "One picture of a saved result, as PNG, PDF or SVG."),
    "vqa": ("vqa", "Confidence of multimodal LLMs on visual questions."),
    "review": ("review", ""),
    "data": ("data", "Look at data before training on it."),
    "import": ("import_runs", "Runs that were trained elsewhere."),
    "published": ("published", "Numbers of papers, and yours beside them."),
    "export": ("export", "Tables from finished runs."),
}


def app_for(words: Collection[str]) -> typer.Typer:
    """The command line for what was typed: with the one verb that it begins with, else with all.

    Args:
        words: As typed, without the name of the program.
    """
    typed = next((word for word in words if not word.startswith("-")), None)
    return _app(typed if typed in {*VERBS, *GROUPS} else None)


@cache
def _app(only: str | None) -> typer.Typer:
    made = typer.Typer(
        name="vlmcal",
        help="Make the confidence of vision-language models trustworthy.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    for name, (module, function) in VERBS.items():
        if only in (None, name):
            verb(made, name)(getattr(import_module(f"vlmcal.cli.{module}"), function))
    for name, (module, help) in GROUPS.items():
        if only in (None, name):
            group = import_module(f"vlmcal.cli.{module}")
            made.add_typer(group.app, name=name, help=help or group.HELP)
    show_examples(made)
    made.callback(invoke_without_command=True)(_root)
    return made


def __getattr__(name: str) -> Any:
    if name == "app":  # with all verbs
        return _app(None)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
