"""Adapting to each test image without labels: prompts tuned on its views, caches of what was seen."""
