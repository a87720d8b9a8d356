"""VQA-RAD: questions of clinicians about radiographs, CT and MRI (Lau et al., Scientific Data 2018)."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from vlmcal.data.rows import Row
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import by_gold, needed, text
from vlmcal.data.vqa.gather import Defects, Source, counted, rows_of
from vlmcal.data.vqa.hugging_face import embedded_questions
from vlmcal.data.vqa.layouts import EMBEDDED, files_of, marks_of, told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import DataError, require_known
from vlmcal.types.question import Question, QuestionSet

_KINDS: Final = {
    "answer_type": "answer_type",
    "question_type": "question_type",
    "organ": "image_organ",
}
_USUAL: Final = ("VQA_RAD Image Folder", "images", "vqa_rad_images", ".")
_NOTHING: Final = ("", "NULL", "NA")
_SAME: Final = "strict agreement"


@VQA_LAYOUTS.register("vqa_rad")
@told_by("qid, phrase_type, image_name, question, answer, answer_type")
@told_by(f"{EMBEDDED}, question, answer", "options, image_1")
def vqa_rad(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    kind: str = "answer_type",
    defects: Defects = "error",
) -> QuestionSet:
    """Questions of VQA-RAD: the original JSON with its types, or the Hugging Face Parquet without.

    A question is "yes_no" if its answer is yes or no, else "open"; closed questions that are no yes or no
    ("PA or AP") have no list of options in the data, so they are open and keep the kind CLOSED. "closed"
    therefore means two things in papers; the definition counts both. Test questions are those whose
    ``phrase_type`` begins with "test". The group is the image: 202 of the 203 images of the test questions
    occur among the train questions too.

    A paraphrase is a question of the same image with the same ``qid_linked_id``, answer and answer type whose
    relation the data set calls strict agreement, or a ``question_rephrase`` that is no row of its own and
    of which the data set does not say that it asks something else.

    Args:
        path: The JSON (or .json.gz), or the folder that holds it.
        images: Folder of the images; default "VQA_RAD Image Folder" or "images" beside the file, or its
            folder.
        split: "train" or "test"; None for all.
        kind: Stratum: "answer_type" (CLOSED, OPEN), "question_type" as given (PRES, "POS, PRES") or
            "organ" (CHEST, ABD, HEAD).
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Rows cannot be used.
        SpecError: Unknown kind or split.
    """
    require_known(kind, _KINDS, "unknown kind")
    files = files_of(path, "vqa_rad")
    if EMBEDDED in marks_of(files[0]):
        return embedded_questions(
            "vqa_rad", path, files, images=images, split=split, defects=defects
        )
    pictures = Pictures(path, images, _USUAL)
    rows = list(rows_of(files))
    linked: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        linked[text(row.cells.get("qid_linked_id"))].append(row.cells)

    def make(row: Row) -> Question:
        cells = row.cells
        answer = by_gold([cells.get("answer")])
        name = needed(cells, "image_name")
        return Question(
            id=needed(cells, "qid"),
            question=needed(cells, "question"),
            images=(pictures.find(name),),
            **answer._asdict(),
            kind=text(cells.get(_KINDS[kind])),
            group=name,
            split=_split(cells),
            paraphrases=_paraphrases(cells, linked[text(cells.get("qid_linked_id"))]),
        )

    closed = {
        text(r.cells.get("qid")) for r in rows if text(r.cells.get("answer_type")) == "CLOSED"
    }
    shared = _shared_images([r.cells for r in rows])
    source = Source("vqa_rad", path, pictures, split, defects)
    define = partial(_definition, closed, shared)
    return source.questions(make, define, rows=rows, kind=kind, note=shared, licence="CC0 1.0")


def _split(cells: Mapping[str, Any]) -> str:
    phrase = needed(cells, "phrase_type")
    if phrase.startswith("test"):
        return "test"
    if phrase in ("freeform", "para"):
        return "train"
    raise DataError(
        f'phrase_type: expected freeform, para, test_freeform or test_para, got "{phrase}"'
    )


def _definition(closed: set[str], shared: str, kept: Sequence[Question]) -> str:
    types = [q for q in kept if q.id in closed]
    decided = [q for q in types if q.answer_type == "yes_no"]
    yes = sum(q.gold == ("yes",) for q in decided)
    return (
        f"closed = answer_type CLOSED ({len(types)} of {len(kept)}), of which {len(decided)} have a yes/no "
        f"gold ({yes} yes, {len(decided) - yes} no) and are yes_no; the other {len(types) - len(decided)} "
        f"name no options and are open; {counted(kept)}; {shared}"
    )


def _shared_images(rows: Sequence[Mapping[str, Any]]) -> str:
    sides: dict[bool, set[str]] = {True: set(), False: set()}
    for cells in rows:
        sides[text(cells.get("phrase_type")).startswith("test")].add(text(cells.get("image_name")))
    both = sides[True] & sides[False]
    return f"{len(both)} of {len(sides[True])} test images also occur in train"


def _paraphrases(cells: Mapping[str, Any], linked: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    own = _plain(cells.get("question"))
    others = [other for other in linked if _plain(other.get("question")) != own]
    found = [text(other.get("question")) for other in others if _same(cells, other)]
    rephrased = text(cells.get("question_rephrase"))
    rows = {_plain(other.get("question")) for other in linked}
    if (
        rephrased not in _NOTHING
        and _plain(rephrased) not in rows
        and _relation(cells) in (_SAME, *_NOTHING)
    ):
        found.append(rephrased)
    return tuple(dict.fromkeys(found))


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return (
        _relation(one) == _relation(other) == _SAME
        and _plain(one.get("answer")) == _plain(other.get("answer"))
        and all(
            text(one.get(name)) == text(other.get(name)) for name in ("image_name", "answer_type")
        )
    )


def _relation(cells: Mapping[str, Any]) -> str:
    return text(cells.get("question_relation"))


def _plain(cell: Any) -> str:
    return " ".join(text(cell).casefold().split())
