"""What asks for a person, and how it is asked: the policy of a review, from a YAML or JSON file."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import Field

from vlmcal.errors import SpecError
from vlmcal.hashing import digest
from vlmcal.io.unicode_text import read_text
from vlmcal.io.yaml_text import read_yaml
from vlmcal.options import call
from vlmcal.review.case import Case
from vlmcal.types.limits import Fraction

Mode = Literal["reader-first", "assisted", "blind"]
OodScore = Literal["energy", "max_logit", "max_probability"]
FEWEST: Final = 30
"""Local cases below which nothing is said about a confidence or a subgroup."""

REASONS: Final[Mapping[str, str]] = {
    "r1": "confidence below the threshold chosen for the target risk",
    "r2": "the set has more than one class or is empty",
    "r3": "the set mixes critical and benign classes",
    "r4": "the interval of the confidence is wide",
    "r5": "the image is unlike those the model was checked on (out of distribution)",
    "r6": "no evidence for this subgroup",
    "r7": "a drift alarm is on",
}
"""Deferral reasons by code; :func:`worded` says each for a case."""


@dataclass(frozen=True)
class Automation:
    """What must be stated before cases are decided without a person.

    Attributes:
        target: Share of wrong answers among them that is accepted.
        alpha: Chance that it is exceeded after all.
        date: Day of the decision, YYYY-MM-DD.
        responsible: Name of the person who answers for it.

    Raises:
        SpecError: Something is missing or impossible.
    """

    target: Fraction
    alpha: Fraction
    date: str
    responsible: str

    def __post_init__(self) -> None:
        try:
            date.fromisoformat(self.date)
        except ValueError as error:
            raise SpecError(
                f"policy: automation.date: expected YYYY-MM-DD, got {self.date!r}"
            ) from error
        if not self.responsible.strip():
            raise SpecError(
                "policy: automation.responsible: expected the name of a person, got none"
            )


@dataclass(frozen=True)
class Policy:
    """What is deferred to a person, who sees what, and whether anything is decided without one.

    Attributes:
        threshold: Confidence below which a person is asked (r1).
        target_risk: Share of wrong answers above the threshold that is not exceeded; the threshold is then
            chosen on the held-out rows. Default 0.1 where there are any and no threshold is stated.
        delta: Chance, over the held-out rows, that the target is exceeded after all.
        costs: ``{action: {truth: cost}}``; what is not named costs 0 where they agree, else 1.
        critical: Classes that must not be missed.
        width: Widest interval of a confidence that is acted on (r4); None for no limit.
        ood: Score by which images are told that are unlike the held-out ones (r5); None for none.
        ood_quantile: Share of the held-out rows that is not flagged.
        mode: "reader-first" (the reader answers before the model is shown), "assisted" or "blind".
        blind_share: Share of cases that never show the model, to measure the unaided reader.
        readers: Readers of each case; 2 for double reading with adjudication.
        automation: None keeps every case in the queue.
        seed: Of the draw of the blind cases.

    Raises:
        SpecError: A value is out of range, or threshold and target are both given.

    Example:
        >>> Policy(mode="assisted", blind_share=0.0).arm("case 1", "r1")
        'assisted'
    """

    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    target_risk: Fraction | None = None
    delta: Fraction = 0.1
    costs: Mapping[str, Mapping[str, Annotated[float, Field(ge=0)]]] = field(default_factory=dict)
    critical: tuple[str, ...] = ()
    width: Annotated[float, Field(gt=0, le=1)] | None = None
    ood: OodScore | None = None
    ood_quantile: Fraction = 0.95
    mode: Mode = "reader-first"
    blind_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    readers: Annotated[int, Field(ge=1, le=10)] = 1
    automation: Automation | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.threshold is not None and self.target_risk is not None:
            raise SpecError(
                "policy: threshold and target_risk exclude each other; give one of them"
            )
        if self.automation is not None and self.threshold is None and self.target_risk is None:
            raise SpecError(
                "policy: automation needs target_risk (or a threshold): which cases are decided without a "
                "person must be stated"
            )

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Self:
        """From plain data, each value checked.

        Raises:
            SpecError: No such field (with the nearest one), a value of another type or out of range, or
                automation without target, alpha, date and responsible person.

        Example:
            >>> Policy.from_dict({"automation": {"target": 0.05, "alpha": 0.1}, "threshold": 0.9})
            Traceback (most recent call last):
            ...
            vlmcal.errors.SpecError: policy: automation needs target, alpha, date and responsible; ...
        """
        given = dict(plain)
        told = given.get("automation")
        if told is not None and not isinstance(told, Automation):
            if not isinstance(told, Mapping):
                raise SpecError(f"policy: automation: expected a mapping, got {told!r}")
            absent = [n for n in ("target", "alpha", "date", "responsible") if told.get(n) is None]
            if absent:
                raise SpecError(
                    "policy: automation needs target, alpha, date and responsible; missing: "
                    f"{', '.join(absent)}. Without them every case is shown to a person"
                )
            day = {"date": str(told["date"])}  # YAML makes a date of it
            given["automation"] = call(Automation, "policy: automation", {**told, **day})
        return call(cls, "policy", given)

    @classmethod
    def load(cls, path: Path) -> Self:
        """From a YAML or JSON file.

        Raises:
            SpecError: As :meth:`from_dict`, or the file is no mapping.
        """
        try:
            plain = read_yaml(read_text(path))
        except yaml.YAMLError as error:
            raise SpecError(f"{path}: not readable as YAML or JSON ({error})") from error
        except OSError as error:
            raise SpecError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
        if plain is None:
            return cls()
        if not isinstance(plain, Mapping):
            raise SpecError(f"{path}: expected a mapping such as `mode: reader-first`")
        try:
            return cls.from_dict({str(name): value for name, value in plain.items()})
        except SpecError as error:
            raise SpecError(f"{path}: {error}") from error

    def to_dict(self) -> dict[str, Any]:
        """Plain data, which :meth:`from_dict` takes."""
        return asdict(self)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the policy, as every entry of the log has it."""
        return digest(self.to_dict())

    def arm(self, case: str, reader: str) -> str:
        """How a case is put to a reader: the same whenever it is asked, as if drawn with the seed.

        Args:
            case: Id.
            reader: Code.
        """
        if self.mode == "blind":
            return "blind"
        drawn = hashlib.sha256(f"{self.seed}\0{case}\0{reader}".encode()).digest()[:8]
        return "blind" if int.from_bytes(drawn, "big") < self.blind_share * 2**64 else self.mode


