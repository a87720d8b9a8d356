"""The command line; every verb lives in a module of its own and imports what it needs when it runs."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from typing import NoReturn

INTERRUPTED = 130
ALLOW_CODE = "--allow-code"
# What pathlib says of "~nobody" and of links that lead to themselves, as errors of no kind of their own.
_OF_PATHS = ("Could not determine home directory", "Symlink loop")


def main() -> None:
    """Run the command line; a user's mistake is one message and exit code 2, never a traceback."""
    from vlmcal.cli.app import app_for
    from vlmcal.errors import VlmcalError
    from vlmcal.extras import naming_extras

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names that the terminal cannot show
    try:
        with naming_extras():
            words = allowing_first(with_json_on_output(sys.argv[1:]))
            app_for(words)(words, prog_name="vlmcal")
    except VlmcalError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _interrupted()
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's own ending for Ctrl-C, which says nothing
            _interrupted()
        raise
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        if error.filename is None:
            raise
        said = VlmcalError(f"{error.filename}: {error.strerror}")
        print(f"error: {said}", file=sys.stderr)
        sys.exit(VlmcalError.exit_code)
    except RuntimeError as error:
        if not str(error).startswith(_OF_PATHS):
            raise
        print(f"error: a path of the command leads nowhere ({error})", file=sys.stderr)
        sys.exit(VlmcalError.exit_code)


def with_json_on_output(words: Sequence[str]) -> list[str]:
    """The words of a command line, where ``--json`` without a path means standard output.

    Example:
        >>> with_json_on_output(["predict", "run", "a.png", "--json", "--top", "1"])
        ['predict', 'run', 'a.png', '--json', '-', '--top', '1']
    """
    filled: list[str] = []
    for word, following in zip(words, [*words[1:], "--"], strict=False):
        filled.append(word)
        if word == "--json" and following.startswith("-") and following != "-":
            filled.append("-")
    return filled


def allowing_first(words: Sequence[str]) -> list[str]:
    """The words of a command line with ``--allow-code``, which is for all verbs, where the verbs begin.

    Example:
        >>> allowing_first(["run", "grid.yaml", "--allow-code"])
        ['--allow-code', 'run', 'grid.yaml']
    """
    return sorted(words, key=lambda word: word != ALLOW_CODE)


def _interrupted() -> NoReturn:
    print("interrupted; finished runs and checkpoints are kept", file=sys.stderr)
    sys.exit(INTERRUPTED)
