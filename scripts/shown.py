"""What pages show is run: the commands of ``console`` blocks and the programs of ``python`` blocks.

A page is run from top to bottom in a folder of its own that holds the files of ``examples/inputs.py``.
"""

import io
import os
import re
import shlex
import sys
import traceback
import warnings
from collections.abc import Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Other packages that pages compare with; blocks that import one are run where it is installed.
PEERS = ("netcal", "torchmetrics", "probmetrics")
_RUN = re.compile(r"runs/runs/([0-9a-f]{8,})")


class ShownError(Exception):
    """What is shown does not work."""


@dataclass
class Session:
    """The state of one page: its folder, its names, the run that was made last.

    Attributes:
        folder: Where everything is run.
        names: Of the programs.
        runs: Ids of the runs made so far; RUN stands for the last, OTHER for the one before.
    """

    folder: Path
    names: dict[str, Any] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)

    def block(self, language: str, text: str) -> tuple[str, list[Path]]:
        """Run a block; what it prints, and the files that it makes.

        Raises:
            ShownError: A command ends with another exit code than 0 or 1, or a program with an error.
        """
        before = self._files()
        said = self.program(text) if language == "python" else self.commands(text)
        made = [path for path, when in self._files().items() if before.get(path) != when]
        return said, sorted(made)

    def commands(self, text: str) -> str:
        """Run the lines that start with ``$``; what they print."""
        return "".join(self.command(line) for line in commands(text))

    def command(self, line: str) -> str:
        """Run one command of ours in this process."""
        from vlmcal.cli import main

        for name, run in zip(("RUN", "OTHER"), reversed(self.runs), strict=False):
            line = line.replace(f"runs/{name}", f"runs/{run}")
        words = shlex.split(line, comments=True)
        if words[0] != "vlmcal":
            raise ShownError(f"{line}: only vlmcal is run")
        code: Any = 0
        told = io.StringIO()
        given, sys.argv = sys.argv, words
        try:
            with chdir(self.folder), redirect_stdout(told), redirect_stderr(told):
                main()
        except SystemExit as stop:
            code = stop.code or 0
        except Exception as error:
            raise ShownError(f"{line}\n{traceback.format_exc()}") from error
        finally:
            sys.argv = given
        said = told.getvalue()
        if code not in (0, 1):  # 1 is the answer of --fail-if
            raise ShownError(f"{line}: exit code {code}\n{said}")
        self.runs += [run for run in _RUN.findall(said) if run not in self.runs]
        return said

    def program(self, text: str) -> str:
        """Run Python code with the names of the blocks above it."""
        told = io.StringIO()
        try:
            with chdir(self.folder), redirect_stdout(told), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                exec(compile(text, "<page>", "exec"), self.names)
        except ModuleNotFoundError as error:
            peer = (error.name or "").partition(".")[0]
            if peer not in PEERS:
                raise ShownError(f"{text}\n{error}") from error
            return f"(not run: {peer} is not installed where this page was built)\n"
        except Exception as error:
            raise ShownError(f"{text}\n{traceback.format_exc()}") from error
        return told.getvalue()

    def _files(self) -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in self.folder.rglob("*") if p.is_file()}


def commands(text: str) -> Iterator[str]:
    """The commands of a ``console`` block, each in one line."""
    joined = re.sub(r"\\\n\s*", "", text)
    for line in joined.splitlines():
        if line.startswith("$ "):
            yield line[2:]


def example_files() -> Any:
    """The module ``examples/inputs.py``."""
    from importlib.util import module_from_spec, spec_from_file_location

    spec = spec_from_file_location("example_inputs", ROOT / "examples" / "inputs.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def session(folder: Path) -> Session:
    """A new one, with the files of the examples."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ["VLMCAL_CACHE"] = str(folder.resolve() / ".cache")
    os.environ["COLUMNS"] = "100"
    return Session(example_files().write(folder))
