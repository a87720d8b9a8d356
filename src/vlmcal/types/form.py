"""Fields of a form that a model fills in about one image, and one spelling for their values."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Literal

from vlmcal.errors import DataError, nearest

FieldKind = Literal["yes_no", "choice", "number", "list", "text"]
# What stands for a value that is not there, where the schema allows null.
ABSENT = "none"
_TRUTH = {"true": "yes", "false": "no", "yes": "yes", "no": "no"}
_NUMBER = re.compile(r"\s*([+-]?(?:\d+(?:[.,]\d+)?|\.\d+)(?:[eE][+-]?\d{1,3})?)\s*(.*?)\s*", re.S)
_READ = "boolean, enum, number, integer, string, array of strings, object"
_DEEPEST = 8


@dataclass(frozen=True)
class FormField:
    """One field.

    Attributes:
        name: As in the schema; fields inside objects with dots ("lesion.size").
        kind: Of its value.
        options: Texts of a choice; of a list, those that it may hold, or none for any.
        about: What it means, in words.
        unit: Of a number, or "".
        absent: Whether there may be no value (null).
    """

    name: str
    kind: FieldKind
    options: tuple[str, ...] = ()
    about: str = ""
    unit: str = ""
    absent: bool = False

    def to_text(self) -> str:
        """As one line of JSON."""
        return json.dumps({k: v for k, v in asdict(self).items() if v}, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> "FormField":
        """Back from :meth:`to_text`.

        Example:
            >>> size = FormField("size", "number", unit="cm")
            >>> FormField.from_text(size.to_text()) == size
            True
        """
        plain = json.loads(text)
        return cls(**{**plain, "options": tuple(plain.get("options", ()))})

    def spelled(self, value: Any) -> str | None:
        """A value in its one spelling; None where it is no value of this field.

        Yes and no for truth values, numbers without zeros at their ends, lists in order and with "; ".

        Example:
            >>> FormField("size", "number", unit="cm").spelled("3,50 cm")
            '3.5'
            >>> FormField("seen", "yes_no").spelled(True), FormField("all", "list").spelled(["b", "a"])
            ('yes', 'a; b')
        """
        if value is None or (isinstance(value, str) and value.strip().lower() == "null"):
            return ABSENT if self.absent and self.kind not in ("yes_no", "choice") else None
        if self.kind == "yes_no":
            return _TRUTH.get(str(value).strip().rstrip(".").lower())
        if self.kind == "list":
            return self._list(value)
        if isinstance(value, (list, dict)):
            return None
        text = str(value).lower() if isinstance(value, bool) else str(value).strip()
        if self.kind == "number":
            return _number(text, self.unit)
        return _option(text, self.options) if self.kind == "choice" else text or None

    def _list(self, value: Any) -> str | None:
        entries = value if isinstance(value, list) else str(value).split(";")
        if any(isinstance(entry, (list, dict)) or entry is None for entry in entries):
            return None
        texts: list[str | None] = [str(entry).strip() for entry in entries]
        if self.options:
            texts = [_option(text or "", self.options) for text in texts if text]
        known = {text for text in texts if text}
        return None if None in texts else "; ".join(sorted(known)) or ABSENT


def _option(text: str, options: tuple[str, ...]) -> str | None:
    fitting = [o for o in options if o == text] or [o for o in options if _plain(o) == _plain(text)]
    return fitting[0] if len(fitting) == 1 else None


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[_\s]+", " ", text.casefold()).split()).rstrip(". ")


def _number(text: str, unit: str) -> str | None:
    found = _NUMBER.fullmatch(text)
    if not found or (found[2] and found[2].casefold() != unit.casefold()):
        return None
    if re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", found[1]):
        return None  # a comma for thousands or for decimals: nobody can tell
    try:
        number = Decimal(found[1].replace(",", "."))
    except InvalidOperation:
        return None
    plain = format(number.normalize(), "f")
    return "0" if number == 0 else plain


def form_of(schema: Mapping[str, Any]) -> tuple[FormField, ...]:
    """The fields of a JSON schema of an object, as pydantic writes them, too.

    Read are boolean, enum, number and integer (with ``unit``, which JSON schema does not know), string,
    arrays of strings or of an enum, and objects of these; ``null`` beside a type allows that there is no
    value; ``description`` is told to the model; ``$ref`` into the same schema.

    Args:
        schema: Decoded JSON.

    Raises:
        DataError: It is no object with properties, or a field is of another type.

    Example:
        >>> form = form_of({"properties": {"side": {"enum": ["left", "right"]}, "seen": {"type": "boolean"}}})
        >>> [(field.name, field.kind) for field in form]
        [('side', 'choice'), ('seen', 'yes_no')]
    """
    form = tuple(_fields(schema, schema, "", 0))
    if not form:
        raise DataError("a schema of a form needs properties, got none")
    return form


def _fields(
    schema: Mapping[str, Any], whole: Mapping[str, Any], prefix: str, depth: int
) -> Iterator[FormField]:
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        raise DataError(
            f"schema{_at(prefix)}: expected an object with properties, got {sorted(schema)}"
        )
    if depth > _DEEPEST:
        raise DataError(
            f"schema{_at(prefix)}: objects inside objects, {depth} deep; does it hold itself?"
        )
    for key, told in properties.items():
        name = f"{prefix}{key}"
        spec, absent = _resolved(told, whole, name)
        if "properties" in spec:
            yield from _fields(spec, whole, f"{name}.", depth + 1)
        else:
            yield _field(name, spec, whole, absent)


def _at(prefix: str) -> str:
    return f', "{prefix[:-1]}"' if prefix else ""


def _resolved(told: Any, whole: Mapping[str, Any], name: str) -> tuple[Mapping[str, Any], bool]:
    """A specification without references and alternatives to null, and whether null is allowed."""
    absent = False
    spec = told
    for _ in range(_DEEPEST):
        if not isinstance(spec, Mapping):
            raise DataError(f'schema, "{name}": expected an object, got {spec!r}')
        outer = {k: v for k, v in spec.items() if k in ("description", "unit")}
        if "$ref" in spec:
            inner: Any = whole
            for part in str(spec["$ref"]).removeprefix("#/").split("/"):
                inner = inner.get(part) if isinstance(inner, Mapping) else None
            if not isinstance(inner, Mapping):
                raise DataError(f'schema, "{name}": there is no {spec["$ref"]} in it')
            spec = {**inner, **outer}
        elif isinstance(spec.get("anyOf"), list) or len(spec.get("allOf") or ()) == 1:
            kinds = [k for k in spec.get("anyOf") or spec["allOf"] if k != {"type": "null"}]
            absent = absent or {"type": "null"} in (spec.get("anyOf") or ())
            if len(kinds) != 1 or not isinstance(kinds[0], Mapping):
                raise DataError(f'schema, "{name}": several types; one and null are read')
            spec = {**kinds[0], **outer}
        else:
            break
    types = spec.get("type")
    if isinstance(types, list):
        rest = [t for t in types if t != "null"]
        absent = absent or len(rest) < len(types)
        spec = {**spec, "type": rest[0] if len(rest) == 1 else types}
    if isinstance(spec.get("enum"), list) and None in spec["enum"]:
        spec, absent = {**spec, "enum": [e for e in spec["enum"] if e is not None]}, True
    return spec, absent


def _field(name: str, spec: Mapping[str, Any], whole: Mapping[str, Any], absent: bool) -> FormField:
    about, unit = str(spec.get("description") or ""), str(spec.get("unit") or "")
    kind = spec.get("type")
    if isinstance(spec.get("enum"), list):
        return FormField(name, "choice", _texts(spec["enum"], name), about, unit, absent)
    if kind == "array":
        items, _ = _resolved(spec.get("items") or {"type": "string"}, whole, f"{name}[]")
        if "enum" not in items and items.get("type") != "string":
            raise DataError(f'schema, "{name}": lists of texts are read, got {dict(items)}')
        return FormField(name, "list", _texts(items.get("enum", ()), name), about, unit, absent)
    kinds: Mapping[str, FieldKind] = {
        "boolean": "yes_no", "number": "number", "integer": "number", "string": "text",
    }  # fmt: skip
    if not isinstance(kind, str) or kind not in kinds:
        hint = nearest(str(kind), kinds)
        raise DataError(f'schema, "{name}": type {kind!r} is not read; {hint}. Read are {_READ}')
    return FormField(name, kinds[kind], (), about, unit, absent)


def _texts(values: Any, name: str) -> tuple[str, ...]:
    texts = tuple(str(value).strip() for value in values)
    if len({_plain(text) for text in texts}) < len(texts) or "" in texts:
        raise DataError(f'schema, "{name}": options that differ are needed, got {list(texts)}')
    return texts
