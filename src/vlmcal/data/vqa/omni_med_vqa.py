"""OmniMedVQA: choices about images of 73 medical sources (Hu et al., CVPR 2024, arXiv 2402.09181)."""

from pathlib import Path
from typing import Final

from vlmcal.data.rows import Row
from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.fields import by_options, needed, stratum_column, text
from vlmcal.data.vqa.gather import Defects, counted, gather, rows_of
from vlmcal.data.vqa.layouts import files_of, told_by
from vlmcal.data.vqa.pictures import Pictures
from vlmcal.types.question import Question, QuestionSet

_KINDS: Final = {
    "modality_type": "modality_type",
    "question_type": "question_type",
    "dataset": "dataset",
}


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
    column = stratum_column(kind, _KINDS)
    pictures = Pictures(path, images, (".", "..", "../.."))

    def make(row: Row) -> Question:
        cells = row.cells
        options = [cells.get(f"option_{letter}") for letter in "ABCD"]
        answer = by_options(options, [text(cells.get("gt_answer"))])
        name = needed(cells, "image_path")
        # One published record writes "modality" instead.
        stratum = cells.get(column, cells.get("modality") if column == "modality_type" else "")
        return Question(
            id=needed(cells, "question_id"),
            question=needed(cells, "question"),
            images=(pictures.find(name),),
            answer_type="choice",
            gold=answer.gold,
            options=answer.options,
            kind=text(stratum),
            group=name,
        )

    return gather(
        "omni_med_vqa",
        path,
        rows_of(files_of(path, "omni_med_vqa")),
        make,
        lambda kept: (
            f"every question is a choice among its options, also between yes and no: {counted(kept)}"
        ),
        pictures=pictures,
        split=split,
        defects=defects,
        provenance={"kind": kind, "licence": "differs per source"},
    )
