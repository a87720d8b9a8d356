"""How results show themselves: a few lines at a prompt, a small table in a notebook."""

from collections.abc import Sequence
from html import escape


class Shown:
    """A result with a title and, where it has some, lines of text under column names.

    A subclass says what it is in :meth:`shown`; prompts and notebooks take it from there. A dataclass needs
    ``repr=False``, or it writes a repr of its own.

    Example:
        >>> class Pair(Shown):
        ...     def shown(self):
        ...         return "Pair: 2 numbers", [("name", "value"), ("first", "1"), ("second", "20")]
        >>> Pair()
        Pair: 2 numbers
        name    value
        first       1
        second     20
        >>> Pair()._repr_html_()[:40]
        '<table><caption>Pair: 2 numbers</caption'
    """

    def shown(self) -> tuple[str, Sequence[Sequence[str]]]:
        """The title, and rows of equally many cells, column names first; no rows for the title alone."""
        raise NotImplementedError

    def __repr__(self) -> str:
        title, rows = self.shown()
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        return "\n".join([title, *lines])

    def _repr_html_(self) -> str:
        title, rows = self.shown()
        head, *body = rows or [()]
        names = "".join(f"<th>{escape(cell)}</th>" for cell in head)
        lines = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in body
        )
        caption = f"<caption>{escape(title)}</caption>"
        return f"<table>{caption}<thead><tr>{names}</tr></thead><tbody>{lines}</tbody></table>"


def plural(n: int, noun: str) -> str:
    """A count with its noun and thousands separators.

    Example:
        >>> plural(1, "row"), plural(12500, "row"), plural(2, "class")
        ('1 row', '12,500 rows', '2 classes')
    """
    ending = "" if n == 1 else "es" if noun.endswith("s") else "s"
    return f"{n:,} {noun}{ending}"
