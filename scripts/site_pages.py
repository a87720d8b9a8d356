"""The pages of the site that follow from the code: ``site_pages.py``, which ``make site`` calls.

They go into ``docs/generated``: the command line, the Python names, experiment files, the drawing of the house,
the gallery, and whatever page stands in no list yet.
"""

import ast
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any

import typer

import architecture
import shown_gallery

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "vlmcal"
NOTE = "% Written by scripts/site_pages.py; changes are lost.\n\n"


def command_pages() -> Iterator[tuple[str, str]]:
    """A page for each verb: how it is called, what it does, its options, examples."""
    from vlmcal.cli.app import app
    from vlmcal.cli.examples import EXAMPLES, verbs

    listed = []
    for name, command in verbs(typer.main.get_command(app)):
        file = f"cli/{name.replace(' ', '-')}"
        listed.append((file.removeprefix("cli/"), name, _sentence(command.help)))
        text = [f"# vlmcal {name}\n", _plain(command.help)]
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option"]
        words = " ".join(_place(p) for p in arguments)
        text.append(f"```text\nvlmcal {name} {words} [OPTIONS]\n```\n")
        if name in EXAMPLES:
            lines = "\n".join(EXAMPLES[name])
            text.append(f"## Examples\n\n```bash\n{lines}\n```\n")
        for heading, parameters in (("Arguments", arguments), ("Options", options)):
            if parameters:
                rows = "\n".join(_row(p) for p in parameters)
                text.append(
                    f"## {heading}\n\n| name | value | default | what |\n|---|---|---|---|\n{rows}\n"
                )
        yield file, "\n".join(text)
    table = "\n".join(f"| [`{name}`]({file}.md) | {what} |" for file, name, what in listed)
    toc = "\n".join(file for file, _, _ in listed)
    yield (
        "cli/index",
        (
            "# Command line\n\nWritten from the commands themselves. `vlmcal VERB --help` shows the same, with the examples, "
            "which a test runs on the files that\n`python examples/inputs.py inputs` writes. Completion for your shell: "
            f"`vlmcal --install-completion`.\n\n| verb | what it does |\n|---|---|\n{table}\n\n"
            f"```{{toctree}}\n:hidden:\n\n{toc}\n```\n"
        ),
    )


def _place(parameter: Any) -> str:
    name = parameter.name.upper().replace("_", "-")
    name = f"{name} ..." if parameter.nargs == -1 or parameter.multiple else name
    return name if parameter.required else f"[{name}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        name = parameter.name.upper()
    else:
        name = ", ".join(f"`{x}`" for x in (*parameter.opts, *parameter.secondary_opts))
    flag = getattr(parameter, "is_flag", False)
    kind = "" if flag else _value(parameter)
    shown = getattr(parameter, "show_default", True)
    default = parameter.default
    if isinstance(shown, str):
        told = shown
    elif parameter.required:
        told = "needed"
    elif (
        flag
        or default is None
        or callable(default)
        or not str(default)
        or "UNSET" in str(default).upper()
    ):
        told = ""
    else:
        told = f"`{default}`"
    return f"| {name} | {kind} | {told} | {_cell(getattr(parameter, 'help', '') or '')} |"


def _value(parameter: Any) -> str:
    """What stands behind an option, for the typer on click's types and the one on its own."""
    if hasattr(parameter, "type"):
        return str(parameter.type.name)
    text = _type(parameter.type_descriptor.annotation)
    names = {"Path": "path", "str": "text", "float": "number", "int": "whole number"}
    text = re.sub(r" \| None$", "", text.replace("pathlib.", ""))
    return re.sub(r"\w+", lambda m: names.get(m[0], m[0]), text).replace("[", "\\[")


def _cell(text: str) -> str:
    text = " ".join(text.split()).replace("|", "\\|")
    return re.sub(r"([<>{}*$])", r"\\\1", text)


def _sentence(text: str | None) -> str:
    return _cell((text or "").split("\n\n")[0])


def _plain(text: str | None) -> str:
    return re.sub(r"([<>*$])", r"\\\1", (text or "").split("\b")[0]).strip() + "\n"


