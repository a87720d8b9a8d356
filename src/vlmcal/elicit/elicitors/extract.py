"""Structured extraction: all fields of a form in one reply, each with a stated confidence."""

from collections.abc import Mapping
from typing import Any, Literal

from vlmcal.elicit.ask import read_answer
from vlmcal.elicit.base import ELICITORS, Elicitor, Plan
from vlmcal.elicit.elicitors.verbalized import SCALES
from vlmcal.elicit.parse.record import Filled, read_field
from vlmcal.elicit.prompts import SYSTEM
from vlmcal.types.chat import ImageRef, Message, Request, Response
from vlmcal.types.form import FormField
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading

_EACH = 64  # letters of JSON around a value, and the value, in tokens


@ELICITORS.register("extract")
class Extract(Elicitor):
    """Ask for a whole form as JSON, with how likely each value is to be right.

    The fields of a form are questions of their own that share one request: every image is asked about once,
    and each field has its answer, confidence, verdict and calibration.

    Attributes:
        style: How confidences are stated: "percent" (0 to 100), "unit" (0 to 1) or "ten" (0 to 10).

    Source: stated confidence after Tian et al., "Just Ask for Calibration", EMNLP 2023, arXiv 2305.14975,
    for each field.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> form = tuple(f.to_text() for f in (FormField("side", "text"), FormField("mass", "yes_no")))
        >>> mass = Question(id="1:mass", question="Mass?", answer_type="yes_no", form=form, field="mass")
        >>> text = '{"side": {"value": "left", "confidence": 90}, "mass": {"value": true, "confidence": 70}}'
        >>> reading = play(Extract().plan(mass), lambda request: Response(text=text))
        >>> reading.answer, reading.confidence
        ('yes', 0.7)
    """

    style: Literal["percent", "unit", "ten"] = "percent"

    def calls(self, question: Question) -> int:
        """One for a form, which is counted at its first field."""
        first = FormField.from_text(question.form[0]).name if question.form else ""
        return int(question.field == first)

    def skips(self, question: Question) -> str:
        """Only fields of forms are extracted."""
        return "" if question.form else "the question is no field of a form"

    def plan(self, question: Question) -> Plan:
        """One request for all fields; this one's is read."""
        (response,) = yield [self.request(question)]
        (status, answer, note), confidence, state = self.read(response, question)
        if answer is None:
            confidence, state = None, status if status in ("failed", "cut") else "missing"
        return Reading(
            status=status,
            answer=answer,
            confidence=confidence,
            confidence_status=state,
            note=note,
        )

    def request(self, question: Question) -> Request:
        """The request, the same for every field of the form."""
        form = [FormField.from_text(told) for told in question.form]
        lines = "\n".join(f"- {field.name}: {_wanted(field)}" for field in form)
        example = f'{{"{form[0].name}": {{"value": ..., "confidence": ...}}, ...}}'
        text = (
            f"Fill in this form about what the image shows:\n{lines}\n\nReply with nothing but one JSON "
            f"object that has these names as its keys: {example}. Each confidence states "
            f"{SCALES[self.style].format('its value')}."
        )
        images = tuple(ImageRef(path) for path in question.images)
        return Request(
            messages=(Message("system", SYSTEM), Message("user", text, images)),
            max_tokens=64 + _EACH * len(form),
            schema=schema_of(form),
        )

    def read(self, response: Response, question: Question) -> Filled:
        """Value and confidence of the question's field in a response to :meth:`request`."""
        if response.status != "ok":
            parsed = read_answer(response, question)
            return Filled(parsed, None, "failed" if parsed.status == "failed" else "missing")
        return read_field(response.text, question, self.style, cut=response.cut)


def _wanted(field: FormField) -> str:
    kinds = {
        "yes_no": "true or false",
        "choice": "one of: " + "; ".join(field.options),
        "number": f"a number{f', in {field.unit}' if field.unit else ''}",
        "list": "a list of "
        + ("any of: " + "; ".join(field.options) if field.options else "texts"),
        "text": "one word or a short phrase",
    }
    about = f" ({field.about})" if field.about else ""
    return f"{kinds[field.kind]}{', or null if there is none' if field.absent else ''}{about}"


def schema_of(form: list[FormField]) -> Mapping[str, Any]:
    """JSON schema of the reply, for servers that hold replies to one.

    Example:
        >>> schema_of([FormField("mass", "yes_no")])["properties"]["mass"]["properties"]["value"]
        {'type': 'boolean'}
    """
    properties: dict[str, Any] = {}
    for field in form:
        kinds: dict[str, dict[str, Any]] = {
            "yes_no": {"type": "boolean"},
            "choice": {"type": "string", "enum": list(field.options)},
            "number": {"type": "number"},
            "list": {"type": "array", "items": {"type": "string"}},
            "text": {"type": "string"},
        }
        value = kinds[field.kind]
        if field.kind == "list" and field.options:
            value["items"] = {"type": "string", "enum": list(field.options)}
        if field.absent:
            value = {"anyOf": [value, {"type": "null"}]}
        properties[field.name] = _closed({"value": value, "confidence": {"type": "number"}})
    return _closed(properties)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
