"""Writes what a benchmark measured into its place in docs/benchmarks.md, between two marks."""

from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"


def write(name: str, text: str) -> None:
    """Replace what stands between ``<!-- NAME -->`` and ``<!-- end of NAME -->``."""
    page = PAGE.read_text(encoding="utf-8")
    first, last = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    before, _, rest = page.partition(first)
    if not rest or last not in rest:
        raise SystemExit(f"{PAGE} has no place {first.strip()} ... {last}")
    PAGE.write_text(before + first + text.strip() + "\n" + last + rest.partition(last)[2], "utf-8")