def worded(code: str, case: Case) -> str:
    """A deferral reason in plain words, for this case.

    Example:
        >>> worded("r2", Case(id="1", classes=("a", "b", "c"), set=()))
        'no class fits well enough: the set is empty'
        >>> worded("r2", Case(id="1", classes=("a", "b", "c"), set=("a", "b", "c")))
        'nothing can be ruled out: the set holds all 3 classes'
        >>> worded("r2", Case(id="1", classes=("a", "b", "c"), set=("a", "b")))
        'more than one class is possible: the set holds 2'
    """
    if code == "r1" and case.confidence is None:
        return "the model gave no answer with a confidence"
    if code == "r2" and case.set is not None:
        return set_words(case)
    if code == "r6" and case.site:
        return (
            f'no evidence for the subgroup "{case.site}": too few local cases, or its check failed'
        )
    return REASONS[code]


def set_words(case: Case) -> str:
    """What the conformal set says, in plain words; empty, single, several and all are told apart."""
    if case.set is None:
        return ""
    size = len(case.set)
    if size == 0:
        return "no class fits well enough: the set is empty"
    if size == 1:
        return "one class is possible: the set holds it alone"
    if size == len(case.classes):
        return f"nothing can be ruled out: the set holds all {size} classes"
    return f"more than one class is possible: the set holds {size}"