def experiment_page() -> str:
    """Keys of an experiment file, from the classes that read it."""
    from vlmcal.experiment.spec import EvaluateSpec, ExperimentSpec
    from vlmcal.training.config import TrainConfig

    parts = [
        "# Experiment files\n\nWhat `vlmcal run FILE.yaml` reads; written from the classes that check it. Every list is an axis: a file describes "
        "one cell or\na grid of them. Any key can be changed on the command line: `vlmcal run FILE.yaml seed=1..5 train.epochs=10`. An unknown "
        "key is an error\nthat names the nearest known one.\n",
        "```yaml\n" + (ROOT / "examples" / "digits_grid.yaml").read_text().strip() + "\n```\n",
    ]
    for kind, heading, what in (
        (ExperimentSpec, "The file", "Top level."),
        (EvaluateSpec, "evaluate", "Under `evaluate:`. Changing it trains nothing anew."),
        (
            TrainConfig,
            "train",
            "Under `train:`. What is left out comes from the recipe of the method.",
        ),
    ):
        told = _attributes(kind)
        rows = [
            f"| `{name}` | {_cell(type_) if type_ else ''} | {default} | {_cell(_roles(told.get(name, '')))} |"
            for name, type_, default in _fields(kind)
        ]
        table = "\n".join(rows)
        parts.append(
            f"## {heading}\n\n{what}\n\n| key | type | default | what |\n|---|---|---|---|\n{table}\n"
        )
    parts.append(
        "## Names\n\nNames of methods, objectives, calibrators, conformal methods and metrics are those of `vlmcal list KIND`; options "
        "stand in a mapping\n(`{name: coop, n_ctx: 4}`) or in parentheses (`coop(n_ctx=4)`). Objectives: "
        "[reference](../objectives/README.md); which goes with which\nmethod: [compatibility](../compatibility.md); training: "
        "[settings](../training.md).\n"
    )
    return "\n".join(parts)


def _fields(kind: Any) -> Iterator[tuple[str, str, str]]:
    if is_dataclass(kind):
        for f in fields(kind):
            default = f.default
            if default is MISSING:
                default = f.default_factory() if f.default_factory is not MISSING else MISSING
            yield f.name, _type(f.type), "needed" if default is MISSING else f"`{default!r}`"
        return
    for name, f in kind.model_fields.items():
        needed = f.is_required()
        value = f.default
        shown = "see below" if hasattr(value, "model_fields") else f"`{value!r}`"
        yield name, _type(f.annotation), "needed" if needed else shown


def _type(annotation: Any) -> str:
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    text = re.sub(r"\btyping\.|\bvlmcal[\w.]*\.", "", text)
    return re.sub(r"Annotated\[(.*?), .*\]$", r"\1", text)


def _attributes(kind: type) -> dict[str, str]:
    """What the docstring says of each attribute."""
    text = inspect.getdoc(kind) or ""
    block = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", text, re.M)
    found: dict[str, str] = {}
    name = ""
    for line in (block[1] if block else "").splitlines():
        if match := re.match(r"    (\w+): (.*)", line):
            name = match[1]
            found[name] = match[2]
        elif name and line.strip():
            found[name] += " " + line.strip()
    return found


def _roles(text: str) -> str:
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")


def api_pages() -> Iterator[tuple[str, str]]:
    """A page for each package with a front door: every name that it exports."""
    listed = []
    for face in sorted(PACKAGE.rglob("__init__.pyi"), key=lambda p: (len(p.parts), p)):
        package = ".".join(face.parent.relative_to(PACKAGE.parent).parts)
        file = package.replace(".", "-")
        listed.append((file, package, len(exports(face))))
        yield f"api/{file}", _api_page(package, face)
    toc = "\n".join(file for file, _, _ in listed)
    rows = "\n".join(f"| [`{package}`]({file}.rst) | {n} |" for file, package, n in listed)
    yield (
        "api/index",
        (
            "# Python names\n\nEvery name of every front door, from the docstrings; their examples run as tests. The guide is "
            f"[From Python](../../python.md).\n\n| package | names |\n|---|---:|\n{rows}\n\n"
            f"```{{toctree}}\n:hidden:\n\n{toc}\n```\n"
        ),
    )


def exports(face: Path) -> list[str]:
    """The names of a front door, in its order."""
    tree = ast.parse(face.read_text())
    names = [
        a.asname for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names if a.asname
    ]
    return list(dict.fromkeys(name for name in names if not name.startswith("_")))


def _api_page(package: str, face: Path) -> str:
    import importlib

    module = importlib.import_module(package)
    title = f"``{package}``"
    lines = [title, "=" * len(title), "", *(inspect.getdoc(module) or "").splitlines(), ""]
    lines += [f".. py:module:: {package}", ""]
    for name in exports(face):
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            continue
        lines += _entry(package, name, thing)
    return "\n".join(lines) + "\n"


def _entry(package: str, name: str, thing: Any) -> list[str]:
    heading = ["", name, "-" * len(name), ""]
    if inspect.isclass(thing):
        body = [f".. py:class:: {name}{_signature(thing)}", f"   :module: {package}", ""]
        body += _indented(_doc(thing))
        for member, value in vars(thing).items():
            own = value.__func__ if isinstance(value, classmethod | staticmethod) else value
            if member.startswith("_") or not inspect.isfunction(own) or not inspect.getdoc(own):
                continue
            body += ["", f"   .. py:method:: {member}{_signature(own)}", ""]
            body += _indented(_doc(own), 6)
    elif callable(thing):
        told = getattr(thing, "function", getattr(thing, "__wrapped__", thing))
        body = [f".. py:function:: {name}{_signature(told)}", f"   :module: {package}", ""]
        body += _indented(_doc(told) or _doc(thing))
        meaning = getattr(thing, "definition", "")
        if meaning:
            body += ["", f"   **Definition.** {_escaped(str(meaning))}"]
    else:
        body = [f".. py:data:: {name}", f"   :module: {package}", ""]
        kind = type(thing).__name__
        what = (
            "Every name of this kind: ``get(name)``, ``names()``, ``items()``, ``register(name)``."
        )
        body += _indented([what if kind == "Registry" else f"A ``{kind}``."])
    return [*heading, *body, ""]


