"""Published few-shot draws, ``shot_16-seed_1.json``: lists of images that a data set is cut down to."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from vlmcal.data.problems import shown
from vlmcal.errors import DataError, nearest
from vlmcal.io.json_text import parse_json
from vlmcal.types.dataset import Dataset

PICKLES: Final = (".pkl", ".pickle")
_CONVERT = (
    "import json, pickle, sys; parts = pickle.load(open(sys.argv[1], 'rb')); "
    "json.dump({part: {'data': [{'impath': item.impath, 'label': item.label, 'classname': item.classname} "
    "for item in items]} for part, items in parts.items()}, open(sys.argv[2], 'w'))"
)


def conversion(file: Path) -> str:
    """The command that turns a pickled list of CoOp, Dassl or BAPLe into the JSON that is read here.

    Example:
        >>> conversion(Path("shot_16-seed_1.pkl")).endswith('" shot_16-seed_1.pkl shot_16-seed_1.json')
        True
    """
    return f'python -c "{_CONVERT}" {file} {file.with_suffix(".json")}'


def refuse_pickle(file: Path) -> None:
    """Loading a pickle runs what is in it.

    Raises:
        DataError: The file is a pickle; says how to convert it.
    """
    if file.suffix.lower() in PICKLES:
        raise DataError(
            f"{file}: a pickle, which runs whatever is in it when it is loaded; it is not read. If you trust "
            "it, convert it in the environment of the code that wrote it:\n"
            f"  {conversion(file)}\nand give {file.with_suffix('.json').name}"
        )


def drawn_items(content: Any) -> list[Mapping[str, Any]] | None:
    """The items of one part of an index file, ``{"data": [{"impath", "label", "classname"}, ...]}``.

    The list alone will do, too; None where it is something else.
    """
    items = content.get("data") if isinstance(content, Mapping) else content
    if isinstance(items, list) and all(isinstance(i, Mapping) and "impath" in i for i in items):
        return items
    return None


def as_drawn(dataset: Dataset, file: str | Path) -> Dataset:
    """The training and validation images that a published index file lists, and all test images.

    Images are found by the ends of their paths, since these files hold paths of other machines. Training on
    all of them (``shots`` of the file) is the published draw, image for image.

    Source: Lin et al., Multimodality helps unimodality, CVPR 2023, arXiv 2301.06267 (its folder ``indices``).

    Args:
        dataset: The whole data set, by its split file.
        file: ``shot_<k>-seed_<s>.json``.

    Raises:
        DataError: Unreadable, a pickle, or it lists images or labels that the data set has not.

    Example:
        >>> import tempfile
        >>> data = Dataset(name="d", images=np.zeros((3, 2, 2), np.uint8), labels=[0, 0, 0],
        ...                splits=["train", "train", "test"], class_names=("cat",),
        ...                ids=["1.png", "2.png", "3.png"])
        >>> index = Path(tempfile.mkdtemp(), "shot_1-seed_1.json")
        >>> _ = index.write_text('{"train": {"data": [{"impath": "/old/2.png", "label": 0}]}}')
        >>> as_drawn(data, index).ids.tolist()
        ['2.png', '3.png']
    """
    path = Path(file).expanduser()
    refuse_pickle(path)
    try:
        content = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable as JSON ({error})") from error
    parts = content if isinstance(content, dict) else {}
    place = {name: row for row, name in enumerate(dataset.ids.tolist())}
    chosen, problems = [], []
    for part in ("train", "val"):
        items = drawn_items(parts.get(part, []))
        if items is None or (part == "train" and not items):
            raise DataError(
                f'{path}: expected "{part}": {{"data": [{{"impath": ..., "label": ...}}]}}: '
                f"{nearest(part, parts)}"
            )
        for item in items:
            row = _row(str(item["impath"]), place)
            if row is None or dataset.splits[row] != part:
                problems.append(f"{item['impath']} ({part})")
            elif item.get("label", dataset.labels[row]) != dataset.labels[row]:
                problems.append(f"{item['impath']} (label {item['label']})")
            else:
                chosen.append(row)
    if problems:
        raise DataError(
            f'{path}: {len(problems)} listed images are not in "{dataset.name}" in that split with that '
            f"label: {shown(problems, 3)}; is it the index file of these data?"
        )
    rows = np.concatenate([np.asarray(chosen, np.int64), np.flatnonzero(dataset.splits == "test")])
    remark = f"train and val are the images that {path.name} lists"
    return replace(dataset.subset(rows), remarks=(*dataset.remarks, remark))


def _row(path: str, place: Mapping[str, int]) -> int | None:
    parts = PurePosixPath(path.replace("\\", "/")).parts
    ends = ("/".join(parts[start:]) for start in range(len(parts)))
    return next((place[end] for end in ends if end in place), None)
