"""Everything that is wrong with a data set, found in one pass and reported at once."""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from vlmcal.data.base import load_dataset
from vlmcal.data.feature_checks import note_features
from vlmcal.data.file_names import check_file_names
from vlmcal.data.image_checks import Looks, note_clues, note_near, overview, see
from vlmcal.data.problems import Findings, InvalidDataError, Report, shown
from vlmcal.data.splits import groups_on_two_sides
from vlmcal.errors import DataError, SpecError
from vlmcal.io.labels import is_seen
from vlmcal.types.dataset import Dataset
from vlmcal.types.picture import Picture
from vlmcal.types.split import SPLITS

Progress = Callable[[int, int], None]
MakesFeatures = Callable[[Dataset], NDArray[np.floating]]
_UNEVEN = 10  # images of the largest class to one of the smallest
_CLASSES_SHOWN = 20


class Looking(TypedDict, total=False):
    """How a data set is looked at: the options of :func:`audit`."""

    shots: int | None
    held_out: bool
    read_images: bool
    names_alone: bool
    thorough: bool
    features: MakesFeatures | None
    cache_dir: Path | None
    progress: Progress | None


def audit(
    dataset: Dataset,
    *,
    shots: int | None = None,
    held_out: bool = False,
    read_images: bool = True,
    names_alone: bool = False,
    thorough: bool = False,
    features: MakesFeatures | None = None,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> Report:
    """Look for all problems of a data set; nothing is raised and nothing is changed.

    Errors: files that are missing, empty or no readable images; the same picture in two splits or under
    two labels (pictures are compared by their decoded pixels); groups on two sides; class names that a
    model reads as the same text (letter case, underscore, hyphen, space); classes without any image, or
    with fewer than ``shots`` for training; no test images.

    Warnings: what the reader remarked; the same picture twice in one split; classes absent from a split;
    images of unknown split; groups that seem to hide in file names, and endings that name a class.

    Args:
        dataset: Any data set.
        shots: Images per class that training will ask for; None skips that check.
        held_out: Whether images must be left to calibrate on after that.
        read_images: Decode every image; without it only existence and size of files are checked and
            duplicates are not found.
        names_alone: Where not a single file is here, judge names, labels and splits and say so.
        thorough: Also pictures of different splits that look the same, and what tells a class without a look:
            size, colour mode, camera, file name; and how uneven classes are.
        features: Makes (N, D) features of a data set whose images can all be read, for copies that a backbone
            sees and labels that it doubts.
        cache_dir: Folder that remembers what was seen of each file, so that an interrupted audit goes on.
        progress: Called with (images read, N).

    Returns:
        A report with errors first; ``report.ok`` if there is no error.

    Example:
        >>> picture = np.zeros((2, 4, 4), np.uint8)
        >>> data = Dataset(name="toy", images=picture, labels=[0, 0], splits=["train", "test"],
        ...                class_names=("cat",))
        >>> print(audit(data).to_text())
        toy: 2 images, 1 error, 0 warnings
          error [duplicate-across] 1 picture is in more than one split: 0 (train) = 1 (test); keep it ...
    """
    findings = Findings(dataset.name)
    for remark in dataset.remarks:
        findings.warning("reading", remark)
    bad = _check_files(dataset, findings, names_alone)
    looks: Looks = {}
    if read_images and not dataset.holds_features:
        looks = see(dataset, bad, findings, cache_dir=cache_dir, progress=progress)
    if thorough:
        note_near(dataset, looks, findings)
        note_clues(dataset, looks, findings)
        _check_balance(dataset, findings)
    if features is not None and len(looks) == len(dataset):
        note_features(dataset, features(dataset), findings)
    _check_names(dataset.class_names, findings)
    _check_classes(dataset, shots, findings)
    if shots is not None and held_out:
        _check_held_out(dataset, shots, findings)
    _check_splits(dataset, findings)
    check_file_names(dataset, findings)
    report = findings.report(len(dataset))
    return replace(report, overview=(*_counts(dataset), *overview(looks)))


def audit_source(
    spec: str | Path | Mapping[str, Any],
    *,
    keep: Callable[[Dataset], object] | None = None,
    **how: Unpack[Looking],
) -> Report:
    """Load a data set and audit it; what makes loading fail is part of the report.

    Args:
        spec: As for :func:`vlmcal.data.base.load_dataset`.
        keep: Told of the data set, or of those of its rows that could be read, where there are any.
        how: As for :func:`audit`.

    Raises:
        SpecError: The loader or one of its parameters does not exist.

    Example:
        >>> audit_source("digits", shots=16).ok
        True
    """
    name = str(spec.get("path", spec.get("name"))) if isinstance(spec, Mapping) else str(spec)

    def of(data: Dataset) -> Report:
        if keep is not None:
            keep(data)
        return audit(data, **how)

    try:
        return of(load_dataset(spec))
    except InvalidDataError as error:
        if error.partial is None:
            return error.report
        rest = of(error.partial)
        return Report(
            name=error.report.name,
            n_images=rest.n_images,
            problems=error.report.problems + rest.problems,
            overview=rest.overview,
        )
    except SpecError:
        raise
    except DataError as error:
        findings = Findings(name)
        findings.error("unreadable-source", str(error), [name])
        return findings.report(0)


def _check_files(dataset: Dataset, findings: Findings, names_alone: bool) -> set[int]:
    """Note files that are missing or empty; the rows concerned."""
    if isinstance(dataset.images, np.ndarray):
        return set()
    missing, empty = [], []
    for row, path in enumerate(dataset.images):
        if not (path.is_file() if isinstance(path, Picture) else os.path.isfile(path)):
            missing.append(row)
        elif (path.size if isinstance(path, Picture) else path.stat().st_size) == 0:
            empty.append(row)
    if names_alone and len(missing) == len(dataset):
        findings.warning(
            "no-files", "not a single image is here: names, labels and splits alone were looked at"
        )
        return set(missing)
    for rows, kind, what in (
        (missing, "missing-file", "are not there; check the paths and the image root"),
        (empty, "empty-file", "have 0 bytes and cannot be read; fetch them again"),
    ):
        paths = [str(dataset.images[row]) for row in rows]
        if rows:
            findings.error(
                kind, f"{len(rows)} of {len(dataset)} files {what}: {shown(paths)}", paths
            )
    return {*missing, *empty}


def _counts(dataset: Dataset) -> Iterator[str]:
    """Images of each split, and of each class in it."""
    splits = [split for split in SPLITS if (dataset.splits == split).any()]
    table = np.stack(
        [
            np.bincount(dataset.labels[dataset.splits == split], minlength=len(dataset.class_names))
            for split in splits
        ],
        axis=1,
    )
    together = ", ".join(f"{split} {n}" for split, n in zip(splits, table.sum(axis=0), strict=True))
    yield f"{len(dataset.class_names)} classes; images: {together}"
    for name, row in list(zip(dataset.class_names, table, strict=True))[:_CLASSES_SHOWN]:
        yield f"  {name}: " + ", ".join(f"{s} {n}" for s, n in zip(splits, row, strict=True))
    if len(dataset.class_names) > _CLASSES_SHOWN:
        least, most = table.min(axis=0), table.max(axis=0)
        ranges = zip(splits, least, most, strict=True)
        yield f"  ... every class: {', '.join(f'{s} {a} to {b}' for s, a, b in ranges)}"


def _check_names(names: Sequence[str], findings: Findings) -> None:
    alike: dict[str, list[str]] = defaultdict(list)
    for name in names:
        plain = re.sub(r"[\s_-]+", " ", name).strip().lower()
        alike[plain if is_seen(plain) else ""].append(name)
    blank = [repr(name) for name in alike.pop("", [])]
    if blank:
        findings.error("class-name", f"class names without a word: {shown(blank)}", blank)
    if "nan" in alike:
        findings.error(
            "class-name",
            "a class is called nan, as programs write an empty label; give it a word, or leave it out",
            alike["nan"],
        )
    for several in alike.values():
        if len(several) > 1:
            findings.error(
                "class-name",
                f"models read these class names as the same text: {shown(several)}; merge the classes, or "
                "give each its own words",
                several,
            )


def _check_classes(dataset: Dataset, shots: int | None, findings: Findings) -> None:
    names = np.asarray(dataset.class_names)
    counts = np.bincount(dataset.labels, minlength=len(names))
    empty = names[counts == 0].tolist()
    if empty:
        findings.error(
            "empty-class",
            f"{len(empty)} of {len(names)} classes have no image at all: {shown(empty)}; add images, or "
            "take them off the class list",
            empty,
        )
    for split in SPLITS:
        rows = dataset.splits == split
        inside = np.bincount(dataset.labels[rows], minlength=len(names))
        absent = names[(inside == 0) & (counts > 0)].tolist()
        if rows.any() and absent:
            findings.warning(
                "absent-class",
                f'{len(absent)} of {len(names)} classes are absent from "{split}": {shown(absent)}',
                absent,
            )
        if split == "train" and shots is not None:
            small = [f"{name} ({n})" for name, n in zip(names, inside, strict=True) if n < shots]
            if small:
                findings.error(
                    "too-few",
                    f"{len(small)} of {len(names)} classes have fewer than {shots} training images: "
                    f"{shown(small)}; lower the shots or add images",
                    small,
                )


def _check_balance(dataset: Dataset, findings: Findings) -> None:
    counts = np.bincount(dataset.labels, minlength=len(dataset.class_names))
    small, large = int(counts.argmin()), int(counts.argmax())
    if counts[small] and counts[large] > _UNEVEN * counts[small]:
        names = dataset.class_names
        findings.warning(
            "imbalance",
            f'"{names[large]}" has {counts[large]} images, "{names[small]}" {counts[small]}: accuracy and '
            "ECE over all images say little about the small classes; read those of each class",
            [names[small], names[large]],
        )


def _check_held_out(dataset: Dataset, shots: int, findings: Findings) -> None:
    counts = np.bincount(dataset.labels[dataset.splits == "train"])
    if np.isin(dataset.splits, ("val", "calibration")).any() or not counts.any():
        return
    if counts.max() <= shots:
        findings.error(
            "nothing-held-out",
            f"there are no val images, and {shots} shots take all training images, so that none is left to "
            "calibrate on; lower the shots, tag some as val, calibrate on training images predicted by "
            "training without them (--calibration cross-fit), or calibrate nothing (--calibration none)",
        )


def _check_splits(dataset: Dataset, findings: Findings) -> None:
    shared = groups_on_two_sides(dataset.splits, dataset.groups)
    if shared:
        pairs = [f"{group} ({', '.join(sides)})" for group, sides in shared.items()]
        findings.error(
            "group-leak",
            f"{len(shared)} groups lie in more than one split: {shown(pairs)}; split by group",
            pairs,
        )
    unknown = int((dataset.splits == "unknown").sum())
    if unknown:
        findings.warning(
            "unknown-split", f"{unknown} images have no known split and will not be used"
        )
    if not (dataset.splits == "test").any():
        findings.error(
            "no-test", "there are no test images, so nothing can be measured; tag some as test"
        )
