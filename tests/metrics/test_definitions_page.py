"""docs/definitions.md says what the code does."""

import doctest
from pathlib import Path

from vlmcal.metrics.catalogue import catalogue

PAGE = Path(__file__).parents[2] / "docs" / "definitions.md"


def test_numbers_on_the_page_are_what_the_code_gives():
    failures, count = doctest.testfile(str(PAGE), module_relative=False)
    assert count > 10
    assert failures == 0


def test_table_on_the_page_is_current():
    current = PAGE.read_text(encoding="utf-8").endswith(catalogue() + "\n")
    assert current, f"{PAGE.name} is not current; run `make docs`"
