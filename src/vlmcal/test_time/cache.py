"""Per class, the few images of lowest entropy that a stream has shown so far."""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor


class Entry(NamedTuple):
    """One image that is kept.

    Attributes:
        image: Its number in the stream.
        feature: (D,).
        entropy: What entries of a class are ranked by.
        probabilities: (K,) of the image when it was met, where they are needed later.
    """

    image: int
    feature: Tensor
    entropy: float
    probabilities: Tensor | None = None


@dataclass
class ClassCache:
    """At most ``capacity`` entries of each class, by rising entropy; of equal ones the older goes first.

    Example:
        >>> cache = ClassCache(capacity=1)
        >>> for image, entropy in enumerate((0.5, 0.7, 0.2)):
        ...     cache.offer(4, Entry(image, torch.zeros(2), entropy))
        >>> [entry.image for entry in cache.entries[4]]
        [2]
    """

    capacity: int
    entries: dict[int, list[Entry]] = field(default_factory=dict)

    def offer(self, label: int, entry: Entry) -> None:
        """Keep an image of predicted class ``label`` if the class has room or a worse entry."""
        kept = self.entries.setdefault(label, [])
        if len(kept) < self.capacity:
            kept.append(entry)
        elif entry.entropy < kept[-1].entropy:
            kept[-1] = entry
        kept.sort(key=lambda one: one.entropy)

    def stacked(self) -> tuple[Tensor, Tensor, list[Entry]]:
        """Features (E, D) and classes (E,) of all entries, classes in order, and the entries."""
        rows = [(label, entry) for label in sorted(self.entries) for entry in self.entries[label]]
        features = torch.stack([entry.feature for _, entry in rows])
        return features, torch.tensor([label for label, _ in rows]), [entry for _, entry in rows]

    def images(self, n_classes: int) -> Tensor:
        """Image numbers (K, capacity) by class and rising entropy; -1 where there is none."""
        table = torch.full((n_classes, self.capacity), -1)
        for label, kept in self.entries.items():
            table[label, : len(kept)] = torch.tensor([entry.image for entry in kept])
        return table
