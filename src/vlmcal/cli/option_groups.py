"""Options that several verbs share, defined once as the fields of a dataclass."""

import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, signature
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

import typer

from vlmcal.errors import SpecError

# What the verb that runs was given, but for what it writes, by name of the parameter.
TYPED: ContextVar[Mapping[str, Any]] = ContextVar("TYPED", default=MappingProxyType({}))


_RESULT = "names_a_result"  # an attribute of an option


def with_option_groups(verb: Callable[..., None]) -> Callable[..., None]:
    """``verb`` with one option for each field of its parameters that are dataclasses.

    A field is written like a parameter of a verb: ``Annotated[kind, typer.Option(...)] = default``. Its
    option stands in the help where the dataclass stands among the parameters.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Page:
        ...     width: int = 80
        >>> @with_option_groups
        ... def show(text: str, *, page: Page) -> None:
        ...     print(text.center(page.width))
        >>> signature(show)
        <Signature (*, text: str, width: int = 80) -> None>
        >>> show(text="4", width=1)
        4
    """
    given = signature(verb, eval_str=True)
    kinds = {name: parameter.annotation for name, parameter in given.parameters.items()}
    groups = {n: k for n, k in kinds.items() if isinstance(k, type) and is_dataclass(k)}
    parameters = []
    for parameter in given.parameters.values():
        if parameter.name not in groups:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))
            continue
        parameters += [
            Parameter(f.name, Parameter.KEYWORD_ONLY, default=_default(f), annotation=f.type)
            for f in fields(groups[parameter.name])
        ]

    defaults = {parameter.name: parameter.default for parameter in parameters}
    results = {
        p.name for p in parameters if any(hasattr(a, _RESULT) for a in get_args(p.annotation))
    }

    @wraps(verb)
    def expanded(**values: Any) -> None:
        _require_said(values, defaults)
        typed = TYPED.set({name: values[name] for name in values.keys() - results})
        try:
            for name, group in groups.items():
                values[name] = group(**{f.name: values.pop(f.name) for f in fields(group)})
            verb(**values)
        finally:
            TYPED.reset(typed)

    expanded.__signature__ = given.replace(parameters=parameters)  # type: ignore[attr-defined]
    return expanded


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default


def opt(help: str, *flags: str, **more: Any) -> Any:
    """An option of a verb: what it is for, its flags where they are not its name, and more as of typer."""
    return typer.Option(*flags, help=help, **more)


def result(help: str, *flags: str) -> Any:
    """An option that names what the verb writes; any other path that it is given is read."""
    made = opt(help, *flags)
    setattr(made, _RESULT, True)
    return made


def written(help: str) -> Any:
    """The option that names the file or folder that a verb makes."""
    return result(help, "--output", "-o")


def arg(help: str, **more: Any) -> Any:
    """An argument of a verb: what it is, and more as of typer."""
    return typer.Argument(help=help, **more)


def _require_said(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
    """Refuse a value that is no text, such as of a variable of the shell that is not set.

    As a path it would read as ".", which is this folder.
    """
    if not any(word == "" or (word[:2] == "--" and word[-1] == "=") for word in sys.argv[1:]):
        return
    for name, value in values.items():
        for each in value if isinstance(value, list) else [value]:
            if each in ("", Path()) and defaults.get(name) != each:
                what = "a path" if isinstance(each, Path) else "a value"
                raise SpecError(
                    f'{name.replace("_", "-")}: expected {what}, got "" (is a variable of the shell empty?)'
                )
