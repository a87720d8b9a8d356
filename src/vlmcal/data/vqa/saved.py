"""Questions that :func:`vlmcal.io.questions.save_questions` wrote."""

from pathlib import Path

from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.layouts import told_by
from vlmcal.errors import DataError
from vlmcal.io.questions import read_questions
from vlmcal.types.question import QuestionSet


@VQA_LAYOUTS.register("saved")
@told_by("format, version, name, definition")
def saved(path: Path, *, split: str | None = None) -> QuestionSet:
    """Questions as they were saved, of one split or all; images are where they were then.

    Raises:
        DataError: The file is damaged, or there is no question of the split.
    """
    questions = read_questions(path)
    if split is None:
        return questions
    kept = [q for q in questions if q.split == split]
    if not kept:
        found = sorted({q.split for q in questions})
        raise DataError(f'{path}: no question of the split "{split}"; the splits are {found}')
    return questions.keep(kept)
