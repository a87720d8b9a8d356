"""Write the table of all metrics at the end of docs/definitions.md; the text above it is written by hand."""

from pathlib import Path

from vlmcal.metrics.catalogue import catalogue

PAGE = Path(__file__).parent.parent / "docs" / "definitions.md"


def page() -> str:
    """The page with the table that the registry gives today.

    The table is the last thing on the page.
    """
    table = catalogue()
    by_hand, heading, _ = PAGE.read_text(encoding="utf-8").rpartition(table.splitlines()[0])
    assert heading, f"{PAGE} has lost its table"
    return by_hand + table + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
