"""OmniMedVQA: choices about images of 73 medical sources (Hu et al., CVPR 2024, arXiv 2402.09181)."""

from pathlib import Path
from typing import Final

from vlmcal.data.rows import Row
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import by_options, needed, text
from vlmcal.data.vqa.gather import Defects, Source
from vlmcal.data.vqa.layouts import told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.errors import require_known
from vlmcal.types.question import Question, QuestionSet

_KINDS: Final = ("modality_type", "question_type", "dataset")


@VQA_LAYOUTS.register("omni_med_vqa")
@told_by("question_id, question, gt_answer, option_A")
def omni_med_vqa(
    path: Path,
    *,
    images: Path | None = None,
    split: str | None = None,
    kind: str = "modality_type",
    defects: Defects = "error",
) -> QuestionSet:
    """Questions of OmniMedVQA; every question is a choice among two to four options, "Yes" and "No" included.

    The data name no splits. The group is the image.

    Args:
        path: One JSON, or the folder of the JSON files (QA_information, Open-access); all are read.
        images: Folder that ``image_path`` ("Images/...") starts from; default the folder of the file or one
            of the two above it.
        split: Only "unknown" or None.
        kind: Stratum: "modality_type", "question_type" or "dataset".
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Rows cannot be used.
        SpecError: Unknown kind.
    """
    require_known(kind, _KINDS, "unknown kind")
    pictures = Pictures(path, images, (".", "..", "../.."))

    def make(row: Row) -> Question:
        cells = row.cells
        options = [cells.get(f"option_{letter}") for letter in "ABCD"]
        answer = by_options(options, [text(cells.get("gt_answer"))])
        name = needed(cells, "image_path")
        # One published record writes "modality" instead.
        stratum = cells.get(kind, cells.get("modality") if kind == "modality_type" else "")
        return Question(
            id=needed(cells, "question_id"),
            question=needed(cells, "question"),
            images=(pictures.find(name),),
            **answer._asdict(),
            kind=text(stratum),
            group=name,
        )

    means = "every question is a choice among its options, also between yes and no"
    source = Source("omni_med_vqa", path, pictures, split, defects)
    return source.questions(make, means, kind=kind, licence="differs per source")
