"""From what a form says to what the log records: one choice among classes, words, or "cannot tell"."""

from dataclasses import dataclass
from typing import Any, Final

from vlmcal.errors import SpecError, nearest, require_known
from vlmcal.review.case import Case
from vlmcal.review.workflow import WHY, State, label_of, needs_reason, same

FEW_CLASSES: Final = 12  # up to so many a button each; more are searched in a list
KEYS: Final = 9
STEPS: Final = ("a guess", "unsure", "fairly sure", "sure", "certain")


@dataclass(frozen=True)
class Option:
    """One way to decide.

    Attributes:
        choice: What the form sends.
        label: What the person reads.
        key: Key that chooses it; "" for none.
        reason: Whether a reason must be given with it.
    """

    choice: str
    label: str
    key: str
    reason: bool = False


def listed(case: Case) -> bool:
    """Whether the classes are too many for buttons."""
    return len(case.classes) > FEW_CLASSES


def key_of(case: Case, value: Any) -> str:
    """Key of a class, "1" to "9", or ""."""
    if listed(case) or value not in case.classes:
        return ""
    place = case.classes.index(value) + 1
    return str(place) if place <= KEYS else ""


def answers(case: Case) -> list[Option]:
    """A button for each class."""
    return [Option(f"c{i}", name, key_of(case, name)) for i, name in enumerate(case.classes)]


def decisions(case: Case, state: State) -> list[Option]:
    """What a final decision can be, apart from changing to something else and "cannot tell"."""
    found = []
    if state.others:
        for number, other in enumerate(state.others):
            if not any(same(other.value, before.value) for before in state.others[:number]):
                found.append(_option(case, state, f"other{number}", "Readers", other.value))
    elif state.answer is not None and state.answer.value is not None:
        mine = state.answer.value
        if state.show_model and case.predicted is not None and same(mine, case.predicted):
            return [_option(case, state, "mine", "Keep mine, which is also the model's", mine)]
        found.append(_option(case, state, "mine", "Keep mine", mine))
    agreed = any(same(other.value, case.predicted) for other in state.others)
    if state.show_model and case.predicted is not None and not agreed:
        found.append(_option(case, state, "model", "Take the model's", case.predicted))
    return found


def _option(case: Case, state: State, choice: str, what: str, value: Any) -> Option:
    if choice.startswith("other"):
        who = [str(i) for i, other in enumerate(state.others, 1) if same(other.value, value)]
        who += ["the model"] if case.predicted is not None and same(value, case.predicted) else []
        what = f"Reader {' and '.join(who)}"
    reason = state.show_model and needs_reason(case, value)
    return Option(choice, f"{what}: {label_of(value)}", key_of(case, value), reason)


def chosen(case: Case, state: State, choice: str, pick: str = "", text: str = "") -> Any:
    """What is recorded: a class, None for "cannot tell", or ``{"text": ...}``.

    Args:
        case: The case.
        state: Where the reader stands with it.
        choice: "c0", "c1" ... (a class), "mine", "model", "other0" ..., "change" (what ``pick`` or ``text``
            says), "text" (what ``text`` says) or "unsure".
        pick: Number of a class, from 0.
        text: Name of a class, or other words.

    Raises:
        SpecError: Nothing was chosen, or what is named is not there.

    Example:
        >>> case = Case(id="1", classes=("cat", "dog"))
        >>> state = State("blind", True, None, None, False, False, ("answer",), None)
        >>> chosen(case, state, "c1"), chosen(case, state, "unsure"), chosen(case, state, "text", text="fox")
        ('dog', None, {'text': 'fox'})
    """
    if choice == "unsure":
        return None
    if choice == "mine" and state.answer is not None:
        return state.answer.value
    if choice == "model" and state.show_model and case.predicted is not None:
        return case.predicted
    if choice.startswith("other") and choice[5:].isdigit() and int(choice[5:]) < len(state.others):
        return state.others[int(choice[5:])].value
    if choice.startswith("c") and choice[1:].isdigit():
        return _class(case, choice[1:])
    if choice == "change" and pick.isdigit():
        return _class(case, pick)
    if choice in ("change", "text"):
        return _named(case, text, free=not listed(case) or choice == "change")
    raise SpecError('nothing was chosen; choose an answer, or "Cannot tell"')


def reason(code: str, text: str) -> dict[str, str] | None:
    """A reason as the log has it; words alone are one, too.

    Raises:
        SpecError: Not of the list.

    Example:
        >>> reason("image quality", " blurred "), reason("", "")
        ({'code': 'image quality', 'text': 'blurred'}, None)
    """
    words = text.strip()
    if not code and not words:
        return None
    if code:
        require_known(code, WHY, "no reason")
    return {"code": code or WHY[-1], **({"text": words} if words else {})}


def sure(step: str) -> int | None:
    """Own confidence, 1 to 5, or None."""
    return int(step) if step in ("1", "2", "3", "4", "5") else None


def seconds(opened: str, now: float) -> float | None:
    """Since the page was made; None where the form does not say it."""
    try:
        passed = now - float(opened)
    except ValueError:
        return None
    return round(passed, 1) if 0 <= passed < 86_400 else None


def _class(case: Case, number: str) -> str:
    if int(number) >= len(case.classes):
        raise SpecError(f"no class {number}; there are {len(case.classes)}")
    return case.classes[int(number)]


def _named(case: Case, text: str, *, free: bool) -> Any:
    words = text.strip()
    if not words:
        raise SpecError("nothing is named; write the answer, or choose “Cannot tell”")
    matching = [name for name in case.classes if same(name, words)]
    if matching:
        return matching[0]
    if case.classes and not free:
        raise SpecError(f'no class "{words}"; {nearest(words, case.classes)}')
    return {"text": words}
