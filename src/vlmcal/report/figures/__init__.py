"""Pictures: pure functions from measured numbers to a matplotlib Figure, one module each."""

from vlmcal._lazy import lazy

lazy(__name__)
