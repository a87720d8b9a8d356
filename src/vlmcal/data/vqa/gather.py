"""Making a question set of the rows of a layout: all defective rows said at once, splits, provenance."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from vlmcal.data.rows import Row, WholeFileError, read_rows
from vlmcal.data.splits import known_split
from vlmcal.data.vqa.fields import split_of_name
from vlmcal.data.vqa.layouts import files_of
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, require_known
from vlmcal.types.question import Question, QuestionSet

Defects: TypeAlias = Literal["error", "skip"]
BY_GOLD: Final = "the data name no types; yes_no = the gold is yes or no"
_SHOWN = 5


def rows_of(files: Iterable[Path]) -> Iterator[Row]:
    """The rows of files, in order, each with the split of its file."""
    for file in files:
        split = split_of_name(file.name)
        for row in read_rows(file):
            yield row._replace(split=split)


@dataclass(frozen=True)
class Source:
    """What a layout reads, and which of it is kept.

    Attributes:
        name: Of the data set, which is that of its layout.
        path: Where it is read from.
        pictures: Where its images are looked for.
        split: Keep this split only; None keeps all.
        defects: "error" refuses the set if a row cannot be used, "skip" leaves such rows out and counts
            them in ``provenance["defective_rows"]`` and in the definition.
    """

    name: str
    path: Path
    pictures: Pictures
    split: str | None
    defects: Defects

    def questions(
        self,
        make: Callable[[Row], Question | None],
        means: str | Callable[[Sequence[Question]], str],
        *,
        rows: Iterable[Row] | None = None,
        **provenance: Any,
    ) -> QuestionSet:
        """The questions that ``make`` finds in the rows.

        Args:
            make: From a row to its question; None leaves the row out on purpose (another language).
            means: What the types of the questions mean, before their numbers; or from the questions kept
                to the whole of it.
            rows: Default: those of all files of the layout.
            provenance: Further facts.

        Raises:
            DataError: Rows cannot be used (the first five are shown), or there is no question of the split.
            SpecError: Unknown split or ``defects``.
        """
        if rows is None:
            rows = rows_of(files_of(self.path, self.name))
        require_known(self.defects, ("error", "skip"), "unknown defects")
        wanted = None if self.split is None else known_split(self.split)
        questions, problems = _collect(rows, make)
        if problems and (self.defects == "error" or not questions):
            more = f"\n  ... ({len(problems)} in all)" if len(problems) > _SHOWN else ""
            shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
            raise DataError(
                f"{self.name}: {len(problems)} of {len(questions) + len(problems)} rows cannot be used:"
                f'{shown}{more}\nmend them, or pass defects="skip" to leave them out (their number is '
                "reported)"
            )
        kept = [q for q in questions if wanted in (None, q.split)]
        if not kept:
            counts = dict(Counter(q.split for q in questions))
            raise DataError(
                f'{self.path}: no question of the split "{self.split}"; the splits are {counts}'
            )
        facts: dict[str, Any] = {
            "layout": self.name,
            "path": str(self.path),
            "split": wanted or "all",
            "image_folders": [str(folder) for folder in self.pictures.folders],
            **provenance,
        }
        definition = f"{means}: {counted(kept)}" if isinstance(means, str) else means(kept)
        if problems:
            facts["defective_rows"] = len(problems)
            definition += f"; {len(problems)} defective rows were left out"
        return QuestionSet(
            name=self.name, questions=tuple(kept), definition=definition, provenance=facts
        )


def counted(questions: Sequence[Question]) -> str:
    """How many questions have each answer type, and how many no known answer.

    Example:
        >>> counted([Question(id="1", question="Large?", answer_type="yes_no", gold=("no",))])
        '1 yes_no, 0 choice, 0 open'
    """
    types = Counter(q.answer_type for q in questions)
    unknown = sum(not q.gold for q in questions)
    words = [f"{types[kind]} {kind}" for kind in ("yes_no", "choice", "open")]
    return ", ".join(words) + (f"; {unknown} without a known answer" if unknown else "")


def _collect(
    rows: Iterable[Row], make: Callable[[Row], Question | None]
) -> tuple[list[Question], list[str]]:
    questions: list[Question] = []
    problems: list[str] = []
    seen: dict[str, str] = {}
    for row in rows:
        where = row.where
        try:
            question = make(row)
        except WholeFileError:
            raise
        except DataError as error:
            problems.append(f"{where}: {error}")
            continue
        if question is None:
            continue
        if question.id in seen:
            problems.append(f'{where}: the id "{question.id}" is also that of {seen[question.id]}')
            continue
        seen[question.id] = where.rpartition(": ")[2]
        questions.append(question)
    return questions, problems
