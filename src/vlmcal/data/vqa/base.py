"""Where questions come from: a registry of layouts, and one function that picks the right one."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmcal.data.vqa.layouts import VQA_LAYOUTS as VQA_LAYOUTS
from vlmcal.data.vqa.layouts import layout_of
from vlmcal.data.vqa.pictures import require_images, require_inside
from vlmcal.errors import SpecError
from vlmcal.options import call
from vlmcal.types.question import QuestionSet


def load_questions(
    spec: str | Path | Mapping[str, Any],
    *,
    check_images: bool = True,
    allow_outside: bool = False,
    **options: Any,
) -> QuestionSet:
    r"""The questions that ``spec`` names.

    Args:
        spec: A path, whose layout is told from the columns of its first record
            (:func:`vlmcal.data.vqa.layouts.told_by`), or a mapping ``{"name": layout, "path": path,
            **options}``.
        check_images: Refuse the set if an image file is missing.
        allow_outside: Take images that lie neither under the folder of the questions nor under ``images``;
            a file of questions could otherwise name any image of the machine, which is then sent.
        **options: Of the layout; all know ``images`` (folder of the images), ``split`` and ``defects``.

    Raises:
        SpecError: Unknown layout or option, or one is missing; names the nearest.
        DataError: No such path, no layout or several fit, rows cannot be used, or images are missing.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "mine.csv")
        >>> _ = table.write_text("image,question,answer\n1.png,Is it large?,Yes\n")
        >>> found = load_questions(table, check_images=False)
        >>> [(q.answer_type, q.gold) for q in found]
        [('yes_no', ('yes',))]
    """
    given: dict[str, Any] = dict(spec) if isinstance(spec, Mapping) else {"path": spec}
    given |= {name: value for name, value in options.items() if value is not None}
    if "path" not in given:
        raise SpecError(f'questions need "path", a file or folder, got {sorted(map(str, given))}')
    for name in ("path", "images"):
        if given.get(name) is not None:
            given[name] = Path(str(given[name])).expanduser()
    allow_outside = bool(given.pop("allow_outside", allow_outside))
    told = given.pop("name", "") or ("extraction" if "schema" in given else "")
    layout = str(told or layout_of(given["path"]))
    questions = call(VQA_LAYOUTS.get(layout), f'{VQA_LAYOUTS.kind} "{layout}"', given)
    if check_images and not allow_outside:
        # A saved file tells its own provenance, which anybody may write.
        folders = () if layout == "saved" else questions.provenance.get("image_folders", ())
        base = given["path"] if given["path"].is_dir() else given["path"].parent
        require_inside(questions, [base, *(Path(f) for f in (given.get("images"), *folders) if f)])
    if check_images:
        require_images(questions)
    return questions
