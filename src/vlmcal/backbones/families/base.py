"""What a loader is given and what it must offer; the registry of all backbones."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

import torch

from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.weights import Weights, half_type, read_weights
from vlmcal.errors import BackboneError
from vlmcal.own_code import subclass_of
from vlmcal.registry import Registry

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Source:
    """Where a backbone comes from and how it is wanted.

    Attributes:
        name: What the user called it.
        path: Folder or weight file; None for a backbone that needs no files.
        device, dtype: Where and in which type to compute.
        companions: Folders with files of other repositories (tokenizers, configurations).
        tokenizer: False loads without a tokenizer: texts enter as token ids only.
        offline: Never touch the network.
        keep_half: Weights that are stored in half precision stay so, in place of ``dtype``.
        fix: What to do when a file is missing, for messages.
        embedded: The files are those of the package itself.
    """

    name: str
    path: Path | None
    device: str | torch.device = "cpu"
    dtype: torch.dtype = torch.float32
    companions: tuple[Path, ...] = ()
    tokenizer: bool = True
    offline: bool = False
    keep_half: bool = False
    fix: str = ""
    embedded: bool = False

    @property
    def folder(self) -> Path:
        """The folder itself, or that of the weight file.

        Raises:
            BackboneError: There is none.
        """
        if self.path is None:
            raise BackboneError(
                f'backbone "{self.name}" is read from files; give a folder or a hub id'
            )
        return self.path if self.path.is_dir() else self.path.parent

    def type_for(self, weights: Weights) -> torch.dtype:
        """The type to compute in: that of the weights where it is half and stays, else ``dtype``."""
        return half_type(weights) or self.dtype if self.keep_half else self.dtype

    def weight_file(self, *preferred: str) -> Path:
        """The weight file: the one that was named, a preferred one, or the only one there is.

        Raises:
            BackboneError: There is none, or there are several.
        """
        if self.path is not None and self.path.is_file():
            return self.path
        for name in preferred:
            if (self.folder / name).is_file():
                return self.folder / name
        found = sorted(p for p in self.folder.iterdir() if p.suffix in WEIGHT_SUFFIXES)
        if len(found) != 1:
            listed = ", ".join(p.name for p in found[:8]) or "none"
            raise BackboneError(
                f'backbone "{self.name}": expected one weight file in {self.folder}, found {listed}; name '
                f"the file itself{f', or {self.fix}' if self.fix and not found else ''}"
            )
        return found[0]

    def weights(self, *preferred: str) -> Weights:
        """Tensors of :meth:`weight_file`."""
        return read_weights(self.weight_file(*preferred), self.name)


Load = TypeVar("Load", bound=Callable[[Source], FeatureEncoder])


class Loader(Protocol):
    """A registered backbone: a class or object with ``load``.

    A layout of files also has ``recognises``; the first that does so for a folder reads it.
    """

    def load(self, source: Source) -> FeatureEncoder:
        """The encoder."""
        ...


@dataclass(frozen=True)
class Layout:
    """A layout of published files.

    Attributes:
        summary: One line for listings.
        recognises: Whether a folder (or weight file) is laid out so.
        load: Reads it.
        order: Layouts with smaller numbers are asked first.
    """

    summary: str
    recognises: Callable[[Source], bool]
    load: Callable[[Source], FeatureEncoder]
    order: int = 0
    files: ClassVar[tuple[str, ...]] = ()


BACKBONES: Registry[Loader] = Registry(
    "backbone",
    "vlmcal.backbones.families",
    lambda entry: isinstance(entry, Layout) or subclass_of(FeatureEncoder)(entry),
    "a subclass of FeatureEncoder",
)


def layout(
    name: str, summary: str, recognises: Callable[[Source], bool], *, order: int = 0
) -> Callable[[Load], Load]:
    """Decorator that files a reader of published files as a :class:`Layout`."""

    def add(load: Load) -> Load:
        BACKBONES.register(name)(Layout(summary, recognises, load, order))
        return load

    return add
