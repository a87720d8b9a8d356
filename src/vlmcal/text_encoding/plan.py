"""Which rows exist at which layer of a pass, and where each comes from: computed once per layout."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vlmcal.text_encoding.layout import PromptLayout
from vlmcal.text_encoding.packing import Packing, pack


@dataclass(frozen=True)
class DeepTokens:
    """Shape of the tokens that replace positions 1 .. n before one layer."""

    n: int
    per_class: bool


@dataclass(frozen=True, eq=False)
class Step:
    """New rows, each a copy of a row before it or of a replacing token.

    Attributes:
        packing: The row list after the step.
        index: (N,) into the rows before, followed by the replacing tokens (class after class).
    """

    packing: Packing
    index: Tensor


@dataclass(frozen=True, eq=False)
class Plan:
    """One pass of a layout through a text tower.

    Attributes:
        ids: (N,) token id of each row at the input; any id where the context stands.
        positions: (N,) position embedding of each row.
        start: Puts context tokens into the input.
        deep: Per layer, puts deep tokens into that layer's input.
    """

    ids: Tensor
    positions: Tensor
    start: Step
    deep: Mapping[int, Step]


def make_plan(
    layout: PromptLayout,
    *,
    class_context: bool,
    deep: Mapping[int, DeepTokens],
    share_prefix: bool,
    device: torch.device,
) -> Plan:
    """The plan of one pass.

    Rows are shared between classes as long as nothing that belongs to a single class stands at or
    before them: up to the first token of the name, and from the layer where class-specific deep
    tokens enter, the start token only.
    """
    shared = layout.shared_length(class_context=class_context) if share_prefix else 0
    packing = pack(layout.ends, shared, device)
    ids = layout.ids.to(device)[packing.row_class, packing.row_position]
    start = Step(packing, _context_index(layout, packing, class_context))
    steps = {}
    for layer in sorted(deep):
        tokens = deep[layer]
        splits = tokens.per_class and packing.n_shared > 1
        new = pack(layout.ends, 1, device) if splits else packing
        steps[layer] = Step(new, _deep_index(packing, new, tokens))
        packing = new
    return Plan(ids, start.packing.row_position, start, steps)


def _context_index(layout: PromptLayout, packing: Packing, class_context: bool) -> Tensor:
    rows = torch.arange(packing.n_rows, device=packing.row_class.device)
    slots = layout.slots.to(rows.device)[packing.row_class, packing.row_position]
    offset = packing.row_class * layout.n_ctx if class_context else 0
    return torch.where(slots >= 0, packing.n_rows + offset + slots, rows)


def _deep_index(old: Packing, new: Packing, tokens: DeepTokens) -> Tensor:
    kept = old.rows_of(new.row_class, new.row_position)
    offset = new.row_class * tokens.n if tokens.per_class else 0
    replaced = (new.row_position >= 1) & (new.row_position <= tokens.n)
    return torch.where(replaced, old.n_rows + offset + new.row_position - 1, kept)
