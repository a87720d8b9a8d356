"""Rows of the frozen lower blocks of an image tower, kept per training image and view."""

from collections.abc import Callable

import torch
from torch import Tensor

from vlmcal.learners.base import Batch


class FrozenRows:
    """A cache of (image, view) -> rows that holds at most ``budget`` bytes.

    Only batches that name their images and view are looked up; what no longer fits is computed anew.

    Args:
        budget: Bytes, on the device of the rows.
    """

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._rows: dict[tuple[int, int], Tensor] = {}

    def get(self, batch: Batch, pixels: Tensor, compute: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows (B, N, d) of the batch; ``compute`` runs for images that are not kept."""
        if batch.sample_index is None or batch.view is None or not self.budget:
            return compute(pixels)
        keys = [(row, batch.view) for row in batch.sample_index.tolist()]
        missing = [i for i, key in enumerate(keys) if key not in self._rows]
        fresh = dict(zip(missing, compute(pixels[missing]), strict=True)) if missing else {}
        for i, rows in fresh.items():
            size = rows.numel() * rows.element_size()
            if self.used + size <= self.budget:
                self._rows[keys[i]] = rows.clone()
                self.used += size
        found = [fresh[i] if i in fresh else self._rows[key] for i, key in enumerate(keys)]
        return torch.stack(found)