def _signature(thing: Any) -> str:
    try:
        given = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()"
    kept = [
        p.replace(annotation=p.empty, default=p.default if _short(p.default) else ...)
        for p in given.parameters.values()
        if p.name not in ("self", "cls")
    ]
    return str(given.replace(parameters=kept, return_annotation=given.empty))


def _short(value: Any) -> bool:
    return value is inspect.Parameter.empty or isinstance(
        value, str | int | float | bool | tuple | None
    )


def _escaped(text: str) -> str:
    return re.sub(r"([*|`_])", r"\\\1", text)


def _doc(thing: Any) -> list[str]:
    from sphinx.ext.napoleon import Config, GoogleDocstring

    text = inspect.getdoc(thing) or ""
    settings = Config(napoleon_use_ivar=True, napoleon_use_rtype=False)
    return _literal_bars(str(GoogleDocstring(text, settings)).splitlines())


def _literal_bars(lines: list[str]) -> list[str]:
    """Bars and trailing underscores of plain formulas, which mean something else in this markup, as they are."""
    done, deeper, example = [], -1, False
    for line in lines:
        depth = len(line) - len(line.lstrip())
        if line.strip() and depth <= deeper:
            deeper = -1
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if line.lstrip().startswith(".. math::"):
            deeper = depth
        elif deeper < 0 and not example:
            parts = re.split(r"(``.*?``|:\w+:`.*?`)", line)
            parts[::2] = [re.sub(r"\||_(?=[\s,.:;+)-])", r"\\\g<0>", part) for part in parts[::2]]
            line = "".join(parts)
        done.append(line)
    return done


def _indented(lines: list[str], by: int = 3) -> list[str]:
    return [" " * by + line if line.strip() else "" for line in lines]


def more_page(docs: Path) -> str:
    """Pages that stand in no list yet."""
    written = "\n".join(
        p.read_text()
        for p in docs.glob("*.md")
        if p.name in ("index.md", "reference.md", "project.md")
    )
    left = [
        p.stem for p in sorted(docs.glob("*.md")) if not re.search(rf"^{p.stem}$", written, re.M)
    ]
    left = [name for name in left if name != "index"]
    toc = "\n".join(f"../{name}" for name in left)
    if not left:
        return "# More pages\n\nThere are none.\n"
    return f"# More pages\n\n```{{toctree}}\n\n{toc}\n```\n"


def notebook_pages(target: Path) -> Iterator[tuple[str, str]]:
    """Each notebook as it was run; its pictures go beside it."""
    import base64

    import nbformat

    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        parts = []
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type == "markdown":
                parts.append(cell.source)
                continue
            source = cell.source.replace("%matplotlib inline\n", "")
            parts.append(f"```python\n{source}\n```")
            for at, output in enumerate(cell.outputs):
                data = output.get("data", {})
                if "image/png" in data:
                    picture = f"{path.stem}-{number}-{at}.png"
                    (target / "notebooks").mkdir(parents=True, exist_ok=True)
                    (target / "notebooks" / picture).write_bytes(
                        base64.b64decode(data["image/png"])
                    )
                    parts.append(f"![What the cell above draws]({picture})")
                elif text := output.get("text", data.get("text/plain", "")):
                    parts.append(f"```text\n{text.rstrip()}\n```")
        said = f"As it was run; the notebook is `notebooks/{path.name}`."
        head, _, rest = parts[0].partition("\n")
        yield f"notebooks/{path.stem}", "\n\n".join([head, said, rest, *parts[1:]]) + "\n"


def root_page(name: str) -> str:
    """A page of the root of the repository, with its links as they are from ``docs/generated``."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return re.sub(r"\]\((?!https?:|#)([^)\s]+)\)", r"](../../\1)", text)


def write(docs: Path) -> None:
    """All pages into ``docs/generated``; a file whose text stays is left alone."""
    sys.path[:0] = [str(ROOT / "src")]
    target = docs / "generated"
    pages: dict[str, str] = {
        "experiment.md": NOTE + experiment_page(),
        "more.md": NOTE + more_page(docs),
        "gallery.md": NOTE + shown_gallery.page(),
        "architecture.svg": architecture.drawing(PACKAGE),
        "contributing.md": NOTE + root_page("CONTRIBUTING.md"),
        "changelog.md": NOTE + root_page("CHANGELOG.md"),
    }
    pages |= {f"{name}.md": NOTE + text for name, text in command_pages()}
    pages |= {f"{name}.md": NOTE + text for name, text in notebook_pages(target)}
    for name, text in api_pages():
        pages[f"{name}.md" if name.endswith("index") else f"{name}.rst"] = text
    for name, text in pages.items():
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(ROOT / "docs")
