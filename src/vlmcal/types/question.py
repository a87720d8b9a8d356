"""A question about images, its accepted answers, and sets of them."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from vlmcal.errors import DataError, nearest

AnswerType = Literal["yes_no", "choice", "open"]
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

# Words after which a mirrored or shifted image would have another true answer.
_SIDE = re.compile(
    r"\b(left|right|side|sided|lateral|laterality|ipsilateral|contralateral|upper|lower|superior|"
    r"inferior|anterior|posterior|quadrant|lobe|hemisphere|where|location|located|position)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Question:
    """One visual question.

    Attributes:
        id: Distinct within its set.
        question: What is asked.
        images: Paths of the images it is about, in order.
        answer_type: "yes_no", "choice" (of ``options``) or "open".
        gold: Accepted answers; empty when unknown. "yes" or "no" for yes/no questions, the text of an option
            for choices.
        options: Texts of the options, without letters; option i is called ``LETTERS[i]``.
        kind: Stratum of the data set's own ("CLOSED", "PRES", a modality), or "".
        group: What the question belongs to: patient, or else its image; whole groups stay on one side of a
            split, and intervals resample groups.
        split: Split that the data set names, or "unknown".
        paraphrases: Other wordings of the same question with the same answer.
        foil: Images of another group, for asking with the wrong image.
        form: Where the question is one field of a form: all of its fields, as
            :meth:`vlmcal.types.form.FormField.to_text` writes them.
        field: Name of that field, or "".

    Raises:
        DataError: An answer is not among the options, or a field has no valid value.

    Example:
        >>> q = Question(id="1", question="Which side?", answer_type="choice", options=("left", "right"),
        ...              gold=("right",))
        >>> q.letters, q.gold_letters, q.side_matters
        (('A', 'B'), ('B',), True)
    """

    id: str
    question: str
    images: tuple[str, ...] = ()
    answer_type: AnswerType = "open"
    gold: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    kind: str = ""
    group: str = ""
    split: str = "unknown"
    paraphrases: tuple[str, ...] = ()
    foil: tuple[str, ...] = ()
    form: tuple[str, ...] = ()
    field: str = ""

    def __post_init__(self) -> None:
        where = f'question "{self.id}"'
        if self.answer_type not in get_args(AnswerType):
            hint = nearest(str(self.answer_type), get_args(AnswerType))
            raise DataError(f'{where}: unknown answer type "{self.answer_type}"; {hint}')
        if not self.id or not self.question.strip():
            raise DataError(f"{where}: expected an id and a text, got {self.question!r}")
        if self.answer_type == "yes_no" and not set(self.gold) <= {"yes", "no"}:
            raise DataError(f'{where}: expected the gold answer "yes" or "no", got {self.gold}')
        if (self.answer_type == "choice") != bool(self.options):
            raise DataError(
                f"{where}: a choice needs options and nothing else has them, got {self.options}"
            )
        if len(self.options) > len(LETTERS) or len(set(self.options)) < len(self.options):
            raise DataError(
                f"{where}: expected at most {len(LETTERS)} distinct options, got {self.options}"
            )
        if self.options and not set(self.gold) <= set(self.options):
            raise DataError(f"{where}: the answer {self.gold} is not among {list(self.options)}")
        if not self.group:
            object.__setattr__(self, "group", self.images[0] if self.images else self.id)

    @property
    def letters(self) -> tuple[str, ...]:
        """Letters of the options."""
        return tuple(LETTERS[: len(self.options)])

    @property
    def gold_letters(self) -> tuple[str, ...]:
        """Letters of the accepted options."""
        return tuple(LETTERS[self.options.index(text)] for text in self.gold if self.options)

    @property
    def side_matters(self) -> bool:
        """Whether a word of the question or an option speaks of a side or a place."""
        return bool(_SIDE.search(" ".join((self.question, *self.options))))


@dataclass(frozen=True, kw_only=True, eq=False)
class QuestionSet:
    """Questions with distinct ids, and how "closed" and the like were decided.

    Attributes:
        name: Of the data set.
        questions: In their order.
        definition: What the answer types mean here, in one sentence, for every table made from them.
        provenance: Where they come from, as plain data.

    Raises:
        DataError: No question, or two with the same id.
    """

    name: str
    questions: tuple[Question, ...]
    definition: str = ""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.questions:
            raise DataError(f"{self.name}: there is no question in it")
        seen: set[str] = set()
        for question in self.questions:
            if question.id in seen:
                raise DataError(f'{self.name}: two questions have the id "{question.id}"')
            seen.add(question.id)

    def __len__(self) -> int:
        return len(self.questions)

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)

    def keep(self, questions: Sequence[Question]) -> "QuestionSet":
        """The same set with other questions."""
        return replace(self, questions=tuple(questions))

    def with_foils(self) -> "QuestionSet":
        """Every question with the images of the next group, for asking with the wrong image."""
        first: dict[str, tuple[str, ...]] = {}
        for question in self.questions:
            if question.images:
                first.setdefault(question.group, question.images)
        groups = list(first)
        after = dict(zip(groups, groups[1:] + groups[:1], strict=True)) if len(groups) > 1 else {}
        return self.keep(
            [replace(q, foil=first[after[q.group]]) if q.group in after else q for q in self]
        )

    def missing_images(self) -> list[str]:
        """Paths of images that do not exist, each once."""
        paths = dict.fromkeys(path for question in self for path in question.images)
        return [path for path in paths if not os.path.isfile(path)]
