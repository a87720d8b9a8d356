"""The page on two folders of answers."""

from collections.abc import Sequence

from vlmcal.posthoc.folder_comparison import Difference, FolderComparison
from vlmcal.report.cells import Cell, Column, words
from vlmcal.report.html import Report, Section
from vlmcal.report.tables import Table

SHOWN = 100


def difference_table(found: Sequence[Difference], *, level: float = 0.95) -> Table:
    """One line per quantity: old, new, and the change with its interval, in percent.

    Args:
        found: The quantities.
        level: Of the intervals.
    """
    return Table(
        columns=[
            words("quantity"),
            Column("rows"),
            *(Column(name, percent=True) for name in ("old", "new", "change")),
        ],
        rows=[[d.name, d.change.n, d.old, d.new, d.change] for d in found],
        level=level,
    )


def kinds_table(compared: FolderComparison, *, level: float = 0.95) -> Table:
    """Accuracy, ECE, confidence and share left to a human for each kind of question.

    Args:
        compared: The folders.
        level: Of the intervals.
    """
    rows: list[list[Cell]] = []
    for kind, found in compared.kinds.items():
        rows += [[kind, d.name, d.change.n, d.old, d.new, d.change] for d in found]
    return Table(
        columns=[
            words("kind of question"),
            words("quantity"),
            Column("rows"),
            *(Column(name, percent=True) for name in ("old", "new", "change")),
        ],
        rows=rows,
        level=level,
    )


def changed_table(compared: FolderComparison) -> Table:
    """Questions whose answer or verdict is another one, those that became wrong first."""
    order = sorted(
        compared.changed, key=lambda c: (not (c.old_right and c.new_right is False), c.id)
    )
    verdicts = {True: "right", False: "wrong", None: "not judged"}
    return Table(
        columns=[words(name) for name in ("id", "question", "truth", "old", "was", "new", "is")],
        rows=[
            [
                c.id,
                c.question,
                c.gold,
                c.old or "none",
                verdicts[c.old_right],
                c.new or "none",
                verdicts[c.new_right],
            ]
            for c in order[:SHOWN]
        ],
    )


def comparison_text(compared: FolderComparison, *, level: float = 0.95) -> str:
    """Tables and sentences in plain text, for a terminal."""
    parts = [difference_table(compared.differences, level=level).to_text()]
    if len(compared.kinds) > 1:
        parts.append(kinds_table(compared, level=level).to_text())
    return "\n\n".join([*parts, *compared.sentences()])


def comparison_report(
    compared: FolderComparison, *, level: float = 0.95, command: str = ""
) -> Report:
    """A page on what changed between two folders of answers.

    Args:
        compared: The folders.
        level: Of the intervals.
        command: The command that made the page.
    """
    how = "paired on the questions of both" if compared.paired else "of independent questions"
    sections = [
        Section(
            heading="What changed",
            prose=[f"Changes are new less old, {how}; intervals are by image."],
            tables=[difference_table(compared.differences, level=level)],
            notes=list(compared.notes),
        )
    ]
    if compared.kinds:
        sections.append(
            Section(heading="By kind of question", tables=[kinds_table(compared, level=level)])
        )
    if compared.changed:
        sections.append(
            Section(
                heading="Answers that changed",
                prose=[
                    f"{min(SHOWN, len(compared.changed)):,} of {len(compared.changed):,} are shown."
                ],
                tables=[changed_table(compared)],
            )
        )
    for ids, which in ((compared.only_old, "old"), (compared.only_new, "new")):
        if ids:
            more = " ..." if len(ids) > SHOWN else ""
            sections.append(
                Section(
                    heading=f"Questions of the {which} folder only",
                    prose=[", ".join(ids[:SHOWN]) + more],
                )
            )
    return Report(
        title="Two folders of answers",
        lead=f"“{compared.elicitors[0]}” before and “{compared.elicitors[1]}” now.",
        sections=sections,
        summary=compared.sentences(),
        command=command,
    )
