"""Learned tensors by name, for the objectives that look at weights."""

from typing import Literal

from torch import Tensor

from vlmcal.errors import SpecError, nearest
from vlmcal.types.outputs import Outputs

Layout = Literal["embed_width", "width_embed"]


def named_matrix(outputs: Outputs, name: str, layout: Layout, by: str) -> Tensor:
    """The matrix called ``name``, or whose name ends in ``.name``, as (width, embed).

    Raises:
        SpecError: There is none, or it is not a matrix; names those there are.
    """
    known = outputs.parameters or {}
    found = [value for key, value in known.items() if key == name or key.endswith(f".{name}")]
    if len(found) != 1 or found[0].ndim != 2:
        raise SpecError(
            f'objective "{by}" needs one matrix called "{name}" among the learned tensors, found '
            f"{len(found)}; {nearest(name, known)}"
        )
    return found[0].T if layout == "embed_width" else found[0]
