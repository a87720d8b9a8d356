"""Who says whether an answer is right; every verdict names its judge."""

from vlmcal._lazy import lazy

lazy(__name__)
