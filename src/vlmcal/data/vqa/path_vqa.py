"""PathVQA: questions about pathology images of textbooks (He et al., 2020, arXiv 2003.10286)."""

from pathlib import Path

from vlmcal.data.vqa.base import VQA_LAYOUTS
from vlmcal.data.vqa.gather import Defects
from vlmcal.data.vqa.hugging_face import embedded_questions
from vlmcal.data.vqa.layouts import EMBEDDED, files_of, told_by
from vlmcal.types.question import QuestionSet


@VQA_LAYOUTS.register("path_vqa")
@told_by(f"{EMBEDDED}, question, answer", "options, image_1")
def path_vqa(
    path: Path, *, images: Path | None = None, split: str | None = None, defects: Defects = "error"
) -> QuestionSet:
    """Questions of PathVQA: Parquet of Hugging Face, or a table with image, question and answer.

    The data name no answer types: "yes_no" if the answer is yes or no, else "open". The group is the image
    (equal bytes).

    Args:
        path: A file (Parquet, JSON, JSONL, CSV), or the folder of the Parquet files; a split is read from
            the file name.
        images: Folder that images inside Parquet are written into, once; otherwise the folder of the
            images, by default "images" beside the file, or its folder.
        split: "train", "val" or "test"; None for all.
        defects: "error", or "skip" to leave defective rows out.

    Raises:
        DataError: Images lie inside and ``images`` is not given, or rows cannot be used.
    """
    return embedded_questions(
        "path_vqa",
        path,
        files_of(path, "path_vqa"),
        images=images,
        split=split,
        defects=defects,
        usual=("images", "."),
        licence="MIT for the text; the images belong to the publishers of the textbooks",
    )
