"""MMMU: college-level questions with up to seven images (Yue et al., CVPR 2024, arXiv 2311.16502)."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vlmcal.data.rows import Row
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import Answer, by_gold, by_options, listed, needed, text
from vlmcal.data.vqa.gather import Defects, Source
from vlmcal.data.vqa.layouts import told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, require_known
from vlmcal.types.question import Question, QuestionSet

_KINDS: Final = ("subject", "subfield", "topic_difficulty", "question_type")
_TYPES: Final = ("multiple-choice", "open")
_HIDDEN: Final = ("", "?")
_ID: Final = re.compile(r"(?:dev|validation|test)_(\w+?)_\d+")


@VQA_LAYOUTS.register("mmmu")
@told_by("id, question, options, image_1")
def mmmu(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    kind: str = "subject",
    defects: Defects = "error",
) -> QuestionSet:
    """Questions of MMMU: choices with a letter as gold, and some open ones with one or several golds.

    Images are ``image_1``, ``image_2`` ... in order; the marks "<image 1>" stay in the text. The hidden
    answers of the test split ("?") are unknown. The group is the question, as MMMU shares no images.

    Args:
        path: One Parquet (or JSON, JSONL), or the folder of a subject or of all.
        images: Folder that images inside Parquet are written into, once; otherwise the folder of the
            images, by default "images" beside the file, or its folder.
        split: "dev" and "validation" are both "val", as file names and ids say; or "test"; None for all.
        kind: Stratum: "subject" (from the id), "subfield", "topic_difficulty" or "question_type".
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Images lie inside and ``images`` is not given, or rows cannot be used.
        SpecError: Unknown kind or split.
    """
    require_known(kind, _KINDS, "unknown kind")
    pictures = Pictures(path, images, ("images", "."))

    def make(row: Row) -> Question:
        cells = row.cells
        answer = _answer(cells)
        id = needed(cells, "id")
        told = subject[1] if (subject := _ID.fullmatch(id)) else ""
        return Question(
            id=id,
            question=needed(cells, "question"),
            images=tuple(pictures.take(cell)[0] for cell in _images(cells)),
            **answer._asdict(),
            kind=told if kind == "subject" else text(cells.get(kind)),
            group=id,
            split=row.split,
        )

    means = "choice = question_type multiple-choice, the rest by gold"
    source = Source("mmmu", path, pictures, split, defects)
    return source.questions(make, means, kind=kind, licence="Apache-2.0")


def _images(cells: Mapping[str, Any]) -> list[Any]:
    given = [cells.get(f"image_{i}") for i in range(1, 8)]
    found = [c for c in given if c and (not isinstance(c, dict) or c.get("bytes") or c.get("path"))]
    if not found:
        raise DataError('no image; "image_1" is empty')
    return found


def _answer(cells: Mapping[str, Any]) -> Answer:
    kind = text(cells.get("question_type")) or "multiple-choice"
    require_known(kind, _TYPES, "unknown question_type", DataError)
    written = text(cells.get("answer"))
    if kind == "open":
        given = cells.get("answer")
        several = isinstance(given, (list, tuple)) or re.fullmatch(r"\[\s*['\"].*\]", written, re.S)
        gold = listed(given) if several else [written]
        return by_gold(g for g in gold if g not in _HIDDEN)
    options = listed(cells.get("options"))
    if not options:
        raise DataError("a multiple-choice question without options")
    return by_options(options, [] if written in _HIDDEN else [written], letters=True)
