"""A few inputs of each fuzz target; ``make fuzz`` tries more."""

import pytest

from hostile.fuzzing import TARGETS, fuzz


@pytest.mark.parametrize("name", TARGETS)
def test_only_our_own_errors_come_out(name):
    fuzz(name, examples=15, number=1)
