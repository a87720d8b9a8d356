"""PMC-VQA: four-way questions about figures of articles (Zhang et al., 2023, arXiv 2305.10415)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vlmcal.data.problems import shown
from vlmcal.data.rows import Row
from vlmcal.data.splits import split_alias
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import Answer, by_options, needed, text
from vlmcal.data.vqa.gather import Defects, Source, rows_of
from vlmcal.data.vqa.layouts import files_of, told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError
from vlmcal.types.question import Question, QuestionSet

_CHOICES: Final = ("Choice A", "Choice B", "Choice C", "Choice D")


@VQA_LAYOUTS.register("pmc_vqa")
@told_by("Figure_path, Question, Choice A, Choice B")
def pmc_vqa(
    path: Path, *, images: Path | None = None, split: str | None = None, defects: Defects = "error"
) -> QuestionSet:
    """Questions of one CSV of PMC-VQA; every question is a choice.

    Letters before the choices ("A: ...") are dropped. The gold is ``Answer`` (a text or a letter) and, where
    there is one, ``Answer_label``; the two must agree. Blinded rows have an unknown gold. The group is the
    figure.

    Args:
        path: One CSV (or .csv.gz), such as test_clean.csv, or a folder that holds just one.
        images: Folder of the figures; default "images", "figures" or "images_2" beside the file, or its
            folder.
        split: "train" or "test", from the column ``split`` or else the file name; None for all.
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Several CSV files in the folder (they overlap and differ in their columns), or rows cannot
            be used.
    """
    files = files_of(path, "pmc_vqa")
    if len(files) > 1:
        raise DataError(
            f"{path}: the files of PMC-VQA overlap and are not read together; give one of "
            f"{shown((file.name for file in files), 10)}"
        )
    pictures = Pictures(path, images, ("images", "figures", "images_2", "."))

    def make(row: Row) -> Question:
        cells = row.cells
        answer = _answer(cells)
        name = needed(cells, "Figure_path")
        return Question(
            id=text(cells.get("index")) or str(row.number),
            question=needed(cells, "Question"),
            images=(pictures.find(name),),
            **answer._asdict(),
            group=name,
            split=split_alias(text(cells.get("split"))) or row.split,
        )

    means = "every question is a choice among its options"
    source = Source("pmc_vqa", path, pictures, split, defects)
    return source.questions(make, means, rows=rows_of(files), licence="CC BY-SA")


def _answer(cells: Mapping[str, Any]) -> Answer:
    options = [cells.get(name) for name in _CHOICES]
    label = text(cells.get("Answer_label"))
    written = by_options(options, [text(cells.get("Answer"))])
    if not label:
        return written
    by_label = by_options(options, [label], letters=True)
    if written.gold and written.gold != by_label.gold:
        raise DataError(
            f'Answer is "{written.gold[0]}", but Answer_label {label} is "{by_label.gold[0]}"'
        )
    return by_label
