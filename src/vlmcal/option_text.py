"""How a thing and its options are written: the name, and what stands in the parentheses."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from vlmcal.errors import SpecError

_CALL = re.compile(r"\s*([^()=,\s]+)\s*(?:\((.*)\))?\s*", re.DOTALL)
_QUOTED = re.compile(r'"[^"]*"')
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Named(NamedTuple):
    """A thing by name, with the options that were given.

    Attributes:
        name: As registered.
        options: By name; values that were typed as text are :class:`Typed`.
    """

    name: str
    options: dict[str, Any]

    @property
    def label(self) -> str:
        """As it is written: ``"name"``, or ``"name(option=value, ...)"``."""
        given = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.name}({given})" if given else self.name


class Typed(str):
    """A value as it was typed inside parentheses or after ``--option``: its type is the option's."""


def read(spec: str | Mapping[str, Any], what: str, where: str = "") -> Named:
    """The name and the options in any of the three writings.

    Args:
        spec: As for :func:`build`.
        what: What it names, in the singular, for messages.
        where: Where it was written, for messages.

    Raises:
        SpecError: It is written otherwise.

    Example:
        >>> read("raps(penalty=0.1, k_reg=2)", "conformal method")
        Named(name='raps', options={'penalty': '0.1', 'k_reg': '2'})
    """
    place = f"{where}: " if where else ""
    if isinstance(spec, Mapping):
        options = {str(key): value for key, value in spec.items()}
        name = options.pop("name", None)
        if not isinstance(name, str):
            raise SpecError(
                f"{place}{what}: expected a name or {{name: ..., option: value}}, got {dict(spec)}"
            )
        return Named(name, options)
    found = _CALL.fullmatch(spec) if isinstance(spec, str) else None
    if not found:
        raise SpecError(f"{place}{what}: expected name or name(option=value, ...), got {spec!r}")
    name, inside = found.groups()
    return Named(name, dict(pairs(split(inside or ""), f'{place}{what} "{name}": option=value')))


def pairs(texts: Iterable[str], form: str) -> Iterator[tuple[str, Typed]]:
    """``"bins=10"`` as a name and a value, one for each text.

    Args:
        texts: As typed.
        form: What was expected, for the message ("--option KEY=VALUE").

    Raises:
        SpecError: No equals sign, nothing before it, or a name twice.

    Example:
        >>> list(pairs(["bins=10"], "--option KEY=VALUE"))
        [('bins', '10')]
    """
    seen: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise SpecError(f'{form} expected, got "{text}"')
        if name in seen:
            raise SpecError(f'{form}: "{name}" is given twice, as {seen[name]} and as {value}')
        seen[name] = value
        yield name, Typed(value)


def split(text: str, at: str = ",") -> list[str]:
    """The parts between commas (or ``at``) outside of brackets and quotes; empty parts are left out.

    Example:
        >>> split("verbalized, consistency(samples=3, temperature=1), a[1,2]")
        ['verbalized', 'consistency(samples=3, temperature=1)', 'a[1,2]']
    """
    parts, closing, quote = [""], [], ""
    for sign in text:
        if quote:
            quote = "" if sign == quote else quote
        elif sign == '"':
            quote = sign
        elif sign in _CLOSING:
            closing.append(_CLOSING[sign])
        elif closing and sign == closing[-1]:
            closing.pop()
        if sign == at and not closing and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return [part.strip() for part in parts if part.strip()]


def labelled(given: Any) -> dict[str, Any]:
    """Label -> what it names, in the order given: several things as a call in Python names them.

    Args:
        given: One of these or several: ``"name"`` and ``"name(option=value)"``, also with commas,
            ``{"name": ..., option: value}``, or something with a ``name`` that is made already.

    Example:
        >>> list(labelled(["lac, aps", {"name": "raps", "penalty": 0.1}]))
        ['lac', 'aps', 'raps(penalty=0.1)']
    """
    one = isinstance(given, str | Mapping) or not isinstance(given, Iterable)
    found: dict[str, Any] = {}
    for each in [given] if one else given:
        if isinstance(each, str):
            found |= {text: text for text in names(each)}
        elif isinstance(each, Mapping):
            found[read(each, "method").label] = each
        else:
            found[repr(each) if each.name in found else each.name] = each
    return found


def names(texts: str | Iterable[str] | None) -> list[str]:
    """Several names as a command line gives them: repeated, with commas, or both; each once.

    A name that holds a comma itself (a column) stands in double quotes.

    Example:
        >>> names(["lac,aps", "raps(penalty=0.1, k_reg=2)", "aps"])
        ['lac', 'aps', 'raps(penalty=0.1, k_reg=2)']
    """
    given = [texts] if isinstance(texts, str) else texts or ()
    parts = (part for text in given for part in split(text))
    return list(
        dict.fromkeys(part.strip('"') if _QUOTED.fullmatch(part) else part for part in parts)
    )
