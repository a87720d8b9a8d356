"""Golden tests count what they covered; the counts are printed at the end (see ../conftest.py)."""

import pytest

from golden_counts import COUNTS


@pytest.fixture(scope="session")
def golden_summary():
    return COUNTS
