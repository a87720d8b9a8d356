"""Cards of published models: what they are, where they come from, what was verified here."""

import os
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import yaml

from vlmcal.io.cache_dir import default_cache_dir

_FOLDER = Path(__file__).parent / "cards"


@dataclass(frozen=True)
class ModelCard:
    """One published model.

    Attributes:
        name: Nickname, accepted wherever a backbone is.
        summary: One line.
        hub: Hub id, or None where it is published elsewhere.
        aliases: Other nicknames.
        family: Layout of its files.
        image_tower, text_tower: What they are.
        context_length: Largest number of text tokens.
        image_size: Side of the images, in pixels.
        mean, std: Per channel, for values in [0, 1].
        logit_scale, logit_bias: What is known of them.
        licence: Of the weights.
        gated: Whether the hub asks for access.
        size: Of the download.
        verified: What was tried here.
        download: How to get it; by default from the hub.
        notes: Source and peculiarities.
    """

    name: str
    summary: str
    hub: str | None
    aliases: tuple[str, ...]
    family: str
    image_tower: str
    text_tower: str
    context_length: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    logit_scale: str
    logit_bias: str
    licence: str
    gated: bool
    size: str
    verified: str
    download: str = ""
    notes: str = ""

    @property
    def command(self) -> str:
        """How to download it."""
        login = "hf auth login && " if self.gated else ""
        return self.download.strip() or f"{login}hf download {self.hub}"

    def text(self) -> str:
        """The whole card, for people."""
        skipped = {"name", "summary", "download", "aliases", "verified", "notes"}
        rows = [
            (field.name.replace("_", " "), _shown(getattr(self, field.name)))
            for field in fields(self)
            if field.name not in skipped
        ]
        width = max(len(key) for key, _ in rows)
        lines = [self.summary, "", *(f"{key:<{width}}  {value}" for key, value in rows)]
        if self.aliases:
            lines += ["", f"Also called {', '.join(self.aliases)}."]
        if self.notes:
            lines += ["", f"{self.notes}."]
        command = [f"  {line}" for line in self.command.splitlines()]
        lines += ["", f"Verified: {self.verified}.", "", "Download:", *command]
        lines += ["", "Files that are not on the hub are looked for in:", f"  {self.place}"]
        return "\n".join(lines)

    @property
    def place(self) -> Path:
        """Folder that is looked into first: ``$VLMCAL_BACKBONES``, by default in the cache."""
        own = os.environ.get("VLMCAL_BACKBONES")
        return (Path(own).expanduser() if own else default_cache_dir() / "backbones") / self.name


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return {True: "yes", False: "no", None: "not on the hub"}.get(value, str(value))  # type: ignore[call-overload, no-any-return]


@cache
def model_cards() -> dict[str, ModelCard]:
    """All cards by nickname, sorted.

    Example:
        >>> model_cards()["biomedclip"].hub
        'microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224'
    """
    found = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        lists = {key: tuple(values[key]) for key in ("aliases", "mean", "std")}
        found[path.stem] = ModelCard(name=path.stem, **{**values, **lists})
    return found


def card_of(name: str) -> ModelCard | None:
    """The card called ``name`` in any capitals, or one of whose aliases it is.

    Example:
        >>> card_of("BiomedCLIP").name, card_of("medclip-vit").name, card_of("x")
        ('biomedclip', 'medclip', None)
    """
    key, cards = name.lower(), model_cards()
    if key in cards:
        return cards[key]
    return next((card for card in cards.values() if key in card.aliases), None)
