"""Published split files: lists of image path, label and class name for train, val and test."""

import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from vlmcal.data.assemble import Rows, as_folder, as_templates, assemble
from vlmcal.data.base import DATASETS, ByName, accepts
from vlmcal.data.few_shot_files import PICKLES, as_drawn, drawn_items, refuse_pickle
from vlmcal.data.frames import show_as
from vlmcal.data.problems import Findings, gaps, shown
from vlmcal.data.templates import has_templates, templates_for
from vlmcal.errors import DataError, nearest
from vlmcal.io.json_text import parse_json
from vlmcal.io.packed import content
from vlmcal.types.dataset import Dataset

PARTS: Final = ("train", "val", "test")
_Item = tuple[str, str, int, str]  # split, path, label, class name


@DATASETS.register("coop_split")
@accepts(ByName((".json", ".json.gz", *PICKLES)))
def coop_split(
    path: str | Path,
    *,
    image_root: str | Path = "",
    templates: str | Sequence[str] | None = None,
    name: str = "",
    few_shot: str | Path = "",
    window: str = "",
) -> Dataset:
    """Load a split file in the layout of CoOp's ``split_zhou_*.json``, as BiomedCoOp uses it too.

    The file is an object with the keys train, val and test, each a list of
    ``[image path, label, class name]``, or as the published few-shot index files have them
    (:mod:`vlmcal.data.few_shot_files`), where any of the three may be absent. Pickles of the same content are
    refused with the command that converts them. Rows keep the order of the file (train, val, test), on which
    the published few-shot draw depends.

    Sources: Zhou et al., Learning to prompt for vision-language models, IJCV 2022,
    arXiv 2109.01134; Koleilat et al., BiomedCoOp, CVPR 2025, arXiv 2411.15232.

    Args:
        path: A ``.json`` or ``.json.gz`` file.
        image_root: Folder that the image paths start from, such as ``dtd/images``; default: the folder
            of the file.
        templates: Zero-shot prompts with one ``{}``. Default: CoOp's own template if ``name`` is one of
            the published data sets (:func:`vlmcal.data.templates.templates_for`), else
            "a photo of a {}.".
        name: Name for reports; default: the file name without ``split_zhou_`` or ``split_``.
        few_shot: A published index file, ``shot_16-seed_1.json``: only the training and validation images
            that it lists are kept (:func:`vlmcal.data.few_shot_files.as_drawn`).
        window: "LOW..HIGH" for images of more than 8 bits (:class:`vlmcal.types.picture.View`).

    Raises:
        InvalidDataError: Lists all malformed entries, repeated paths and contradicting class names at once.
        DataError: The file cannot be read or is not such an object.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "split_zhou_Toy.json")
        >>> _ = file.write_text('{"train": [["a.png", 0, "cat"]], "val": [], "test": [["b.png", 1, "dog"]]}')
        >>> data = coop_split(file)
        >>> data.name, data.class_names, data.splits.tolist()
        ('Toy', ('cat', 'dog'), ['train', 'test'])
    """
    file = Path(path).expanduser()
    refuse_pickle(file)
    plain = file.name.removesuffix(".gz").removesuffix(".json")
    title = name or plain.removeprefix("split_zhou_").removeprefix("split_")
    findings = Findings(title)
    items = _items(file, _read(file), findings)
    classes = _classes(items, findings)
    root = as_folder(image_root, file.parent)
    rows = Rows(
        images=[_inside(root, image) for _, image, _, _ in items],
        labels=[label if label < len(classes) else -1 for _, _, label, _ in items],
        ids=[image for _, image, _, _ in items],
        splits=[split for split, _, _, _ in items],
    )
    if templates is None and has_templates(title):
        templates = templates_for(title)
    show_as(rows, findings, window=window)
    data = assemble(rows, classes, findings=findings, templates=as_templates(templates))
    return as_drawn(data, few_shot) if str(few_shot) else data


def _read(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    try:
        parsed = parse_json(content(file))
    except (OSError, DataError, ValueError) as error:
        raise DataError(f"{file}: not readable as JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise DataError(
            f"{file}: expected an object with the lists {', '.join(PARTS)}, got a {type(parsed).__name__}"
        )
    listed = {part: drawn_items(parsed[part]) for part in PARTS if parsed.get(part)}
    if listed and all(items is not None for items in listed.values()):
        return {
            part: [
                [i["impath"], i.get("label"), i.get("classname")] for i in listed.get(part) or ()
            ]
            for part in PARTS
        }
    missing = [part for part in PARTS if not isinstance(parsed.get(part), list)]
    if missing:
        raise DataError(
            f'{file}: no list "{missing[0]}"; expected an object with the lists {", ".join(PARTS)}, an '
            f"empty one is fine: {nearest(missing[0], parsed)}"
        )
    return parsed


def _inside(root: Path, image: str) -> Path:
    """Where an image lies; a path of another machine is looked for by its end."""
    whole = root / image
    if os.path.exists(whole) or not (image.startswith((".", "/")) or Path(image).is_absolute()):
        return whole
    parts = PurePosixPath(image).parts
    ends = (root.joinpath(*parts[start:]) for start in range(1, len(parts)))
    return next((end for end in ends if os.path.exists(end)), whole)


def _items(file: Path, content: dict[str, Any], findings: Findings) -> list[_Item]:
    items: list[_Item] = []
    for part in PARTS:
        bad = []
        for place, entry in enumerate(content[part]):
            match entry:
                case [str(image), bool(), str()]:
                    bad.append(f"{part}[{place}] = {entry}")
                case [str(image), int(label), str(name)] if label >= 0 and image and name:
                    items.append((part, image, label, name))
                case _:
                    bad.append(f"{part}[{place}] = {json.dumps(entry)[:60]}")
        if bad:
            findings.error(
                "bad-entry",
                f"{len(bad)} entries are not [image path, label from 0, class name]: {shown(bad, 3)}",
                bad,
            )
    if not items:
        raise DataError(f"{file}: no usable entry in {', '.join(PARTS)}")
    return items


def _classes(items: list[_Item], findings: Findings) -> list[str]:
    names: dict[int, set[str]] = {}
    labels: dict[str, set[int]] = {}
    for _, _, label, name in items:
        names.setdefault(label, set()).add(name)
        labels.setdefault(name, set()).add(label)
    for label, several in sorted(names.items()):
        if len(several) > 1:
            findings.error(
                "bad-label", f"label {label} has several class names: {shown(sorted(several))}"
            )
    for name, used in sorted(labels.items()):
        if len(used) > 1:
            findings.error("bad-label", f'class "{name}" has several labels: {shown(sorted(used))}')
    if absent := gaps(names):
        findings.error(
            "bad-label",
            f"labels must count from 0 without gaps; no image has label {shown(absent)}",
            absent,
        )
    consistent = len(names) == len(labels) and all(len(found) == 1 for found in names.values())
    return [min(names[label]) for label in range(len(names))] if consistent and not absent else []
