"""VQA-Med 2019, 2020 and 2021: lines with cells separated by | (Ben Abacha et al., CLEF 2019 to 2021)."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from vlmcal.data.problems import shown
from vlmcal.data.rows import Row, text_of
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import by_gold, split_of_name
from vlmcal.data.vqa.gather import BY_GOLD, Defects, Source
from vlmcal.data.vqa.layouts import PIPES, files_of, told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError
from vlmcal.types.question import Question, QuestionSet

_USUAL: Final = ("*[iI]mages*", ".")
_ENDINGS: Final = (".jpg", ".png", ".jpeg")


class _Parts(NamedTuple):
    image: str
    category: str
    question: str
    answers: Sequence[str]


@VQA_LAYOUTS.register("vqa_med")
@told_by(PIPES)
def vqa_med(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    answers: str | Path | None = None,
    defects: Defects = "error",
) -> QuestionSet:
    """Questions of VQA-Med: "image|question|answer", "image|category|question|answer", or two files.

    With two files the questions are "image|question" and the answers "image|answer|answer ...", matched by
    image. Several answers in one cell are separated by "#". A question is "yes_no" if its answers are yes or
    no, else "open". The group is the image; ids are the image and, from its second question on, a number.

    Args:
        path: A .txt, or a folder with one such file or with one of questions and one of answers.
        images: Folder of the images; default any folder beside the file with "images" in its name.
        split: "train", "val" or "test", told from the file name; None for all.
        answers: The file of answers; default: the one in the same folder with "answers" in its name, for
            a file with "questions" in its name and two cells a line.
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: No file of answers, or several; or rows cannot be used.
    """
    questions = _questions_file(path)
    pictures = Pictures(questions, images, _USUAL, _ENDINGS)
    rows = list(_lines(questions))
    read: Callable[[Row], _Parts] = _whole
    if answers is not None or all(len(row.cells["cells"]) == 2 for row in rows):
        file = Path(answers).expanduser() if answers is not None else _answers_beside(questions)
        read = partial(_joined, _answers_in(file), file)
    counts: dict[str, int] = {}

    def make(row: Row) -> Question:
        parts = read(row)
        count = counts[parts.image] = counts.get(parts.image, 0) + 1
        answer = by_gold(parts.answers)
        return Question(
            id=parts.image if count == 1 else f"{parts.image}-{count}",
            question=parts.question,
            images=(pictures.find(parts.image),),
            **answer._asdict(),
            kind=parts.category,
            group=parts.image,
            split=row.split,
        )

    source = Source("vqa_med", path, pictures, split, defects)
    licence = "terms of ImageCLEF, for research"
    return source.questions(make, BY_GOLD, rows=rows, questions=questions.name, licence=licence)


def _questions_file(path: Path) -> Path:
    files = files_of(path, "vqa_med")
    asked = [f for f in files if "answers" not in f.name.lower() or "question" in f.name.lower()]
    if len(asked) != 1:
        raise DataError(
            f"{path}: expected one file of questions in this folder, found "
            f"{shown((f.name for f in asked), 10) or 'none'}; give the file"
        )
    return asked[0]


def _lines(path: Path) -> Iterator[Row]:
    split = split_of_name(path.name)
    with text_of(path) as stream:
        for number, line in enumerate(stream, 1):
            if line.strip():
                cells = {"cells": [cell.strip() for cell in line.split("|")]}
                yield Row(f"{path}: line {number}", number, cells, split)


def _whole(row: Row) -> _Parts:
    cells: Sequence[str] = row.cells["cells"]
    if len(cells) not in (3, 4):
        raise DataError(
            f"expected image|question|answer or image|category|question|answer, got {len(cells)} cells"
        )
    return _Parts(cells[0], cells[1] if len(cells) == 4 else "", cells[-2], cells[-1].split("#"))


def _joined(answers: dict[str, Sequence[str]], file: Path, row: Row) -> _Parts:
    cells: Sequence[str] = row.cells["cells"]
    if len(cells) != 2:
        raise DataError(
            f"expected image|question, as the answers are in {file}, got {len(cells)} cells"
        )
    found = answers.pop(cells[0], None)
    if found is None:
        raise DataError(f'image "{cells[0]}" has no answer in {file}, or is asked about twice')
    return _Parts(cells[0], "", cells[1], found)


def _answers_in(file: Path) -> dict[str, Sequence[str]]:
    if not file.is_file():
        raise DataError(f"{file}: no such file of answers")
    known: dict[str, Sequence[str]] = {}
    for row in _lines(file):
        image, *golds = row.cells["cells"]
        if image in known or not golds:
            why = "is answered twice" if golds else "has no answer"
            raise DataError(f'{row.where}: image "{image}" {why}')
        known[image] = golds
    return known


def _answers_beside(questions: Path) -> Path:
    found = [f for f in sorted(questions.parent.glob("*.txt")) if "answers" in f.name.lower()]
    if len(found) != 1 or found[0] == questions:
        raise DataError(
            f"{questions}: two cells a line (image|question) and no answers; found "
            f"{shown(f.name for f in found) or 'no file with answers in its name'} in its folder; give the "
            "file with answers=FILE (--answers FILE)"
        )
    return found[0]
