"""Training objectives: terms on logits and features, and their sums."""

from vlmcal._lazy import lazy

lazy(__name__)
