"""What decoding every image shows: those that cannot be read, the same and nearly the same pictures."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from vlmcal.data.class_clues import clues, name_pattern
from vlmcal.data.looks import Look, look_at
from vlmcal.data.perceptual_hash import THUMBNAIL, Pair, near_pairs
from vlmcal.data.problems import Findings, shown
from vlmcal.io.shown import BACKGROUND
from vlmcal.io.windows import HOW_WINDOW, NO_WINDOW
from vlmcal.types.dataset import Dataset

Looks = Mapping[int, Look]


def see(
    dataset: Dataset,
    skip: set[int],
    findings: Findings,
    *,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Looks:
    """Look at every image; note those that cannot be read or occur twice. The others, by row."""
    rows_of: dict[str, list[int]] = defaultdict(list)
    unreadable, looks = [], {}
    rows = [row for row in range(len(dataset)) if row not in skip]
    for row, found in look_at(dataset.images, rows, cache_dir=cache_dir, progress=progress):
        if found.reason:
            unreadable.append(found.reason)
            continue
        looks[row] = found
        rows_of[found.digest].append(row)
    _note_unreadable(unreadable, findings)
    _note_equal(dataset, [rows for rows in rows_of.values() if len(rows) > 1], findings)
    return looks


def _note_unreadable(reasons: list[str], findings: Findings) -> None:
    windowless = [reason for reason in reasons if NO_WINDOW in reason]
    if windowless:
        findings.error(
            "no-window",
            f"{len(windowless)} images have more grey values than 256, and {NO_WINDOW}: {HOW_WINDOW}. "
            f"The first: {windowless[0].partition(';')[0]}",
            windowless,
        )
    others = [reason for reason in reasons if NO_WINDOW not in reason]
    if others:
        cut = sum("truncated" in reason for reason in others)
        findings.error(
            "unreadable-image",
            f"{len(others)} images cannot be read{f', {cut} of them truncated' if cut else ''}: "
            f"{shown(others)}; repair or remove them",
            others,
        )


def _note_equal(dataset: Dataset, same: list[list[int]], findings: Findings) -> None:
    splits, labels = dataset.splits, dataset.labels
    across = [rows for rows in same if len(set(splits[rows].tolist())) > 1]
    within = [rows for rows in same if len(set(splits[rows].tolist())) == 1]
    clash = [rows for rows in same if len(set(labels[rows].tolist())) > 1]
    if across:
        pairs = [_equal(dataset, rows, splits[rows].tolist()) for rows in across]
        findings.error(
            "duplicate-across",
            f"{_pictures(across)} in more than one split: {shown(pairs)}; keep it on one side: "
            "remove the copies (also where the split was drawn here, for want of one)",
            pairs,
            across,
        )
    if clash:
        names = dataset.class_names
        pairs = [_equal(dataset, rows, [names[c] for c in labels[rows]]) for rows in clash]
        findings.error(
            "duplicate-label",
            f"{_pictures(clash)} labelled in two ways: {shown(pairs)}; decide which is right",
            pairs,
            clash,
        )
    if within:
        pairs = [_equal(dataset, rows, splits[rows].tolist()) for rows in within]
        findings.warning(
            "duplicate-within",
            f"{_pictures(within)} in the same split twice: {shown(pairs)}",
            pairs,
            within,
        )


def _pictures(found: Sequence[object]) -> str:
    return "1 picture is" if len(found) == 1 else f"{len(found)} pictures are"


def _equal(dataset: Dataset, rows: Sequence[int], what: Sequence[str]) -> str:
    ids = dataset.ids[list(rows)].tolist()
    return " = ".join(f"{name} ({word})" for name, word in zip(ids, what, strict=True))


def note_near(dataset: Dataset, looks: Looks, findings: Findings) -> None:
    """Note pictures of different splits that look the same although their pixels differ."""
    rows = np.array([row for row, found in looks.items() if found.code is not None], np.int64)
    if not rows.size:
        return
    codes = np.array([looks[row].code for row in rows.tolist()], np.int64).view(np.uint64)
    small = np.stack([np.frombuffer(looks[row].small, np.uint8) for row in rows.tolist()])
    small = small.reshape(-1, THUMBNAIL, THUMBNAIL)
    found, crowded = near_pairs(codes, small, dataset.splits[rows])
    pairs = [p._replace(row=int(rows[p.row]), other=int(rows[p.other])) for p in found]
    pairs = [p for p in pairs if looks[p.row].digest != looks[p.other].digest]
    if crowded:
        findings.warning(
            "alike",
            f"{crowded} images look so much like hundreds of others (by a quarter of their perceptual hash) "
            "that they were compared by the rest of it only: near copies among them can be missed",
        )
    if pairs:
        images = len({p.row for p in pairs})
        turned = sum(p.turned for p in pairs)
        texts = [_near(dataset, pair) for pair in pairs]
        findings.warning(
            "near-duplicate",
            f"{images} {'image looks' if images == 1 else 'images look'} the same as one of another split "
            f"({len(pairs)} pairs{f', {turned} turned or mirrored' if turned else ''}): {shown(texts, 3)}; "
            "copies, augmentations or neighbouring slices of one patient: look at them (--report PAGE.html) "
            "and keep each kind on one side",
            texts,
            [(p.row, p.other) for p in pairs],
        )


def _near(dataset: Dataset, pair: Pair) -> str:
    sides = [f"{dataset.ids[row]} ({dataset.splits[row]})" for row in (pair.row, pair.other)]
    return f"{' ~ '.join(sides)}, {pair.likeness:.3f}{', turned' if pair.turned else ''}"


def note_clues(dataset: Dataset, looks: Looks, findings: Findings) -> None:
    """Note properties of files that tell the class without a look at the picture."""
    names = dataset.ids.tolist()
    values = {
        "ending of the file name": [PurePosixPath(name).suffix.lower() for name in names],
        "form of the file name": [name_pattern(name) for name in names],
    }
    _note(values, dataset, range(len(dataset)), findings)
    rows = sorted(looks)
    seen = [looks[row] for row in rows]
    of_files = {
        "size of the image": [f"{found.size[0]} x {found.size[1]}" for found in seen],
        "colour mode of the file": [found.mode for found in seen],
        "camera or program in the EXIF": [found.maker for found in seen],
    }
    _note(of_files, dataset, rows, findings)


def _note(
    values: Mapping[str, Sequence[str]], dataset: Dataset, rows: Sequence[int], findings: Findings
) -> None:
    for clue in clues(values, dataset.labels[list(rows)], dataset.class_names):
        told = [f"{value} is {name}" for value, name in clue.examples]
        findings.warning(
            "class-clue",
            f"the {clue.what} alone tells the class in {100 * clue.accuracy:.0f} % of images, the mean over "
            f"classes, where guessing has {100 * clue.chance:.0f} %: {shown(told, 4)}; classes that come "
            "from different sources differ in more than what is shown",
            told,
        )


def overview(looks: Looks) -> Iterator[str]:
    """The usual size, the smallest and the largest one, modes, and what is not seen as it is stored."""
    seen = list(looks.values())
    sizes = [found.size for found in seen]
    if not sizes:
        return
    (usual, n), *others = Counter(sizes).most_common()
    line = f"image sizes: {usual[0]} x {usual[1]} ({n} of {len(sizes)})"
    if others:
        small, large = (pick(sizes, key=lambda s: s[0] * s[1]) for pick in (min, max))
        line += f"; smallest {small[0]} x {small[1]}, largest {large[0]} x {large[1]}"
    yield line
    modes = Counter(found.mode for found in seen if found.mode).most_common()
    if len(modes) > 1:
        yield f"colour modes of the files: {', '.join(f'{mode} {n}' for mode, n in modes)}"
    for word, what in (
        ("turned", "turned as their EXIF orientation says"),
        ("flattened", f"with transparent parts, which become {BACKGROUND}"),
    ):
        if count := sum(word in found.corrected for found in seen):
            yield f"images {what}: {count} of {len(seen)}"
