"""What was read out of a model's responses to one question: an answer, a confidence, or why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

AnswerStatus = Literal["answered", "refused", "empty", "failed", "unparsed", "cut"]
ConfidenceStatus = Literal["given", "missing", "unparsed", "unsupported", "failed", "cut"]


@dataclass(frozen=True)
class Signal:
    """Range and direction of a number that an elicitor reports beside its confidence.

    Attributes:
        low, high: Bounds of its values; None where there is none.
        higher_is_better: True when a larger value speaks for the answer, False when against it, None when
            it says nothing about the answer.
        meaning: In one sentence.
    """

    meaning: str
    low: float | None = 0.0
    high: float | None = 1.0
    higher_is_better: bool | None = True


@dataclass(frozen=True, kw_only=True)
class Reading:
    """An answer and how sure the model is of it; what could not be read is a state, never a value.

    Attributes:
        status: "answered", or why there is no answer: "refused", "empty", "failed" (no response),
            "unparsed", "cut" (at the longest length that the server allowed, before the answer was whole).
        answer: "yes", "no", the text of an option, or free text; None unless answered.
        confidence: That the answer is right, in [0, 1], higher is surer; None unless given.
        confidence_status: "given", or why there is none: "missing" (not stated), "unparsed", "unsupported"
            (the server gives no log-probabilities), "failed" (no response), "cut" (the reply ended in it).
        signals: Further numbers by name, as the elicitor declares them.
        note: What a reader should know about this row.
    """

    status: AnswerStatus
    answer: str | None = None
    confidence: float | None = None
    confidence_status: ConfidenceStatus = "missing"
    signals: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def __post_init__(self) -> None:
        # Elicitors are plug-ins; a wrong combination here is a defect of theirs, not a user's mistake.
        assert (self.status == "answered") == (self.answer is not None), self
        assert (self.confidence_status == "given") == (self.confidence is not None), self
        assert self.confidence is None or 0.0 <= self.confidence <= 1.0, self

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON data, without what is empty."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["signals"] = dict(self.signals)
        return {name: value for name, value in plain.items() if value not in ("", None, {})}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Reading":
        """Back from :meth:`to_dict`.

        Example:
            >>> was = Reading(status="answered", answer="no", confidence=0.9, confidence_status="given")
            >>> Reading.from_dict(was.to_dict()) == was
            True
        """
        return cls(**{name: plain[name] for name in cls.__dataclass_fields__ if name in plain})
