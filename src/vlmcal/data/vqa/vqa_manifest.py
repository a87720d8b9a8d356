"""A table of questions of your own: one row each, in CSV, TSV, JSONL, JSON or Parquet."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_args

from vlmcal.data.rows import Row, WholeFileError
from vlmcal.data.splits import known_split
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import Answer, by_gold, by_options, listed, needed, text
from vlmcal.data.vqa.gather import Defects, Source, counted, rows_of
from vlmcal.data.vqa.layouts import EMBEDDED, files_of, told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, nearest, require_known
from vlmcal.types.question import AnswerType, Question, QuestionSet

_COLUMNS: Final = (
    "image",
    "question",
    "answer",
    "options",
    "type",
    "group",
    "id",
    "split",
    "kind",
    "paraphrases",
)


@VQA_LAYOUTS.register("manifest")
@told_by("image, question", f"{EMBEDDED}, gt_answer, A")
def vqa_manifest(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    ignore: Sequence[str] = (),
    defects: Defects = "error",
) -> QuestionSet:
    r"""Questions of a table.

    Columns: ``image`` (several: "a.png|b.png" or a JSON list) and ``question`` are needed. ``answer`` holds
    one gold, or a list for several; empty is unknown. ``options`` is "a|b|c" or a list; the answer is then
    the text of an option or, where none has that text, a letter. ``type`` is yes_no, choice or open; without
    it, a question with options is a choice, one whose answers are yes or no is yes_no, any other is open.
    ``group`` (patient; default the image), ``id`` (default the row number), ``split``, ``kind`` and
    ``paraphrases`` (a list) are optional.

    Args:
        path: A .csv, .tsv, .jsonl, .json (each also .gz) or .parquet, or a folder of them.
        images: Folder that relative image paths start from; default the folder of the file.
        split: Keep this split only; None keeps all.
        ignore: Columns that are none of the above.
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: A column is missing or unknown (the nearest is named), or rows cannot be used.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = table.write_text("image,question,answer,options\n1.png,Which side?,B,left|right\n")
        >>> [(q.answer_type, q.gold) for q in vqa_manifest(table)]
        [('choice', ('right',))]
    """
    files = files_of(path, "manifest")
    pictures = Pictures(path, images, (".",))
    given: set[str] = set()

    def make(row: Row) -> Question:
        given.update(row.cells)
        _require_columns(row, ignore)
        cells = row.cells
        names = [name for name in listed(cells.get("image")) if name]
        if not names:
            raise DataError('"image" is empty')
        answer = _answer(cells)
        return Question(
            id=text(cells.get("id")) or _number(row, files),
            question=needed(cells, "question"),
            images=tuple(pictures.find(name) for name in names),
            **answer._asdict(),
            kind=text(cells.get("kind")),
            group=text(cells.get("group")) or names[0],
            split=known_split(text(cells.get("split")) or row.split, DataError),
            paraphrases=tuple(p for p in listed(cells.get("paraphrases")) if p),
        )

    def define(kept: Sequence[Question]) -> str:
        source = "column type" if "type" in given else "no column type"
        return (
            f"{source}; where it is empty: choice if there are options, yes_no if the gold is yes or no, "
            f"else open: {counted(kept)}"
        )

    source = Source("manifest", path, pictures, split, defects)
    found = source.questions(make, define, rows=rows_of(files))
    return replace(found, name=path.name.split(".")[0])


def _require_columns(row: Row, ignore: Sequence[str]) -> None:
    # A missing or misspelt column concerns the whole file, so it is no defect of a row to be skipped.
    unknown = [c for c in row.cells if c not in _COLUMNS and c not in ignore]
    missing = [c for c in ("image", "question") if c not in row.cells]
    if missing:
        raise WholeFileError(f'no column "{missing[0]}"; {nearest(missing[0], row.cells)}')
    if unknown:
        raise WholeFileError(
            f'unknown column "{unknown[0]}"; {nearest(unknown[0], _COLUMNS)} Or pass '
            f'ignore=["{unknown[0]}"]'
        )


def _number(row: Row, files: Sequence[Path]) -> str:
    number = str(row.number)
    return number if len(files) == 1 else f"{row.where.rpartition(': ')[0]}-{number}"


def _answer(cells: Mapping[str, Any]) -> Answer:
    options = listed(cells.get("options"))
    written = cells.get("answer")
    several = isinstance(written, (list, tuple)) or text(written).startswith("[")
    gold = listed(written) if several else [text(written)]
    found = by_options(options, gold) if options else by_gold(gold)
    asked = text(cells.get("type"))
    if not asked or asked == found.answer_type:
        return found
    return _as_asked(asked, found, gold)


def _as_asked(asked: str, found: Answer, gold: Sequence[str]) -> Answer:
    types: tuple[AnswerType, ...] = get_args(AnswerType)
    require_known(asked, types, "unknown type", DataError)
    if asked == "open" and not found.options:
        return Answer("open", tuple(g for g in map(text, gold) if g))
    if asked == "yes_no" and not found.gold and not found.options:
        return Answer("yes_no", ())
    raise DataError(
        f'type is "{asked}", but the row has answers {list(gold)} and options {list(found.options)}'
    )
