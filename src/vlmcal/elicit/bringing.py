"""Answers that somebody already has, as a folder like that of :func:`vlmcal.elicit.ask`."""

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vlmcal.elicit.answers import Answer
from vlmcal.elicit.asking import Asked
from vlmcal.elicit.folder import AnswerFolder
from vlmcal.elicit.imported import Columns, import_answers
from vlmcal.elicit.judging import rejudged
from vlmcal.elicit.models.base import ChatModel
from vlmcal.elicit.rows import elicitor_labels
from vlmcal.elicit.sentences import long_answers

# A column in [0, 1] that is read as 0 to 10, or one in [0, 10] that is read as percent, has none above this.
SUSPICIOUS = 0.1


def bring(
    table: str | Path,
    columns: Columns | None = None,
    *,
    folder: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    judge: str | ChatModel = "normalised",
    judge_name: str | None = None,
    kind: str | None = None,
    join: str | Path | None = None,
    on: tuple[str, str] = ("id", "id"),
    loading: Mapping[str, Any] | None = None,
    replace: bool = False,
    command: str = "",
    say: Callable[[str], None] = lambda text: None,
) -> Asked:
    r"""Questions and answers of a table or of another program's log, read and judged.

    Args:
        table: The file; see :func:`vlmcal.elicit.imported.import_answers`.
        columns: Which column holds what; None for columns "answer" and "gold".
        folder: Where they are kept, in place of what the same table said before; None keeps nothing.
        where: Only rows with these values.
        judge: Of open answers: a registered judge, or a model (``http://...``, ``hf:...``).
        judge_name: Name of the judge model on its server.
        kind: Program that wrote the file; None tells it from the records.
        join: A second file with more columns, joined by id.
        on: Columns of the ids in both.
        loading: Further arguments of :func:`vlmcal.elicit.models.load.load_chat_model`, for the judge.
        replace: Also put them in place of what another table said; answers that a model gave when it was
            asked are never replaced.
        command: For ``run.json``.
        say: Called with what a person should know while it runs.

    Raises:
        DataError: The table cannot be used.
        SpecError: An option cannot.
        StoreError: The folder holds something else.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = path.write_text("answer,gold\n是的。,是\n没有,否\n")
        >>> [answer.correct for answer in bring(path).answers]
        [True, True]
    """
    path, columns = Path(table), columns or Columns()
    place = None if folder is None else AnswerFolder(Path(folder))
    if place is not None:
        place.require_ours()
    by_model = not isinstance(judge, str) or ":" in judge
    questions, answers = import_answers(
        path,
        columns,
        where=where,
        judge="normalised" if by_model else str(judge),
        kind=kind,
        join=None if join is None else Path(join),
        on=on,
        images=None if place is None else place.root / "images",
    )
    labels = tuple(elicitor_labels(answers))
    notes = [*_on_confidences(answers, columns), *long_answers(questions, answers)]
    told = ", ".join([f"import:{path.name}", *(f"{k}={v}" for k, v in (where or {}).items())])
    about: dict[str, Any] = {
        "model": told,
        "questions": questions.name,
        "definition": questions.definition,
        "judge": judge if isinstance(judge, str) and columns.correct is None else "given",
        "complete": True,
        "command": command,
    }
    if place is not None and place.rewrite(questions, answers, about, replace=replace):
        say(f"what {folder} held before is replaced")
    if by_model:
        answers = rejudged(
            questions, answers, judge, folder=place, name=judge_name, loading=loading, say=say
        )
    return Asked(
        questions, tuple(answers), labels, place.root if place else None, tuple(notes), about
    )


def _on_confidences(answers: list[Answer], columns: Columns) -> list[str]:
    notes = []
    for label in columns.confidence:
        own = [a.reading for a in answers if a.elicitor == label and a.reading.status == "answered"]
        given = [r.confidence for r in own if r.confidence is not None]
        states = Counter(r.confidence_status for r in own)
        if states["unparsed"]:
            notes.append(
                f'{states["unparsed"]:,} of {len(own):,} confidences in "{label}" cannot be read on the '
                f'scale "{columns.scale}" and are left out: words, or fractions such as 0.9 that may be '
                "90 % or 0.9 %"
            )
        if given and max(given) <= SUSPICIOUS:
            notes.append(
                f'no confidence in "{label}" is above {100 * max(given):g} % as --scale {columns.scale} '
                "reads them; check that this is the scale of the column"
            )
    return notes
