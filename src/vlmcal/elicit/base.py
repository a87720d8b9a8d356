"""What an elicitor is: a plan of requests that ends in a reading, and knows nothing of any network."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, dataclass_transform

from vlmcal.option_text import labelled, read
from vlmcal.options import build, parameters
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry
from vlmcal.types.chat import Request, Response, Speaker
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading, Signal

# A plan yields the requests that can be sent at the same time, receives their responses in the same order,
# and returns a reading. Played again with stored responses it gives the same reading, so storing,
# resuming and reading anew need no code of their own.
Plan = Generator[Sequence[Request], Sequence[Response], Reading]


@dataclass_transform(frozen_default=True)
@dataclass(frozen=True)
class Elicitor(ABC):
    """A way of asking one question; the fields of the dataclass are its options.

    Attributes:
        name: Registry name.
        signals: Numbers that its readings may carry beside the confidence.
        needs_logprobs: Whether it has no confidence where the server gives no log-probabilities.
        speakers: Which models it asks.
        needs_image: Whether it applies only to questions about an image.
        needs_options: Whether it applies only to questions with options, yes and no among them.
        most_calls: The most requests about a question, where its options do not change that.
    """

    name: ClassVar[str] = ""
    signals: ClassVar[Mapping[str, Signal]] = {}
    needs_logprobs: ClassVar[bool] = False
    speakers: ClassVar[tuple[Speaker, ...]] = ("subject",)
    needs_image: ClassVar[bool] = False
    needs_options: ClassVar[bool] = False
    most_calls: ClassVar[int] = 1

    @abstractmethod
    def plan(self, question: Question) -> Plan:
        """The conversation about one question. Random choices depend on the question's id alone."""

    def calls(self, question: Question) -> int:
        """The most requests that :meth:`plan` can make, for an estimate before anything is sent."""
        return self.most_calls

    def skips(self, question: Question) -> str:
        """Why this elicitor does not apply to ``question``, or ""."""
        if self.needs_options and question.answer_type == "open":
            return "an open question has no options"
        return "the question has no image" if self.needs_image and not question.images else ""

    @property
    def label(self) -> str:
        """Name with the options that differ from the defaults: "consistency(samples=10)"."""
        changed = {f.name: getattr(self, f.name) for f in fields(self)}
        told = [f"{f.name}={changed[f.name]}" for f in fields(self) if changed[f.name] != f.default]
        return f"{self.name}({', '.join(told)})" if told else self.name


ELICITORS: Registry[type[Elicitor]] = Registry(
    "elicitor",
    "vlmcal.elicit.elicitors",
    subclass_of(Elicitor),
    "a subclass of Elicitor",
    made=dataclass(frozen=True),
)

# Names for several elicitors at once.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "interrogate": ("verbalized", "p_true", "consistency", "paraphrase", "perturbation", "expert")
}


def make_elicitor(name: str, options: Mapping[str, Any] | None = None) -> Elicitor:
    """An elicitor by name, as ``"name"`` or ``"name(option=value)"``, with its options.

    Raises:
        SpecError: As :func:`vlmcal.options.build`.
    """
    return build(ELICITORS, name, options)


def parse_elicitors(
    texts: str | Mapping[str, Any] | Iterable[str], common: Mapping[str, Any] | None = None
) -> list[Elicitor]:
    """``"verbalized, consistency(samples=10)"`` as elicitors; names of groups stand for their members.

    Args:
        texts: Names, with commas or one by one; options in parentheses, or one mapping of name and options.
        common: Options for every elicitor that has them and does not set them itself.

    Raises:
        SpecError: As :func:`vlmcal.options.build`.

    Example:
        >>> [e.label for e in parse_elicitors("verbalized(style=words), verbalized", {"samples": 3})]
        ['verbalized(style=words)', 'verbalized']
    """
    elicitors: dict[str, Elicitor] = {}
    for written in labelled(texts).values():
        name, given = read(written, ELICITORS.kind)
        for each in GROUPS.get(name, (name,)):
            known = parameters(ELICITORS.get(each))
            shared = {k: v for k, v in (common or {}).items() if k in known}
            made = make_elicitor(each, {**shared, **given})
            elicitors[made.label] = made
    return list(elicitors.values())


def play(plan: Plan, answer: Callable[[Request], Response]) -> Reading:
    """Run a plan against a function that answers requests, one after the other.

    Example:
        >>> from vlmcal.elicit.elicitors.verbalized import Verbalized
        >>> question = Question(id="1", question="Is there a fracture?", answer_type="yes_no")
        >>> reply = Response(text="Answer: no, Confidence: 80%")
        >>> play(Verbalized().plan(question), lambda request: reply).confidence
        0.8
    """
    try:
        requests = next(plan)
        while True:
            requests = plan.send([answer(request) for request in requests])
    except StopIteration as end:
        reading: Reading = end.value
        return reading
