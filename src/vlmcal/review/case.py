"""One case that a person decides: what the model said, how sure it may be, and why a person is asked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is known of one case before anybody looks at it; nothing of it is ever changed.

    Attributes:
        id: Distinct, pseudonymous.
        group: Patient or study that it belongs to; its id where nothing is known.
        image: References of its images relative to the root of the source; empty where there are none.
        question: What is asked; "" where a class is to be named.
        classes: Names that can be answered; empty for a question with a free answer.
        p: Calibrated probability of each class, (K,); empty where only one confidence is known.
        predicted: The model's answer; None where it gave none.
        confidence: Calibrated confidence in that answer, in [0, 1]; None where none is known.
        low, high: Ends of the interval of the confidence; None where none is known.
        set: Conformal set, likeliest first; None where no conformal method was asked for.
        reasons: Codes of :data:`vlmcal.review.policy.REASONS` that ask for a person.
        need: Expected cost of acting on the model; higher comes first.
        flags: "critical" and "out-of-distribution", where they hold.
        raw: What the raw model said: ``confidence`` before calibration, ``text`` of its reply, ``scores``
            with their ``kind``, ``status`` of an answer.
        site: Site, modality or kind, for what is watched apart; "".
        reference: Right answer where the source knows it; never shown before a decision.

    Example:
        >>> case = Case(id="7", classes=("a", "b"), p=(0.9, 0.1), predicted="a", confidence=0.9)
        >>> Case.from_json(case.to_json()) == case, case.group
        (True, '7')
    """

    id: str
    group: str = ""
    image: tuple[str, ...] = ()
    question: str = ""
    classes: tuple[str, ...] = ()
    p: tuple[float, ...] = ()
    predicted: str | None = None
    confidence: float | None = None
    low: float | None = None
    high: float | None = None
    set: tuple[str, ...] | None = None
    reasons: tuple[str, ...] = ()
    need: float = 1.0
    flags: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)
    site: str = ""
    reference: str | None = None

    def __post_init__(self) -> None:
        if not self.group:
            object.__setattr__(self, "group", self.id)

    @property
    def ranked(self) -> tuple[tuple[str, float], ...]:
        """Classes with their probabilities, likeliest first."""
        pairs = zip(self.classes, self.p, strict=False)
        return tuple(sorted(pairs, key=lambda pair: -pair[1]))

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(vars(self), ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Back from :meth:`to_json`."""
        plain = json.loads(text)
        lists = ("image", "classes", "p", "set", "reasons", "flags")
        known = cls.__dataclass_fields__
        given: dict[str, Any] = {
            name: tuple(value) if name in lists and value is not None else value
            for name, value in plain.items()
            if name in known
        }
        return cls(**given)
