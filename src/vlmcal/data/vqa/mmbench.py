"""MMBench and other TSV files of VLMEvalKit: options in columns A, B, ..., images in base64."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vlmcal.data.rows import Row
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import by_gold, by_options, needed, text
from vlmcal.data.vqa.gather import Defects, Source
from vlmcal.data.vqa.layouts import told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError
from vlmcal.types.question import LETTERS, Question, QuestionSet

# A shorter cell is the index of the row that holds the image.
_LONGEST_INDEX: Final = 64


@VQA_LAYOUTS.register("mmbench")
@told_by("index, image, question, A, B")
def mmbench(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    kind: str = "category",
    defects: Defects = "error",
) -> QuestionSet:
    """Questions of one TSV in the form of VLMEvalKit.

    A hint stands before the question. Rows whose image is the index of another row share its image. Copies
    of a question with shifted options (CircularEval) are questions of their own, of the same group.

    Args:
        path: A .tsv, such as MMBench_DEV_EN.tsv, or a folder of such files.
        images: Folder that the images are written into, each once; needed.
        split: Told from the file name; None for all.
        kind: Column of the stratum.
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Rows cannot be used, or there is no folder for the images.

    Source: Liu et al., "MMBench", ECCV 2024, arXiv 2307.06281; the form is that of VLMEvalKit.
    """
    pictures = Pictures(path, images)
    known: dict[str, tuple[str, str]] = {}

    def make(row: Row) -> Question:
        cells = row.cells
        index = needed(cells, "index")
        picture = known[index] = _picture(needed(cells, "image"), known, pictures)
        options = [cells.get(letter) for letter in LETTERS if letter in cells]
        gold = [text(cells.get("answer"))]
        answer = by_options(options, gold) if any(map(text, options)) else by_gold(gold)
        hint = text(cells.get("hint"))
        return Question(
            id=index,
            question=f"{hint}\n{needed(cells, 'question')}".strip(),
            images=(picture[0],),
            **answer._asdict(),
            kind=text(cells.get(kind)),
            group=picture[1],
            split=row.split,
        )

    means = "choice where there are options, else by the gold"
    return Source("mmbench", path, pictures, split, defects).questions(make, means)


def _picture(
    cell: str, known: Mapping[str, tuple[str, str]], pictures: Pictures
) -> tuple[str, str]:
    """Path and name of the image in a cell: base64, or the index of an earlier row."""
    if len(cell) <= _LONGEST_INDEX:
        if cell not in known:
            raise DataError(f'image "{cell}" is neither base64 nor the index of an earlier row')
        return known[cell]
    written: Any = cell.partition("base64,")[2] if cell.startswith("data:") else cell
    try:
        data = base64.b64decode(written, validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"its image is no base64: {error}") from None
    return pictures.take({"bytes": data})
