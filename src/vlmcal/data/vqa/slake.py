"""SLAKE: bilingual questions about radiographs, CT and MRI (Liu et al., ISBI 2021, arXiv 2102.09542)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from vlmcal.data.rows import Row
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import by_gold, needed, text
from vlmcal.data.vqa.gather import Defects, Source, counted
from vlmcal.data.vqa.layouts import told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import require_known
from vlmcal.types.question import Question, QuestionSet

_KINDS: Final = ("answer_type", "content_type", "base_type", "modality", "location")
_LANGUAGES: Final = ("en", "zh", "all")


@VQA_LAYOUTS.register("slake")
@told_by("img_name, q_lang, question, answer")
def slake(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    language: str = "en",
    kind: str = "answer_type",
    defects: Defects = "error",
) -> QuestionSet:
    """Questions of SLAKE in one language.

    A question is "yes_no" if its answer is "yes" or "no", else "open" (the data hold no list of options);
    the kind keeps CLOSED and OPEN. Chinese answers are never taken for yes or no. The group is the image.

    Args:
        path: A JSON (or .json.gz), or the folder with train.json, validate.json and test.json.
        images: Folder of the images; default "imgs" beside the file, or its folder.
        split: "train", "val" or "test", told from the file name; None for all.
        language: "en", "zh" or "all".
        kind: Stratum: "answer_type", "content_type", "base_type", "modality" or "location".
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Rows cannot be used.
        SpecError: Unknown language, kind or split.
    """
    require_known(language, _LANGUAGES, "unknown language")
    require_known(kind, _KINDS, "unknown kind")
    pictures = Pictures(path, images, ("imgs", "."))
    closed: set[str] = set()

    def make(row: Row) -> Question | None:
        cells = row.cells
        if language not in ("all", needed(cells, "q_lang")):
            return None
        # qid counts from 0 in each file.
        id = f"{row.split}-{text(cells.get('qid')) or row.number}"
        if text(cells.get("answer_type")).upper() == "CLOSED":
            closed.add(id)
        answer = by_gold([cells.get("answer")])
        name = needed(cells, "img_name")
        return Question(
            id=id,
            question=needed(cells, "question"),
            images=(pictures.find(name),),
            **answer._asdict(),
            kind=text(cells.get(kind)),
            group=name,
            split=row.split,
        )

    def define(kept: Sequence[Question]) -> str:
        types = [q for q in kept if q.id in closed]
        decided = sum(q.answer_type == "yes_no" for q in types)
        return (
            f"closed = answer_type CLOSED ({len(types)} of {len(kept)}), of which {decided} have a yes/no "
            f"gold; yes_no = the gold is yes or no, whatever the answer_type: {counted(kept)}"
        )

    source = Source("slake", path, pictures, split, defects)
    return source.questions(make, define, language=language, kind=kind, licence="CC BY 4.0")
