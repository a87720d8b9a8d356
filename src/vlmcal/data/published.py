"""Published data sets by name, ``{name: caltech101, root: ~/data}``: what lies on disk, read by its card."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from vlmcal.data.arrays import arrays
from vlmcal.data.assemble import Rows, as_templates, assemble
from vlmcal.data.coop_split import coop_split
from vlmcal.data.data_cards import DataCard, data_card
from vlmcal.data.few_shot_files import as_drawn
from vlmcal.data.folder import read_names
from vlmcal.data.problems import Findings, shown
from vlmcal.errors import DataError
from vlmcal.io.image_files import is_image
from vlmcal.io.unicode_text import text_lines
from vlmcal.types.dataset import Dataset

DIFFERS = "differs from the card of"
_NPZ_SIZES = ("", "_64", "_128", "_224")


def reader(card: DataCard) -> Callable[..., Dataset]:
    """The loader of the data set of a card.

    Example:
        >>> from vlmcal.data.data_cards import data_card
        >>> reader(data_card("eurosat"))("no/such/place")
        Traceback (most recent call last):
        vlmcal.errors.DataError: eurosat is not in no/such/place: expected ...
    """

    def read(
        root: str | Path = "",
        *,
        image_root: str | Path = "",
        variant: str = "",
        templates: str | Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        size: int = 0,
        few_shot: str | Path = "",
    ) -> Dataset:
        """Read it from below ``root``.

        Args:
            root: Folder that holds the data set's folder, or that folder itself.
            image_root: The same; what ``--root`` gives.
            variant: Whose zero-shot prompts (:func:`vlmcal.data.templates.variants`).
            templates: Zero-shot prompts of one's own.
            class_names: Other names, in label order.
            size: Of MedMNIST's images, in pixels; by default the smallest there is.
            few_shot: A published index file (:func:`vlmcal.data.few_shot_files.as_drawn`).

        Raises:
            DataError: Not there, with the layout that is expected; or nothing usable in it.
        """
        top = _find(card, str(root or image_root))
        if card.several:
            raise DataError(
                f"{card.name}: {card.n_classes} findings per image, where one class is needed; score them "
                f"with: vlmcal findings {top / card.name}.npz, or train on each: vlmcal train "
                f"{top / card.name}.npz --multi-label"
            )
        prompts = card.templates(variant) if templates is None else as_templates(templates)
        data = _KINDS[card.kind](card, top, prompts, size)
        if class_names is not None:
            data = replace(data, class_names=tuple(class_names))
        differs = [f"{DIFFERS} {card.name}: {line}" for line in card.differences(data)]
        whole = replace(data, name=card.name, remarks=(*data.remarks, *differs, *card.traps))
        return as_drawn(whole, few_shot) if str(few_shot) else whole

    read.__name__ = card.name
    return read


def _find(card: DataCard, root: str) -> Path:
    """The folder of a data set: one of its usual names below the root, or the root itself."""
    if not root:
        raise DataError(
            f"{card.name}: pass root=FOLDER, the folder that holds {card.folders[0]}; nothing is downloaded, "
            f"see: vlmcal data fetch {card.name}"
        )
    top = Path(root).expanduser()
    for place in (*(top / name for name in card.folders), top):
        if any((place / mark).exists() for mark in _marks(card)):
            return place
    lines = "\n  ".join(card.layout)
    raise DataError(
        f"{card.name} is not in {top}: expected below it, or below {', '.join(card.folders)} in it\n  "
        f"{lines}\n"
        f"nothing is downloaded by itself; how to get it: vlmcal data fetch {card.name}"
    )


def _marks(card: DataCard) -> Sequence[str]:
    if card.kind == "npz":
        return [f"{card.name}{size}.npz" for size in _NPZ_SIZES]
    if card.kind == "split":
        return [card.split_file, f"{card.split_file}.gz"]
    return ["variants.txt"] if card.kind == "variants" else list(card.parts.values())


def _split(card: DataCard, top: Path, templates: tuple[str, ...], size: int) -> Dataset:
    plain, packed = (top / name for name in _marks(card))
    file = plain if plain.exists() else packed
    return coop_split(file, image_root=top / card.images, templates=templates, name=card.name)


def _npz(card: DataCard, top: Path, templates: tuple[str, ...], size: int) -> Dataset:
    wanted = [f"_{size}" if size != 28 else ""] if size else _NPZ_SIZES
    files = [file for end in wanted if (file := top / f"{card.name}{end}.npz").exists()]
    if not files:
        raise DataError(f"{top}: no {card.name} of {size} pixels; fetch {card.name}{wanted[0]}.npz")
    return arrays(files[0], class_names=card.class_names, templates=templates, name=card.name)


def _variants(card: DataCard, top: Path, templates: tuple[str, ...], size: int) -> Dataset:
    names = _lines(top / "variants.txt")
    code = {name: place for place, name in enumerate(names)}
    findings, rows = Findings(card.name), Rows(splits=[])
    assert rows.splits is not None
    for split in ("train", "val", "test"):
        for line in _lines(top / f"images_variant_{split}.txt"):
            image, _, name = line.partition(" ")
            rows.images.append(top / card.images / f"{image}.jpg")
            rows.labels.append(code.get(name, -1))
            rows.ids.append(image)
            rows.splits.append(split)
            if name not in code:
                findings.error(
                    "bad-label", f'image {image}: "{name}" is not in variants.txt', [image]
                )
    return assemble(rows, names, findings=findings, templates=templates)


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise DataError(f"{file}: no such file")
    return text_lines(file)


def _folders(card: DataCard, top: Path, templates: tuple[str, ...], size: int) -> Dataset:
    findings, rows = Findings(card.name), Rows(splits=[])
    assert rows.splits is not None
    found = {split: sorted(_below(top / part)) for split, part in card.parts.items()}
    folders = {path.name for paths in found.values() for path in paths}
    given = _given_names(card, top)
    unknown = sorted(folders - given.keys())
    if unknown:
        findings.error("no-class-names", f"no class name for the folders {shown(unknown)}", unknown)
    order = [name for name in given if name in folders]
    code = {name: place for place, name in enumerate(order)}
    for split, paths in found.items():
        for path in paths:
            images = [p for p in sorted(path.rglob("*")) if is_image(p)]
            if not images:
                findings.warning("empty-class", f"{path} has no images", [str(path)])
            rows.images += images
            rows.labels += [code.get(path.name, -1)] * len(images)
            rows.ids += [image.relative_to(top).as_posix() for image in images]
            rows.splits += [split] * len(images)
    return assemble(rows, [given[name] for name in order], findings=findings, templates=templates)


def _below(part: Path) -> Iterator[Path]:
    if part.is_dir():
        yield from (p for p in part.iterdir() if p.is_dir() and not p.name.startswith("."))


def _given_names(card: DataCard, top: Path) -> dict[str, str]:
    """Folder -> class name in label order: of the card, or of the file of class names.

    Where a card names the folders of several data sets (ImageNet), a file wins over it, except where the file
    has one name twice.
    """
    if card.classes and not card.names_of:
        return dict(card.classes)
    known = dict(data_card(card.names_of).classes) if card.names_of else {}
    places = [top / card.class_file, top.parent / "imagenet" / card.class_file]
    file = next((place for place in places if place.is_file()), None)
    names = known if known and file is None else read_names(file or places[0])
    several = {name for name, n in Counter(names.values()).items() if n > 1}
    names = {key: known.get(key, name) if name in several else name for key, name in names.items()}
    ordered = dict(sorted(names.items()))
    if card.numbered:
        return {str(place): name for place, name in enumerate(ordered.values())}
    return ordered


_KINDS = {"split": _split, "npz": _npz, "variants": _variants, "folders": _folders}
