"""Ways of asking for an answer and a confidence, one per file."""

from vlmcal._lazy import lazy

lazy(__name__)
