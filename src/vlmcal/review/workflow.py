"""What a reader may see of a case and do next; pure functions of its entries in the log."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from vlmcal.errors import DataError, SpecError, nearest
from vlmcal.review.case import Case
from vlmcal.review.evidence import Evidence, in_words
from vlmcal.review.log import Event
from vlmcal.review.policy import FEWEST, Policy, set_words, worded

ADJUDICATION: Final = "adjudication"
CANNOT_TELL: Final = "cannot tell"
WHY: Final = (
    "image quality",
    "other findings",
    "model plausible but wrong",
    "clinical context",
    "other",
)
"""Codes of a reason, for a list."""
NO_DEVICE: Final = "vlmcal is not a diagnostic device: it records what people decide."


@dataclass(frozen=True)
class State:
    """Where a reader stands with a case.

    Attributes:
        arm: How the case is put to this reader.
        opened: Whether the reader has opened it.
        answer: The reader's answer before seeing the model, or None.
        final: The reader's decision in force, or None.
        revealed: Whether the reader has ever seen the model on this case.
        show_model: Whether the model's output may be in the page now.
        next: What the reader may do next, of "answer", "reveal" and "final".
        undo: ``seq`` of the entry that an undo takes back, or None.
        others: Decisions of the readers who disagree, for the one who adjudicates; else empty.
    """

    arm: str
    opened: bool
    answer: Event | None
    final: Event | None
    revealed: bool
    show_model: bool
    next: tuple[str, ...]
    undo: int | None
    others: tuple[Event, ...] = ()


@dataclass(frozen=True)
class Panel:
    """What is shown of the model, in words and numbers.

    Attributes:
        predicted: Its answer.
        confidence, low, high: Calibrated, with the interval; None where hidden.
        word: The confidence as a word; "" where hidden.
        frequency: The confidence as a natural frequency of local cases; "" where hidden.
        alike: Which local cases these are; "" where hidden or too few.
        classes: Classes with calibrated probabilities, likeliest first; empty where hidden.
        set: Conformal set, likeliest first, or None.
        set_words: What the set says.
        reasons: Codes of the deferral reasons.
        sentences: The same in plain words.
        raw: What the raw model said; without its confidence where numbers are hidden.
        hidden: Why no number is shown; "" where they are.
    """

    predicted: str | None
    confidence: float | None
    low: float | None
    high: float | None
    word: str
    frequency: str
    classes: tuple[tuple[str, float], ...]
    set: tuple[str, ...] | None
    set_words: str
    reasons: tuple[str, ...]
    sentences: tuple[str, ...]
    raw: Mapping[str, Any]
    hidden: str = ""
    alike: str = ""

    def shown(self) -> dict[str, Any]:
        """As an entry of the log has it."""
        return {
            "p": self.confidence,
            "lo": self.low,
            "hi": self.high,
            "set": None if self.set is None else list(self.set),
            "reasons": list(self.reasons),
        }


def panel(case: Case, evidence: Evidence, *, alarm: str = "") -> Panel:
    """What may be shown of the model: numbers only where confidences passed their check on local cases.

    Args:
        case: The case.
        evidence: Of local cases.
        alarm: What the drift alarm says; "" where it is off. It adds the reason r7 and hides the numbers.

    Example:
        >>> found = panel(Case(id="1", classes=("a", "b"), p=(0.9, 0.1), predicted="a", confidence=0.9),
        ...               Evidence(passed=False, why="too high"))
        >>> found.confidence, found.hidden
        (None, 'no number is shown: too high')
    """
    reasons = case.reasons + (("r7",) if alarm else ())
    why = alarm or ("" if evidence.passed else evidence.why)
    known = case.confidence if not why else None
    local = evidence.near(known)
    raw = {k: v for k, v in case.raw.items() if not (why and k in ("confidence", "scores"))}
    return Panel(
        predicted=case.predicted,
        confidence=known,
        low=case.low if known is not None else None,
        high=case.high if known is not None else None,
        word="" if known is None else in_words(known),
        frequency="" if known is None else local.sentence(),
        classes=() if known is None else case.ranked,
        set=case.set,
        set_words=set_words(case),
        reasons=reasons,
        sentences=tuple(worded(code, case) for code in reasons),
        raw=raw,
        hidden=f"no number is shown: {why}" if why else "",
        alike=local.range() if known is not None and local.n >= FEWEST else "",
    )


def in_force(events: Iterable[Event]) -> list[Event]:
    """Answers and decisions that no later undo takes back, in order; other entries are left out."""
    listed = list(events)
    undone = {e.value for e in listed if e.event == "undo"}
    return [e for e in listed if e.event in ("answer", "final") and e.seq not in undone]


def label_of(value: Any) -> str:
    """A decision as text: the class, "cannot tell", or the free text.

    Example:
        >>> label_of("cat"), label_of(None), label_of({"text": "a fox"})
        ('cat', 'cannot tell', 'a fox')
    """
    if value is None:
        return CANNOT_TELL
    return str(value["text"]) if isinstance(value, Mapping) else str(value)


def same(one: Any, other: Any) -> bool:
    """Whether two decisions are the same, apart from case and blanks of free text."""
    return label_of(one).strip().casefold() == label_of(other).strip().casefold()


def finals(events: Sequence[Event]) -> dict[str, Event]:
    """Decision in force of each reader, adjudications left out."""
    return {
        e.user_code: e for e in in_force(events) if e.event == "final" and e.arm != ADJUDICATION
    }


@dataclass(frozen=True)
class Verdict:
    """What the readers of a case came to.

    Attributes:
        status: "open" (readers are missing), "agreed", "disagreed" or "adjudicated".
        value: As in the log; None also where there is none.
        readers: Codes.
    """

    status: Literal["open", "agreed", "disagreed", "adjudicated"]
    value: Any = None
    readers: tuple[str, ...] = ()

    @property
    def settled(self) -> bool:
        """Whether there is a value that stands."""
        return self.status in ("agreed", "adjudicated")


def verdict(events: Sequence[Event], policy: Policy) -> Verdict:
    """What the readers of one case came to.

    Args:
        events: All entries on that case.
        policy: Says how many readers there are.
    """
    own, judged = finals(events), None
    for event in in_force(events):
        judged = event if event.event == "final" and event.arm == ADJUDICATION else judged
    if judged is not None:
        return Verdict("adjudicated", judged.value, (*own, judged.user_code))
    values = [event.value for event in own.values()]
    if len(values) < policy.readers:
        return Verdict("open", None, tuple(own))
    if all(same(value, values[0]) for value in values):
        return Verdict("agreed", values[0], tuple(own))
    return Verdict("disagreed", None, tuple(own))


def state(case: Case, events: Sequence[Event], reader: str, policy: Policy) -> State:
    """What may be shown to this reader and done next.

    In the arm "reader-first" the model stays hidden until the reader has answered, and an answer cannot be
    taken back once the model was seen; in "blind" it is never shown; in "assisted" at once. Where the
    readers of a case disagree, another one adjudicates and sees their decisions and the model.

    Args:
        case: The case.
        events: All entries on it, in order.
        reader: Code of the reader.
        policy: In force.

    Example:
        >>> state(Case(id="1", classes=("a", "b")), [], "r1", Policy(blind_share=0)).next
        ('answer',)
    """
    mine = [e for e in events if e.user_code == reader]
    told = verdict(events, policy)
    judging = any(e.arm == ADJUDICATION for e in mine) or (
        told.status == "disagreed" and reader not in told.readers
    )
    arm = ADJUDICATION if judging else policy.arm(case.id, reader)
    held = in_force(mine)
    answer = next((e for e in reversed(held) if e.event == "answer"), None)
    final = next((e for e in reversed(held) if e.event == "final"), None)
    revealed = any(e.shown is not None for e in mine)
    at_once = arm in ("assisted", ADJUDICATION)
    full = final is None and not judging and len(finals(events)) >= policy.readers
    undo = None if final is None else final.seq
    if final is None and answer is not None and not revealed:
        undo = answer.seq
    return State(
        arm=arm,
        opened=any(e.event == "open" for e in mine),
        answer=answer,
        final=final,
        revealed=revealed,
        show_model=at_once or (arm == "reader-first" and answer is not None and revealed),
        next=() if full else _next(arm, answer, final, revealed),
        undo=undo,
        others=tuple(finals(events).values()) if judging else (),
    )


def _next(arm: str, answer: Event | None, final: Event | None, revealed: bool) -> tuple[str, ...]:
    if final is not None:
        return ()
    if arm in ("assisted", ADJUDICATION):
        return ("final",)
    if answer is None:
        return ("answer",)
    return ("reveal",) if arm == "reader-first" and not revealed else ("final",)


def needs_reason(case: Case, value: Any) -> bool:
    """Whether a decision made with the model in view is an override, or goes against the set."""
    if value is None:
        return False
    if case.predicted is None or not same(value, case.predicted):
        return True
    return case.set is not None and not any(same(value, name) for name in case.set)


def require(case: Case, now: State, event: str, value: Any, reason: Any, confidence: Any) -> None:
    """Refuse what cannot be done next.

    Raises:
        SpecError: Not allowed now, no such class, a reason is missing or not of the list, or another
            confidence than 1 to 5.
    """
    if event == "undo":
        if now.undo is None:
            raise SpecError(
                "undo: there is nothing to take back; an answer stays once the model was seen"
            )
        return
    if event not in ("open", *now.next):
        todo = " or ".join(now.next) or "undo"
        raise SpecError(f'case "{case.id}": "{event}" cannot be done now; next is {todo}')
    if event in ("answer", "final"):
        _require_value(case, value)
    if confidence is not None and confidence not in (1, 2, 3, 4, 5):
        raise SpecError(f"confidence: expected 1 (a guess) to 5 (certain), got {confidence!r}")
    if reason is not None and (
        not isinstance(reason, Mapping)
        or reason.get("code") not in WHY
        or set(reason) - {"code", "text"}
    ):
        raise SpecError(f'reason: expected {{"code", "text"}} with a code of {", ".join(WHY)}')
    if event == "final" and now.show_model and reason is None and needs_reason(case, value):
        raise SpecError(
            "a reason is needed where a decision overrides the model or goes against its set: "
            + ", ".join(WHY)
        )


def _require_value(case: Case, value: Any) -> None:
    if value is None:
        return
    if isinstance(value, Mapping):
        text = value.get("text")
        if set(value) != {"text"} or not isinstance(text, str) or not text.strip():
            raise SpecError('expected free text as {"text": "..."}, not empty')
        return
    if not isinstance(value, str):
        raise DataError(
            f'expected a class, null for "cannot tell" or {{"text": ...}}, got {value!r}'
        )
    if value not in case.classes and value != case.predicted:
        raise SpecError(f'no class "{value}"; {nearest(value, case.classes)}')
