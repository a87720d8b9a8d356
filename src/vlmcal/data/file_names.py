"""What file names give away: patients and slides on both sides of a split, endings that name a class."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

import numpy as np

from vlmcal.data.problems import Findings, shown
from vlmcal.types.dataset import Dataset

# What the part in parentheses names, and how; tried on the name of the file without its folder.
PATTERNS: Final = {
    "<id>_left and <id>_right": re.compile(r"^(.+?)[_-](?:left|right|od|os)(?:[_-]\d+)?\.", re.I),
    "<number>L and <number>R": re.compile(r"^(\d{4,})[LR]\."),
    "<slide>-<number>_<tile>": re.compile(r"((?:[A-Za-z]+-)+\d+)[a-z]?(?:_[\w-]+)?\."),
    "<video>_g<group>_c<clip>": re.compile(r"^(.+_g\d+)_c\d+", re.I),
    "patient, subject, case or slide with a number": re.compile(
        r"(?:^|[^a-z])((?:patient|subject|sub|case|slide|donor)[-_ ]?\d+)", re.I
    ),
}
_MATCHED = 0.05  # share of the names that a pattern must fit to be spoken of
_LEAK = 0.95  # share of an ending's images that one class must have


class NameGroups(NamedTuple):
    """Groups that hide in file names.

    Attributes:
        pattern: How the names are made.
        matched: Images whose name fits.
        groups: Distinct groups.
        test: Test images whose name fits.
        shared: Those whose group has a training image, too.
        example: A shared group.
    """

    pattern: str
    matched: int
    groups: int
    test: int
    shared: int
    example: str


def name_groups(ids: Sequence[str], splits: Sequence[str]) -> list[NameGroups]:
    """Groups that names seem to tell, by pattern; found is not used.

    The ending belongs to the group: numbers of two sources that were put together differ by it.

    Example:
        >>> name_groups(["a/7_left.jpeg", "b/7_right.jpeg", "b/8_left.jpeg"], ["train", "test", "test"])[0]
        NameGroups(pattern='<id>_left and <id>_right', matched=3, groups=2, test=2, shared=1, example='7')
    """
    found = []
    for title, pattern in PATTERNS.items():
        keys: list[tuple[str, str] | None] = []
        for name in ids:
            path = PurePosixPath(name)
            match = pattern.search(path.name)
            keys.append(None if match is None else (match[1].lower(), path.suffix.lower()))
        pairs = [(key, split) for key, split in zip(keys, splits, strict=True) if key is not None]
        members = Counter(key for key, _ in pairs)
        if len(pairs) < max(2, _MATCHED * len(keys)) or max(members.values()) == 1:
            continue
        trained = {key for key, split in pairs if split == "train"}
        tested = [key for key, split in pairs if split == "test"]
        shared = [key for key in tested if key in trained]
        example = shared[0][0] if shared else ""
        found.append(NameGroups(title, len(pairs), len(members), len(tested), len(shared), example))
    return found


def ending_classes(dataset: Dataset) -> dict[str, str]:
    """Endings of files that nearly one class alone has, and has for most of its images: ending -> class.

    Example:
        >>> data = Dataset(name="d", images=np.zeros((4, 2, 2), np.uint8), labels=[0, 0, 1, 1],
        ...                splits=["train"] * 4, class_names=("ill", "well"),
        ...                ids=["1.jpeg", "2.jpeg", "3.png", "4.png"])
        >>> ending_classes(data)
        {'.jpeg': 'ill', '.png': 'well'}
    """
    labels: dict[str, list[int]] = defaultdict(list)
    for name, label in zip(dataset.ids.tolist(), dataset.labels.tolist(), strict=True):
        labels[PurePosixPath(name).suffix.lower()].append(label)
    if len(labels) < 2:
        return {}
    sizes = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    told = {}
    for ending, codes in labels.items():
        code, n = Counter(codes).most_common(1)[0]
        if n >= _LEAK * len(codes) and n > sizes[code] / 2:
            told[ending] = dataset.class_names[code]
    return told


def check_file_names(dataset: Dataset, findings: Findings) -> None:
    """Note groups that hide in names, where none are given, and endings that give a class away."""
    ids = dataset.ids.tolist()
    if dataset.groups is None:
        for found in name_groups(ids, dataset.splits.tolist()):
            where = (
                f"{found.shared} of {found.test} such test images share theirs with a training image, for "
                f"example {found.example}"
                if found.shared
                else "none is in train and test"
            )
            findings.warning(
                "name-groups",
                f"{found.matched} of {len(ids)} file names look like {found.pattern} ({found.groups} groups)"
                f": {where}; nothing is done with it. Name the groups (a group column) where they matter",
            )
    told = [f"{ending} is {name}" for ending, name in ending_classes(dataset).items()]
    if told:
        findings.warning(
            "ending-leak",
            f"the ending of the file name gives classes away: {shown(told)}; classes from different sources "
            "differ in more than what is shown, so check what a model goes by",
            told,
        )
