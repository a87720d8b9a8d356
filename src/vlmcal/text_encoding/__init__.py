"""Text features of learned prompts: exact, and without work that cannot change the result."""

from vlmcal._lazy import lazy

lazy(__name__)
