"""Adapting to each test image without labels: prompts tuned on its views, caches of what was seen."""

from vlmcal._lazy import lazy

lazy(__name__)
