"""Confidence of multimodal LLMs on visual questions: asking, reading and judging."""

from vlmcal._lazy import lazy

lazy(__name__)
