"""Cards of published data sets: what they hold, how they lie on disk, what is wrong with them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import yaml

from vlmcal.data.templates import has_templates, templates_for, variants
from vlmcal.errors import DataError, nearest
from vlmcal.types.dataset import DEFAULT_TEMPLATES, Dataset
from vlmcal.types.split import SPLITS

_FOLDER = Path(__file__).parent / "cards"


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """One published data set.

    Attributes:
        name: How it is called here.
        summary: One line.
        kind: How it is read: "split" (a CoOp split file), "variants" (FGVC Aircraft's lists), "folders" (of
            class folders) or "npz" (MedMNIST).
        folders: Names of its folder that people have, the usual one first.
        n_classes: How many classes.
        classes: Their names in label order; of folders: folder -> name; empty where the files hold them.
        sizes: Images per split; empty where nobody published them.
        licence: As its source states it; to be checked there.
        source: Where it is described.
        fetch: Commands and remarks that get it.
        cite: The publication.
        aliases: Other names.
        images: Folder below that of the data set that image paths start from.
        split_file: The file of the official split.
        parts: Of "folders": split -> folder of class folders.
        class_file: Of "folders": lines "folder class name".
        numbered: Class folders are numbers.
        several: Whether an image has several labels (findings) at once.
        names_of: Card that names the folders where there is no class file.
        image_size: In pixels, as text.
        traps: What goes wrong with it.
    """

    name: str
    summary: str
    kind: str
    folders: tuple[str, ...]
    n_classes: int
    classes: Mapping[str, str]
    sizes: Mapping[str, int]
    licence: str
    source: str
    fetch: str
    cite: str
    aliases: tuple[str, ...] = ()
    images: str = ""
    split_file: str = ""
    parts: Mapping[str, str] = field(default_factory=dict)
    class_file: str = ""
    numbered: bool = False
    several: bool = False
    names_of: str = ""
    image_size: str = ""
    traps: tuple[str, ...] = ()

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names in label order; () where the card does not hold them."""
        return tuple(self.classes.values())

    @property
    def layout(self) -> tuple[str, ...]:
        """What must lie below the folder that is given as root, one path a line."""
        top = self.folders[0]
        if self.kind == "npz":
            return (f"{self.name}.npz or {self.name}_64.npz, _128.npz, _224.npz",)
        if self.kind == "split":
            place = "/".join(part for part in (top, self.images) if part)
            return (f"{top}/{self.split_file}", f"{place}/...  as the split file names them")
        if self.kind == "variants":
            lists = ", ".join(f"images_variant_{part}.txt" for part in ("train", "val", "test"))
            return (f"{top}/variants.txt, {lists}", f"{top}/{self.images}/*.jpg")
        lines = [f"{top}/{part}/<class folder>/*  ({split})" for split, part in self.parts.items()]
        return (*lines, f'{top}/{self.class_file}  with lines "folder class name"')

    def templates(self, variant: str = "") -> tuple[str, ...]:
        """Zero-shot prompts of a paper; those of CoOp or CalibPrompt where none is named.

        Raises:
            SpecError: No such variant, or it has none for these data.
        """
        if variant:
            return templates_for(self.name, variant)
        having = [v for v in ("coop", "calibprompt") if has_templates(self.name, v)]
        return templates_for(self.name, having[0]) if having else DEFAULT_TEMPLATES

    def text(self) -> str:
        """The whole card, for people."""
        sizes = ", ".join(f"{split} {n:,}" for split, n in self.sizes.items())
        wordings = [
            f"{v}: {templates_for(self.name, v)[0]}"
            for v in variants()
            if has_templates(self.name, v)
        ]
        rows = {
            "classes": f"{self.n_classes}"
            + (f": {', '.join(self.class_names)}" if len(self.class_names) <= 12 else ""),
            "images": sizes or "not published",
            "image size": self.image_size,
            "licence": f"{self.licence} (check at the source)",
            "source": self.source,
            "publication": self.cite,
        }
        width = max(map(len, rows))
        lines = [self.summary, "", *(f"{key:<{width}}  {value}" for key, value in rows.items())]
        if self.aliases:
            lines += ["", f"Also called {', '.join(self.aliases)}."]
        lines += ["", f"On disk, below the root (or in it; {', '.join(self.folders)}):"]
        lines += [f"  {line}" for line in self.layout]
        lines += [
            "",
            "Zero-shot prompts:",
            *(f"  {line}" for line in wordings or DEFAULT_TEMPLATES),
        ]
        lines += ["", "Traps:", *(f"  - {trap}" for trap in self.traps)]
        lines += ["", "To get it:", *(f"  {line}" for line in self.fetch.splitlines())]
        return "\n".join(lines)

    def differences(self, dataset: Dataset) -> list[str]:
        """What differs between the card and a data set that was read by it: classes and sizes.

        Example:
            >>> import numpy as np
            >>> card = data_card("pneumoniamnist")
            >>> data = Dataset(name="x", images=np.zeros((2, 4, 4), np.uint8), labels=[0, 1],
            ...                splits=["val", "test"], class_names=("normal", "pneumonia"))
            >>> card.differences(data)[0]
            '"train" has 0 images, published are 4,708'
        """
        found = []
        if len(dataset.class_names) != self.n_classes:
            found.append(f"{len(dataset.class_names)} classes, published are {self.n_classes}")
        if self.classes and set(dataset.class_names) != set(self.class_names):
            missing = sorted(set(self.class_names) - set(dataset.class_names))
            more = sorted(set(dataset.class_names) - set(self.class_names))
            found.append(f"class names differ: missing {missing}, not on the card {more}")
        elif self.classes and dataset.class_names != self.class_names:
            found.append("the classes come in another order")
        for split in SPLITS:
            here, published = int((dataset.splits == split).sum()), self.sizes.get(split, 0)
            if self.sizes and here != published:
                found.append(f'"{split}" has {here:,} images, published are {published:,}')
        return found


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


# The same in C, where it was built: sixty cards in a tenth of the time.
_SAFE = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def data_cards() -> dict[str, DataCard]:
    """All cards by name, sorted.

    Example:
        >>> data_cards()["eurosat"].sizes
        {'train': 13500, 'val': 5400, 'test': 8100}
    """
    found = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        values = yaml.load(path.read_text(encoding="utf-8"), Loader=_SAFE)
        classes = values.pop("classes")
        if isinstance(classes, list):
            classes = {str(name): str(name) for name in classes}
        lists = {key: tuple(values[key]) for key in ("aliases", "folders", "traps")}
        found[path.stem] = DataCard(name=path.stem, classes=classes, **{**values, **lists})
    return found


def find_card(name: str) -> DataCard | None:
    """The card of this name, in any common spelling; None where there is none.

    Example:
        >>> find_card("OxfordPets").name, find_card("my_photos")
        ('oxford_pets', None)
    """
    plain = _plain(name)
    for card in data_cards().values():
        if plain in {_plain(word) for word in (card.name, *card.aliases)}:
            return card
    return None


def data_card(name: str) -> DataCard:
    """The card of this name.

    Raises:
        DataError: There is none; names the nearest.
    """
    card = find_card(name)
    if card is None:
        raise DataError(f'no card of a data set "{name}"; {nearest(name, data_cards())}')
    return card
