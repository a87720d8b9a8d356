"""Tables of measured numbers, for terminals, papers, spreadsheets and web pages."""

from vlmcal.report import table_html, table_latex, table_text
from vlmcal.report.cells import Grid


class Table(Grid):
    """A :class:`Grid` in every form that it is written in.

    Example:
        >>> from vlmcal.report.cells import Column
        >>> table = Table(
        ...     columns=[Column("method", align="left"), Column("ECE", percent=True, better="lower")],
        ...     rows=[["CoOp", 0.081], ["TCPT", 0.032]],
        ... )
        >>> print(table.to_text())
        method  ECE % ↓
        ------  --------
        CoOp        8.1
        TCPT        3.2*
        <BLANKLINE>
        * best in its column
    """

    def to_text(self, width: int = 100) -> str:
        """Monospace text; columns that do not fit ``width`` go into further blocks below."""
        return table_text.to_text(self, width)

    def to_markdown(self) -> str:
        """A GitHub-flavoured Markdown table; the best values are bold."""
        return table_text.to_markdown(self)

    def to_csv(self) -> str:
        """Comma-separated values in full precision, as fractions; intervals in own columns."""
        return table_text.to_csv(self)

    def to_latex(self) -> str:
        """A LaTeX tabular for the package booktabs; the best values are bold."""
        return table_latex.to_latex(self)

    def to_html(self) -> str:
        """A ``<figure>`` with the table, for the report's style sheet."""
        return table_html.to_html(self)

    def __repr__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        return self.to_html()
