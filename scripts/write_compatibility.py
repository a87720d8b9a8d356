"""Write docs/compatibility.md: which objective, and which backbone, works with which method, and why not.

    python scripts/write_compatibility.py

The decisions on objectives are those of ``vlmcal.training.compatibility``, taken on the embedded backbone;
those on backbones are taken on tiny random checkpoints of every published layout.
"""

import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from vlmcal.backbones import load_backbone
from vlmcal.backbones.base import FeatureEncoder
from vlmcal.backbones.families.precomputed import Precomputed
from vlmcal.errors import BackboneError
from vlmcal.learners.base import LEARNERS, ClassContext
from vlmcal.learners.open_towers import require_open
from vlmcal.training.compatibility import decisions

PAGE = Path(__file__).parent.parent / "docs" / "compatibility.md"
HEAD = """# Which objective works with which method

Written by `make docs`; a test keeps it current. An objective without a likelihood
term of its own is meant together with `ce`. Methods that take the same objectives share a column. A pair
is refused before the first step, with the reason, where the method does not provide what the objective
reads, or where the objective reads only what the method leaves frozen and would be a constant.

Everything is assumed on offer that a run can have: two views or more (`views`), a held-out split, a
vocabulary of outlier words. `●` trains; a number is the reason below.

"""


BACKBONES_HEAD = """
## Which backbone works with which method

Decided on tiny random checkpoints of every layout. The text side is never a reason: learned tokens, at
every depth and place, are exact in all five kinds of text tower. Towers that are not causal encode every
prompt on its own, which is slower and shares no prefix.

"""


def backbone_page(encoders: dict[str, FeatureEncoder]) -> str:
    """The table of backbones and methods for encoders of every layout."""
    refusals: dict[str, dict[str, str]] = {}
    for method, kind in LEARNERS.items():
        refusals[method] = {}
        for label, encoder in encoders.items():
            try:
                require_open(encoder, kind.opens(kind.Config()), method)
            except BackboneError as error:
                refusals[method][label] = _plain(str(error), method, encoder.name)
    columns: dict[tuple[bool, ...], list[str]] = defaultdict(list)
    for method, row in refusals.items():
        columns[tuple(label in row for label in encoders)].append(method)
    groups = list(columns.values())
    reasons: dict[str, int] = {}
    lines = ["| backbone | text | " + " | ".join(", ".join(group) for group in groups) + " |"]
    lines.append("|---" * (len(groups) + 2) + "|")
    for label, encoder in encoders.items():
        cells = []
        for group in groups:
            reason = refusals[group[0]].get(label)
            cells.append("●" if reason is None else _letter(reasons, reason))
        kind_of_text = getattr(encoder, "text_kind", "features only")
        lines.append(f"| {label} | {kind_of_text} | " + " | ".join(cells) + " |")
    notes = [f"{letter}. {reason}" for reason, letter in zip(reasons, "abcdefgh", strict=False)]
    return BACKBONES_HEAD + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n"


def _plain(reason: str, method: str, name: str) -> str:
    text = reason.replace(f'"{method}"', "the method").replace(f"{name} has", "this backbone has")
    return text.replace(name, "this backbone")


def _letter(reasons: dict[str, int], reason: str) -> str:
    return "abcdefgh"[reasons.setdefault(reason, len(reasons))]


def tiny_backbones(folder: Path) -> dict[str, FeatureEncoder]:
    """An encoder of every published layout, and one of features only."""
    sys.path.insert(0, str(PAGE.parent.parent / "tests"))
    from tiny_towers import LABELS, make_tiny_tower

    made: dict[str, FeatureEncoder] = {
        label: load_backbone(str(make_tiny_tower(layout, folder / layout)))
        for layout, label in LABELS.items()
    }
    made["precomputed features"] = Precomputed("clinic.npz", {}, 100.0, 4)
    return made


def page(table: dict[str, dict[str, str | None]]) -> str:
    """The whole document for the decisions of :func:`decisions`."""
    trained = {name: row for name, row in table.items() if LEARNERS.get(name).trainable}
    columns: dict[tuple[bool, ...], list[str]] = defaultdict(list)
    for name, row in trained.items():
        columns[tuple(reason is None for reason in row.values())].append(name)
    groups = list(columns.values())
    reasons: dict[str, int] = {}
    objectives = list(next(iter(table.values())))
    lines = ["| objective | " + " | ".join(", ".join(group) for group in groups) + " |"]
    lines.append("|---" * (len(groups) + 1) + "|")
    for objective in objectives:
        cells = []
        for group in groups:
            reason = trained[group[0]][objective]
            cells.append("●" if reason is None else _number(reasons, _short(reason, group[0])))
        lines.append(f"| `{objective}` | " + " | ".join(cells) + " |")
    notes = [f"{number}. {reason}" for reason, number in reasons.items()]
    idle = ", ".join(f"`{name}`" for name in table if name not in trained)
    closing = f"\nMethods without a training step take no objective: {idle}.\n"
    return HEAD + "\n".join(lines) + "\n\n" + "\n".join(notes) + "\n" + closing


def _short(reason: str, learner: str) -> str:
    """The reason without the learner's name and without the names of its tensors."""
    text = reason.replace(f'"{learner}"', "the method")
    head, separator, hint = text.partition("; ")
    text = head if hint.startswith(("valid:", "did you mean")) else f"{head}{separator}{hint}"
    return text.replace('"', "`")


def _number(reasons: dict[str, int], reason: str) -> str:
    return str(reasons.setdefault(reason, len(reasons) + 1))


def current() -> str:
    """The document as it should be."""
    names = ("zero", "one", "two", "three")
    classes = ClassContext(load_backbone("pocket"), names, ("a photo of a {}.",))
    with tempfile.TemporaryDirectory() as folder:
        return page(decisions(classes)) + backbone_page(tiny_backbones(Path(folder)))


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(current(), encoding="utf-8")
    print(PAGE)
