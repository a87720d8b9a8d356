"""Small synthetic predictions with known calibration, and a strict reader of HTML pages."""

from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pytest

from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects tags, attributes and visible text, and fails on unbalanced markup."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.stack, f"not closed: {self.stack}"

    def handle_starttag(self, tag, attrs):
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.stack, f"</{tag}> closes nothing"
        assert self.stack[-1] == tag, f"</{tag}> closes <{self.stack[-1]}>"
        self.stack.pop()

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self.stack[-1] if self.stack else "", data.strip()))

    def values(self, name: str) -> list[str]:
        return [value or "" for _, key, value in self.attributes if key == name]

    def text_of(self, tag: str) -> list[str]:
        return [text for owner, text in self.texts if owner == tag]


@pytest.fixture
def page():
    return Page


@pytest.fixture
def make_confidences():
    def make(n: int = 500, k: int = 10, power: float = 1.5, seed: int = 0) -> Confidences:
        """Accuracy is confidence ** power: over-confident for power > 1, calibrated for 1."""
        generator = np.random.default_rng(seed)
        confidence = 1 / k + (1 - 1 / k) * generator.beta(3, 1.2, n)
        return Confidences(
            confidence=confidence, correct=generator.random(n) < confidence**power, split="test"
        )

    return make


@pytest.fixture
def make_predictions():
    def make(n: int = 200, k: int = 5, scale: float = 3.0, seed: int = 0, **fields) -> Predictions:
        generator = np.random.default_rng(seed)
        labels = generator.integers(0, k, n)
        logits = generator.normal(size=(n, k))
        logits[np.arange(n), labels] += 1.0
        return Predictions(
            logits=(scale * logits).astype(np.float32), labels=labels, split="test", **fields
        )

    return make
