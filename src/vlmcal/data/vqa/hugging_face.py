"""Parquet files of Hugging Face with columns image, question and answer and no types."""

from collections.abc import Sequence
from pathlib import Path

from vlmcal.data.rows import Row
from vlmcal.data.vqa.fields import by_gold, needed
from vlmcal.data.vqa.gather import BY_GOLD, Defects, Source, rows_of
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError
from vlmcal.types.question import Question, QuestionSet


def embedded_questions(
    name: str,
    path: Path,
    files: Sequence[Path],
    *,
    images: Path | None,
    split: str | None,
    defects: Defects,
    usual: Sequence[str] = (".",),
    licence: str = "CC0 1.0",
) -> QuestionSet:
    """Questions of ``files``; images are written into ``images``; ids are split and row number.

    Raises:
        DataError: Images lie inside and ``images`` is not given, or rows cannot be used.
    """
    pictures = Pictures(path, images, usual)
    rows_before: dict[str, int] = {}

    def make(row: Row) -> Question:
        # Rows are counted over the files of a split, so that an id does not depend on the sharding.
        number = rows_before[row.split] = rows_before.get(row.split, 0) + 1
        if "image" not in row.cells:
            raise DataError(f'no "image"; the columns are {sorted(row.cells)}')
        answer = by_gold([row.cells.get("answer")])
        place, group = pictures.take(row.cells["image"])
        return Question(
            id=f"{row.split}-{number}",
            question=needed(row.cells, "question"),
            images=(place,),
            **answer._asdict(),
            group=group,
            split=row.split,
        )

    source = Source(name, path, pictures, split, defects)
    facts = {"variant": "Hugging Face", "licence": licence}
    return source.questions(make, BY_GOLD, rows=rows_of(files), **facts)
