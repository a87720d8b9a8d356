"""A form as a model filled it in: JSON with a value and a confidence for each field."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from vlmcal.elicit.parse.answers import ParsedAnswer, parse_answer
from vlmcal.elicit.parse.fields import CONFIDENCE_NAMES, json_objects
from vlmcal.elicit.parse.numbers import Scale, parse_confidence
from vlmcal.elicit.parse.plain import plain
from vlmcal.elicit.parse.thoughts import said
from vlmcal.types.form import FormField
from vlmcal.types.question import Question
from vlmcal.types.reading import ConfidenceStatus

_VALUES = ("value", "answer")
_TRAILING = re.compile(r",(?=\s*[}\]])")
_NOTHING = object()


class Filled(NamedTuple):
    """One field of a reply: what was read as its value, and as its confidence."""

    parsed: ParsedAnswer
    confidence: float | None
    status: ConfidenceStatus


def read_field(text: str, question: Question, scale: Scale, *, cut: bool = False) -> Filled:
    r"""The field of ``question`` in a filled-in form.

    Read are ``{"side": {"value": "left", "confidence": 80}}``, ``{"side": "left", "side_confidence": 80}``
    (or ``"confidence": {"side": 80}``), and fields inside objects by their names with dots; also behind
    other words, and inside one outer object. Two different values for a field leave it unread, and so does
    a value that is none of its kind.

    Args:
        text: What the model wrote.
        question: With its form.
        scale: That confidences were asked for on.
        cut: Whether the reply was cut at its longest length.

    Example:
        >>> form = (FormField("size", "number", unit="cm").to_text(),)
        >>> size = Question(id="1:size", question="Size?", form=form, field="size")
        >>> read = read_field('{"size": {"value": 3.50, "confidence": "80%"}}', size, "percent")
        >>> read.parsed.answer, read.confidence
        ('3.5', 0.8)
    """
    field = next(f for f in map(FormField.from_text, question.form) if f.name == question.field)
    if said(text).unfinished:
        return _none("cut", "the reply was cut while the model was thinking")
    found = list(_entries(plain(text), field.name, _known(question)))
    if not found:
        if cut:
            return _none("cut", "the reply was cut before its form was whole")
        parsed = parse_answer(text, question)
        status = parsed.status if parsed.status in ("refused", "empty") else "unparsed"
        return _none(status, parsed.note if status != "unparsed" else "no such field in the reply")
    values = {repr(value) for value, _ in found}
    if len(values) > 1:
        return _none("unparsed", f"different values: {', '.join(sorted(values))[:80]}")
    parsed = _value(found[0][0], field, question)
    stated = {repr(c): c for _, c in found if c is not None}
    if not stated:
        return Filled(parsed, None, "missing")
    read = {parse_confidence(f"confidence: {c}", scale) for c in stated.values()}
    confidence = read.pop() if len(read) == 1 else None
    return Filled(parsed, confidence, "unparsed" if confidence is None else "given")


def _none(status: Any, note: str) -> Filled:
    return Filled(ParsedAnswer(status, None, note), None, "cut" if status == "cut" else "missing")


def _value(value: Any, field: FormField, question: Question) -> ParsedAnswer:
    if isinstance(value, str) and field.kind != "list":
        parsed = parse_answer(value, question)
        if parsed.status in ("refused", "empty") or (
            field.kind == "text" and parsed.answer is None
        ):
            return parsed
    spelled = field.spelled(value)
    if spelled is None:
        return ParsedAnswer("unparsed", None, f"no value of kind {field.kind}: {value!r}"[:100])
    return ParsedAnswer("answered", spelled, "")


def _known(question: Question) -> set[str]:
    names = [FormField.from_text(told).name for told in question.form]
    return {_key(part) for name in names for part in (name, name.partition(".")[0])}


def _key(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.casefold()).strip()


def _entries(text: str, name: str, known: set[str]) -> Iterator[tuple[Any, Any]]:
    """Value and confidence of a field in every object that holds some of the form."""
    objects = [pairs for _, _, pairs in json_objects(text)]
    objects = objects or [pairs for _, _, pairs in json_objects(_TRAILING.sub("", text))]
    for pairs in objects:
        record = _folded(pairs)
        while not known & set(record):
            inside = [v for v in record.values() if hasattr(v, "pairs")]
            if len(inside) != 1:
                break
            record = _folded(inside[0].pairs)
        yield from _of(record, name)


def _folded(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """An object with its keys in one spelling; a key with two values has none that counts."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        key = _key(key)
        found[key] = [found[key], value, {}] if key in found and found[key] != value else value
    return found


def _of(record: Mapping[str, Any], name: str) -> Iterator[tuple[Any, Any]]:
    whole, *path = _key(name), *map(_key, name.split("."))
    if whole in record:
        holder, last = record, whole
    else:
        holder = record
        for part in path[:-1]:
            inner: Any = holder.get(part)
            if not hasattr(inner, "pairs"):
                return
            holder = _folded(inner.pairs)
        last = path[-1]
        if last not in holder:
            return
    value = holder[last]
    if hasattr(value, "pairs"):
        inside = _folded(value.pairs)
        told = next((inside[v] for v in _VALUES if v in inside), _NOTHING)
        if told is not _NOTHING:
            yield told, next((inside[c] for c in CONFIDENCE_NAMES if c in inside), None)
        return
    yield value, _beside(record, holder, name, last)


def _beside(record: Mapping[str, Any], holder: Mapping[str, Any], name: str, last: str) -> Any:
    for word in CONFIDENCE_NAMES:
        if f"{last} {word}" in holder:
            return holder[f"{last} {word}"]
        several: Any = record.get(word) or record.get(f"{word}s")
        if hasattr(several, "pairs"):
            inside = _folded(several.pairs)
            return inside.get(_key(name), inside.get(last))
    return None
