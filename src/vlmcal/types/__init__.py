"""The data that flows through the toolkit: frozen, validated once, free of torch where possible."""

from vlmcal._lazy import lazy

lazy(__name__)
