"""Small reviews for tests."""

import numpy as np

from vlmcal.review import Policy, Review, Source
from vlmcal.review.case import Case
from vlmcal.review.evidence import Evidence
from vlmcal.review.triage import Thresholds, judged
from vlmcal.types.confidences import Confidences

CLASSES = ("benign", "malignant", "normal")


def evidence(n=600, seed=0):
    """Local cases that speak for the confidences."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.34, 1, n)
    return Evidence.of(Confidences(confidence=confidence, correct=rng.random(n) < confidence))


def made(n=12, policy=None, seed=0, local=None, sites=("",), **fields):
    """A source of ``n`` cases with three classes each, of these sites in turn."""
    policy, local = policy or Policy(), local or evidence()
    rng = np.random.default_rng(seed)
    cases = []
    for i, p in enumerate(rng.dirichlet([1, 1, 1], n)):
        best = int(p.argmax())
        case = Case(
            id=f"case {i}",
            classes=CLASSES,
            p=tuple(p.tolist()),
            predicted=CLASSES[best],
            confidence=float(p[best]),
            need=float(1 - p[best]),
            raw={"text": CLASSES[best], "confidence": 0.99, "scores": np.log(p).tolist()},
            **{"site": sites[i % len(sites)], **fields},
        )
        cases.append(judged(case, policy, Thresholds(0.6), local))
    return Source(cases, CLASSES, None, "model 1", "temperature (abc)", local, Thresholds(0.6))


def review(path, n=12, policy=None, **fields):
    path.mkdir(exist_ok=True)
    policy = policy or Policy(blind_share=0.0)
    return Review.create(path / "review.sqlite", made(n, policy, **fields), policy)
