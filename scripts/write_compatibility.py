"""Write docs/compatibility.md: which objective can be trained with which method, and why not.

    python scripts/write_compatibility.py

The decisions are those of ``vlmcal.training.compatibility``, taken on the embedded backbone.
"""

from collections import defaultdict
from pathlib import Path

from vlmcal.backbones import load_backbone
from vlmcal.learners.base import LEARNERS, ClassContext
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
    return page(decisions(ClassContext(load_backbone("pocket"), names, ("a photo of a {}.",))))


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(current(), encoding="utf-8")
    print(PAGE)
